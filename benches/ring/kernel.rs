//! The kernel half: `benches/bpf/ring.bpf.c`, its maps and who runs its programs.

use std::os::fd::{AsFd, AsRawFd};

use bpf_atlas::agent;
use libbpf_rs::{MapCore, MapHandle, Object};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::{Error, compile};

/// `struct run` of the programs.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Run {
    pub first: u64,
    pub count: u64,
    pub flags: u64,
    pub lost: u64,
    pub sum: u64,
    pub ns: u64,
}

/// The maps of the programs.
pub struct Maps {
    pub records: MapHandle,
    pub events: MapHandle,
    pub events_lost: MapHandle,
    pub events_wake: MapHandle,
}

/// The loaded programs.
pub struct Programs {
    object: Object,
    pub maps: Maps,
}

impl Programs {
    /// With a ring `records` of so many bytes.
    pub fn load(records: u32) -> Result<Self, Error> {
        let file = compile("ring")?;
        let mut object = agent::open_file(&file)?;
        let mut ring = object.maps_mut().find(|map| map.name() == "records");
        ring.as_mut().ok_or("no ring `records`")?.set_max_entries(records)?;
        let object = agent::load(object)?;
        let map = |name: &str| {
            let map = object.maps().find(|map| map.name() == name);
            map.ok_or_else(|| format!("no map `{name}`").into())
                .and_then(|map| MapHandle::try_from(&map).map_err(Error::from))
        };
        let maps = Maps {
            records: map("records")?,
            events: map("events")?,
            events_lost: map("events_lost")?,
            events_wake: map("events_wake")?,
        };
        Ok(Self { object, maps })
    }

    /// A program that can be run.
    pub fn runner(&self, name: &str) -> Result<Runner<'_>, Error> {
        let program = self.object.progs().find(|program| program.name() == name);
        let fd = program.ok_or_else(|| format!("no program `{name}`"))?.as_fd().as_raw_fd();
        Ok(Runner { fd, _programs: self })
    }
}

/// One of the programs.
pub struct Runner<'p> {
    fd: i32,
    _programs: &'p Programs,
}

impl Runner<'_> {
    /// One `BPF_PROG_RUN` on this thread; nothing else, since it is in what is measured.
    pub fn run(&self, run: &mut Run) -> Result<(), Error> {
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
            ctx_in: std::ptr::from_mut(run).cast(),
            ctx_size_in: size_of::<Run>() as _,
            ..Default::default()
        };
        // SAFETY: the context is a `struct run`, in and out; the descriptor is
        // that of a program that `_programs` keeps.
        let ret = unsafe { libbpf_sys::bpf_prog_test_run_opts(self.fd, &mut options) };
        if ret == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(-ret).into()) }
    }
}

/// The CPUs that this process may use.
pub fn allowed_cpus() -> Result<Vec<usize>, Error> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)).collect())
}

/// Moves this thread to a CPU, for good.
pub fn pin_to(cpu: usize) -> Result<(), Error> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &only)?)
}
