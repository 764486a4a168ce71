//! What an exit costs with the probe attached, by the kernel's own statistics:
//! `cargo test --test exec_exit_cost -- --ignored --nocapture`.
#![cfg(feature = "probes")]

#[path = "support/exec.rs"]
mod exec;
#[path = "support/programs.rs"]
mod programs;
mod support;

use std::fs;
use std::process::Command;

use bpf_atlas::probes::{AttachKind, ExecEvents};
use exec::*;
use libbpf_rs::query::ProgInfoIter;
use programs::Programs;

/// Has the kernel count runs and time of programs, and puts back what was there.
struct Statistics(String);

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Statistics {
    fn on() -> Self {
        let was = fs::read_to_string(SWITCH).expect("Linux 5.1");
        fs::write(SWITCH, "1").expect("as root may");
        Self(was)
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        fs::write(SWITCH, self.0.trim()).ok();
    }
}

/// Runs and nanoseconds of the programs of a name.
fn ran(name: &str) -> (u64, u64) {
    let all = ProgInfoIter::default().filter(|program| program.name == *name);
    all.fold((0, 0), |(runs, ns), program| (runs + program.run_cnt, ns + program.run_time_ns))
}

#[test]
#[ignore = "a measurement, which is to have the machine for itself"]
fn cost_of_an_exit() {
    let _statistics = Statistics::on();
    let empty = Programs::load("exits");
    let _links = [empty.attach("nothing_btf"), empty.attach("nothing_tp")];
    use AttachKind::{RawTracepoint, TpBtf, Tracepoint};
    let names = [(TpBtf, "exit_btf"), (RawTracepoint, "exit_raw"), (Tracepoint, "exit_tp")];
    for (kind, name) in names {
        for by_live_threads in [false, true] {
            let builder = ExecEvents::builder().exits(true).attach_kind(kind);
            let mut probe = attach(builder.exits_by_live_threads(by_live_threads));
            for _ in 0..500 {
                run(&mut Command::new(TRUE));
            }
            let exits = probe.drain_events(|_| {}).unwrap();
            let per = |(runs, ns): (u64, u64)| ns as f64 / runs as f64;
            println!(
                "{kind}, by live threads {by_live_threads}: {:.0} ns an exit; empty: {:.0} tp_btf, \
                 {:.0} tracepoint; {exits} events",
                per(ran(name)),
                per(ran("nothing_btf")),
                per(ran("nothing_tp"))
            );
            assert!(exits >= 1000 && ran(name).0 >= 500);
        }
    }
}
