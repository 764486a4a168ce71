//! What the probes add to what they watch, and how soon they count.
//!
//! `cargo bench --bench probe_cost` prints Markdown tables: what counting by process
//! adds to a system call, what the XDP programs take for a frame, and how long it is to
//! the first count. What is attached
//! changes in turns, since the machine is shared and a bare time says little;
//! differences are medians of those within a round. Every count is checked; a
//! wrong one prints WRONG and the bench fails. `-- --quick` runs few rounds;
//! `-- calls`, `-- frames` or `-- start` one table.

// The peer in C is called as C would.
#![allow(unsafe_code)]

#[path = "probe_cost/calls.rs"]
mod calls;
#[path = "probe_cost/frames.rs"]
mod frames;
#[path = "probe_cost/kernel.rs"]
mod kernel;
#[path = "probe_cost/start.rs"]
mod start;
mod support;
#[path = "probe_cost/worker.rs"]
mod worker;

use std::{env, fs};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use support::Error;

fn main() -> Result<(), Error> {
    let args: Vec<_> = env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    if has(worker::ROLE) {
        return worker::obey();
    }
    if has(start::ROLE) {
        return start::obey();
    }
    let quick = has("--quick");
    // `cargo test --benches` passes nothing, `cargo bench` passes --bench.
    if !quick && !has("--bench") {
        return Ok(());
    }
    let (rounds, count) = if quick { (3, 50_000) } else { (25, 200_000) };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true));
    let cpus: Vec<_> = cpus.take(2).collect();
    println!("Linux {}, {rounds} rounds, interleaved; load {}.", kernel.trim(), load()?);
    let all = !["calls", "frames", "start"].iter().any(|table| has(table));
    let mut right = true;
    if all || has("calls") {
        right &= calls::measure(&cpus, rounds, count)?;
    }
    if all || has("frames") {
        right &= frames::measure(cpus[0], rounds)?;
    }
    if all || has("start") {
        start::measure(rounds)?;
    }
    println!("\nLoad at the end {}.", load()?);
    if right { Ok(()) } else { Err("a count was wrong".into()) }
}

/// How many others want the CPUs: of the last 1, 5 and 15 minutes.
fn load() -> Result<String, Error> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').take(3).collect::<Vec<_>>().join(", "))
}

/// The middle of what was measured.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The order of a round: each from another one on, and every other one backwards.
fn turns(n: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..n).map(move |turn| {
        let at = (turn + round) % n;
        if round % 2 == 0 { at } else { n - 1 - at }
    })
}
