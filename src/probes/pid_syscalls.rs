//! [`PidSyscalls`]: system calls by process and by number.

use std::collections::HashMap;

use super::attach::{self, Programs};
use super::pid_counts::PidCounts;
use super::{AttachKind, Comm, Health, ProbeError, syscall_names};
use crate::caps::Capability;
use crate::object::LoadedObject;
use crate::{Hash, PerCpuArray};

pub(super) mod bpf {
    include!(concat!(env!("OUT_DIR"), "/pid_syscalls.rs"));
}

use bpf::AtlasHealth;
pub use bpf::{PidReuse, Task};

const NAME: &str = "pid_syscalls";

/// `SYSCALL_SLOTS` of the C source. The last slot is for what has no number
/// in the table of this architecture.
const SLOTS: u32 = 1024;

/// The programs of one way to attach: what counts, then what keeps processes
/// apart.
fn programs(kind: AttachKind, failures: bool) -> [&'static str; 3] {
    match (kind, failures) {
        (AttachKind::TpBtf, false) => ["enter_btf", "fork_raw", "rename_raw"],
        (AttachKind::TpBtf, true) => ["exit_btf", "fork_raw", "rename_raw"],
        (AttachKind::RawTracepoint, false) => ["enter_raw", "fork_raw", "rename_raw"],
        (AttachKind::RawTracepoint, true) => ["exit_raw", "fork_raw", "rename_raw"],
        (_, false) => ["enter_tp", "fork_tp", "rename_tp"],
        (_, true) => ["exit_tp", "fork_tp", "rename_tp"],
    }
}

/// A process and its system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PidCount {
    /// The process (thread group), as the initial PID namespace numbers it.
    pub pid: u32,
    /// Its name; empty where it is not known.
    pub comm: Comm,
    /// When it began, in nanoseconds since boot; 0 where it is not known.
    pub start_ns: u64,
    /// Its system calls, or those that failed.
    pub count: u64,
}

/// A system call and how often it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SyscallCount {
    /// Its number in this architecture's table. `None` for all calls that have
    /// none: 32-bit and x32 callers, and numbers that do not exist.
    pub number: Option<u32>,
    /// How often.
    pub count: u64,
}

impl SyscallCount {
    /// The call's name, as the kernel's headers spell it; for x86_64 and
    /// aarch64, where this crate knows it.
    pub fn name(&self) -> Option<&'static str> {
        self.number.and_then(syscall_names::name)
    }

    /// Of a slot of `by_syscall`.
    pub fn of_slot(slot: u32, count: u64) -> Self {
        Self { number: (slot < SLOTS - 1).then_some(slot), count }
    }
}

/// What [`PidSyscalls`] keeps, to walk, to sum or to hand to
/// [`Rates`](crate::Rates).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PidSyscallsMaps {
    /// Calls by PID.
    pub counts: PidCounts,
    /// The processes behind these PIDs.
    pub tasks: Hash<u32, Task>,
    /// Calls by number; [`SyscallCount::of_slot`] explains the index. One element, which stays
    /// 0, unless the builder was told [`by_syscall`](PidSyscallsBuilder::by_syscall).
    pub by_syscall: PerCpuArray<u64>,
    /// One element.
    pub pid_reuse: PerCpuArray<PidReuse>,
}

/// Counts system calls, all or only those that fail, by process and by number.
///
/// The count is exact: counted + [`Health::refused`] + [`Health::missed`] is
/// all calls that were made while it was attached. `missed` is 0 but for a
/// classic tracepoint.
///
/// Costs every system call of the machine 3 ns more than a program that does
/// nothing, with `by_syscall` 4 to 5, whichever threads make it; what the kernel takes for any
/// program is 24 ns as tp_btf or raw_tp, 36 as tracepoint (measured on a virtual
/// x86-64 machine). Kernel memory: 48 bytes for each of 32 seats a CPU, and for each process
/// that there is room for 16 bytes a CPU and some 200.
/// Needs `CAP_BPF` and `CAP_PERFMON`, and BTF of the kernel; a classic
/// tracepoint needs tracefs as well.
#[derive(Debug)]
pub struct PidSyscalls {
    maps: PidSyscallsMaps,
    health: PerCpuArray<AtlasHealth>,
    variables: bpf::LiveBss,
    counting: Programs,
    kind: AttachKind,
    by_pid: bool,
    _attached: LoadedObject,
}

