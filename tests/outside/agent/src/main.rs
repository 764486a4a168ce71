//! Loads a program of its own, opens its maps typed, lets the skeleton go and
//! moves the maps to a thread.
#![forbid(unsafe_code)]

use std::error::Error;
use std::mem::MaybeUninit;
use std::os::unix::process::parent_id;
use std::thread;

use bpf_atlas::{Accumulate, Hash, PerCpuArray, Pod, agent};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use outside_agent::CallsSkelBuilder;

/// `struct atlas_health` of `bpf_atlas.h`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Accumulate)]
#[repr(C)]
struct Health {
    full: u64,
    no_memory: u64,
    busy: u64,
    missed: u64,
}

struct Agent {
    attached: agent::Attached,
    calls: Hash<u32, u64>,
    health: PerCpuArray<Health>,
}

const NAME: &[u8; 8] = b"outside\0";

fn start() -> Result<Agent, Box<dyn Error>> {
    let mut object = MaybeUninit::uninit();
    let mut open =
        agent::quietly("opening calls", || CallsSkelBuilder::default().open(&mut object))?;
    let constants = open.maps.rodata_data.as_deref_mut().ok_or("no constants")?;
    constants.nr = libc::SYS_getppid as u64;
    constants.name = u64::from_ne_bytes(*NAME);
    let skel = agent::quietly("loading calls", || open.load())?;

    let mut attached = agent::Attached::new(skel.object())?;
    attached.add(agent::quietly("attaching count", || skel.progs.count.attach())?);
    let calls = Hash::open(&skel.maps.calls)?;
    let health = PerCpuArray::open(attached.map("health")?)?;
    Ok(Agent { attached, calls, health })
}

fn call() {
    for _ in 0..1000 {
        parent_id();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let agent = start()?;
    let watched = thread::Builder::new().name("outside".into()).spawn(move || {
        call();
        let counted = agent.calls.sum()?;
        let Health { full, no_memory, busy, missed } = agent.health.sum()?;
        let refused = full + no_memory + busy + missed;
        println!("counted {counted} of 1000, {refused} refused");

        drop(agent.attached);
        call();
        println!("then {} of 1000", agent.calls.sum()? - counted);
        Ok::<_, bpf_atlas::Error>(())
    })?;
    watched.join().map_err(|_| "the thread panicked")??;
    Ok(())
}