/// Options of [`PidSyscalls`].
#[derive(Clone, Debug)]
#[must_use = "nothing is attached before `attach`"]
pub struct PidSyscallsBuilder {
    pids: Vec<u32>,
    failures_only: bool,
    by_pid: bool,
    by_syscall: bool,
    max_entries: u32,
    kind: Option<AttachKind>,
}

impl Default for PidSyscallsBuilder {
    fn default() -> Self {
        Self {
            pids: Vec::new(),
            failures_only: false,
            by_pid: true,
            by_syscall: false,
            max_entries: 10240,
            kind: None,
        }
    }
}

impl PidSyscallsBuilder {
    /// Counts this process only, with all its threads; can be given more than
    /// once. As the initial PID namespace numbers it.
    pub fn pid(mut self, pid: u32) -> Self {
        self.pids.push(pid);
        self
    }

    /// Counts calls that failed, when they end, instead of all when they begin.
    pub fn failures_only(mut self, yes: bool) -> Self {
        self.failures_only = yes;
        self
    }

    /// Whether to count by process; yes unless said otherwise.
    pub fn by_pid(mut self, yes: bool) -> Self {
        self.by_pid = yes;
        self
    }

    /// Whether to count by number; no unless said otherwise.
    pub fn by_syscall(mut self, yes: bool) -> Self {
        self.by_syscall = yes;
        self
    }

    /// How many processes there is room for; 10,240 unless said otherwise.
    pub fn max_entries(mut self, processes: u32) -> Self {
        self.max_entries = processes;
        self
    }

    /// Attaches this way or not at all. Otherwise the first of tp_btf, raw_tp
    /// and tracepoint that this kernel has.
    pub fn attach_kind(mut self, kind: AttachKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Loads the programs and starts to count.
    ///
    /// # Errors
    /// [`PermissionDenied`](ProbeError::PermissionDenied),
    /// [`InvalidOption`](ProbeError::InvalidOption),
    /// [`NotAttached`](ProbeError::NotAttached), and of a kind that was chosen
    /// [`Load`](ProbeError::Load).
    pub fn attach(self) -> Result<PidSyscalls, ProbeError> {
        self.check()?;
        attach::require(NAME, &[Capability::Bpf, Capability::Perfmon])?;
        let all = [AttachKind::TpBtf, AttachKind::RawTracepoint, AttachKind::Tracepoint];
        let chosen = self.kind.as_ref().map_or(&all[..], std::slice::from_ref);
        let (probe, _) = attach::first_that_works(NAME, chosen, |kind| self.attach_as(kind))?;
        Ok(probe)
    }

    fn check(&self) -> Result<(), ProbeError> {
        let refuse = |what: &str| Err(ProbeError::InvalidOption { probe: NAME, what: what.into() });
        if self.max_entries == 0 {
            return refuse("max_entries is 0; it needs room for one process at least");
        }
        if self.pids.contains(&0) {
            return refuse("there is no process 0");
        }
        if !self.by_pid && !self.by_syscall {
            return refuse("it counts by process, by number or both, not by neither");
        }
        if matches!(self.kind, Some(AttachKind::XdpNative | AttachKind::XdpGeneric)) {
            return refuse("it attaches as tp_btf, raw_tp or tracepoint");
        }
        Ok(())
    }

    fn attach_as(&self, kind: AttachKind) -> Result<PidSyscalls, ProbeError> {
        let [count, fork, rename] = programs(kind, self.failures_only);
        // What counts comes last: no process is counted before its predecessor
        // can be forgotten.
        let programs = if self.by_pid { vec![fork, rename, count] } else { vec![count] };
        let open = bpf::open()?.configure(|open| {
            self.configure(open);
            for (name, program) in open.progs.iter_mut() {
                program.set_autoload(programs.contains(&name));
            }
        });
        let handle = open.load()?.into_handle();
        let variables = handle.bss.clone();
        let (maps, mut object) = handle.into_parts();
        maps.pids.update_all(self.pids.iter().map(|pid| (pid, 1)))?;
        let mut counting = Programs::default();
        object.program(count).libbpf(|program| counting.keep(&*program))?;
        for program in programs {
            object.program(program).attach()?;
        }
        let bpf::Maps { counts: tallies, seats, tasks, by_syscall, pid_reuse, health, .. } = maps;
        let counts = PidCounts { tallies, seats };
        let maps = PidSyscallsMaps { counts, tasks, by_syscall, pid_reuse };
        let by_pid = self.by_pid;
        Ok(PidSyscalls { maps, health, variables, counting, kind, by_pid, _attached: object })
    }

    fn configure(&self, open: &mut bpf::Open) {
        open.rodata.count_by_pid = self.by_pid.into();
        open.rodata.count_by_syscall = self.by_syscall.into();
        open.rodata.filter_pids = (!self.pids.is_empty()).into();
        let processes = if self.by_pid { self.max_entries } else { 1 };
        open.maps.counts.set_max_entries(processes);
        open.maps.tasks.set_max_entries(processes);
        open.maps.pids.set_max_entries(self.pids.len().max(1) as u32);
        if !self.by_syscall {
            open.maps.by_syscall.set_max_entries(1);
        }
    }
}

impl PidSyscalls {
    /// Options, then [`attach`](PidSyscallsBuilder::attach).
    pub fn builder() -> PidSyscallsBuilder {
        PidSyscallsBuilder::default()
    }

    /// Every process that was counted, those that are over included.
    ///
    /// One walk for the counts and one for the names. A process whose PID was
    /// given out again between the two carries the name of its successor.
    ///
    /// # Errors
    /// As the maps' `iter`.
    pub fn counts(&self) -> crate::Result<Vec<PidCount>> {
        let mut counts = Vec::new();
        for entry in self.maps.counts.sums() {
            let (pid, count) = entry?;
            counts.push(PidCount { pid, comm: Comm::default(), start_ns: 0, count });
        }
        let mut tasks = HashMap::with_capacity(counts.len());
        self.maps.tasks.for_each(|pid, task| {
            tasks.insert(pid, task);
        })?;
        for count in &mut counts {
            if let Some(task) = tasks.get(&count.pid) {
                (count.comm, count.start_ns) = (task.comm, task.start_ns);
            }
        }
        Ok(counts)
    }

    /// The calls of one process; `None` if it made none.
    ///
    /// # Errors
    /// As [`PidCounts::sum_of`].
    pub fn count_of(&self, pid: u32) -> crate::Result<Option<u64>> {
        self.maps.counts.sum_of(pid)
    }

    /// Every system call that was made, with how often; none unless the builder
    /// was told [`by_syscall`](PidSyscallsBuilder::by_syscall).
    ///
    /// # Errors
    /// As [`PerCpuArray::iter`].
    pub fn by_syscall(&self) -> crate::Result<Vec<SyscallCount>> {
        let made = self.maps.by_syscall.sums().filter(|entry| !matches!(entry, Ok((_, 0))));
        made.map(|entry| entry.map(|(slot, count)| SyscallCount::of_slot(slot, count))).collect()
    }

    /// Makes room by forgetting a process; whether it was known.
    ///
    /// Only for one that is over: of one that lives, calls that it is making are
    /// lost, and the rest begins again at 0.
    ///
    /// # Errors
    /// As [`PerCpuHash::delete`](crate::PerCpuHash::delete).
    pub fn forget(&self, pid: u32) -> crate::Result<bool> {
        // The task first: of a process that begins in between, its first count
        // finds its task or makes it; the other way round it would stay unnamed.
        let task = self.maps.tasks.delete(pid)?;
        let count = self.maps.counts.tallies.delete(pid)?;
        // Its seats as well. Two that forget at once may both write the same
        // number: each is another than before its deletion.
        self.variables.set_forgotten(self.variables.forgotten() + 1);
        Ok(count | task)
    }

    /// How full it is and what was not counted. One walk.
    ///
    /// The main map is `counts`; `by_syscall` where processes are not counted.
    ///
    /// # Errors
    /// As the map's `iter`, and [`ProbeError::Sys`].
    pub fn health(&self) -> Result<Health, ProbeError> {
        let (entries, capacity) = if self.by_pid {
            (self.maps.counts.count()?, self.maps.counts.max_entries())
        } else {
            (self.by_syscall()?.len(), self.maps.by_syscall.max_entries())
        };
        let health = Health {
            entries: entries as u64,
            capacity: capacity.into(),
            missed: self.counting.missed()?,
            ..Health::default()
        };
        let AtlasHealth { full, no_memory, busy, missed } = self.health.sum_of(0)?;
        Ok(health.refusals([full, no_memory, busy, missed]))
    }

    /// What became of processes whose PID was given out again.
    ///
    /// # Errors
    /// As [`PerCpuArray::sum_of`].
    pub fn pid_reuse(&self) -> crate::Result<PidReuse> {
        self.maps.pid_reuse.sum_of(0)
    }

    /// The maps.
    pub fn maps(&self) -> &PidSyscallsMaps {
        &self.maps
    }

    /// How it is attached.
    pub fn attach_kind(&self) -> AttachKind {
        self.kind
    }
}
