//! What submitting costs a program while no one is woken.

use std::time::Duration;

use bpf_atlas::WakeUp;

use super::kernel::{Programs, Run, pin_to};
use super::live::NO_WAKEUP;
use super::{Error, median, peers, turns};

/// So few that they stay below the mark, a quarter of the ring.
const EVENTS: u64 = 8000;

/// A way to submit, and what the reader has asked for meanwhile.
struct Way {
    name: &'static str,
    program: &'static str,
    flags: u64,
    policy: WakeUp,
}

const WAYS: [Way; 5] = [
    Way {
        name: "`bpf_ringbuf_submit`, no wake-ups",
        program: "plain",
        flags: NO_WAKEUP,
        policy: WakeUp::Manual,
    },
    Way {
        name: "and counted: `atlas_ring_submit_flags`",
        program: "counted",
        flags: NO_WAKEUP,
        policy: WakeUp::Manual,
    },
    Way {
        name: "`atlas_ring_submit`, `Latency`",
        program: "atlas",
        flags: 0,
        policy: WakeUp::Latency,
    },
    Way {
        name: "`atlas_ring_submit`, `Throughput`, a backlog growing",
        program: "atlas",
        flags: 0,
        policy: WakeUp::Throughput,
    },
    Way {
        name: "`atlas_ring_submit`, `Manual`",
        program: "atlas",
        flags: 0,
        policy: WakeUp::Manual,
    },
];

pub fn run(cpu: usize, rounds: usize) -> Result<bool, Error> {
    pin_to(cpu)?;
    println!(
        "\nA program submits {EVENTS} events of 24 bytes with the time in them, while the reader \
         is busy. ns an event; ratio to the first.\n"
    );
    println!("| submitted by | median | least | ratio |");
    println!("|---|---|---|---|");
    let programs = Programs::load(1 << 16)?;
    let mut times = WAYS.map(|_| Vec::new());
    let mut right = true;
    for round in 0..=rounds {
        for turn in turns(WAYS.len(), round) {
            let way = &WAYS[turn];
            let mut ring = peers::ours(&programs.maps, way.policy)?;
            let mut run = Run { count: 2, flags: way.flags, ..Run::default() };
            let program = programs.runner(way.program)?;
            // So that `Throughput` lets more gather.
            program.run(&mut run)?;
            ring.drain(|_| ())?;
            ring.wait(Duration::ZERO)?;
            run = Run { count: EVENTS, flags: way.flags, ..Run::default() };
            program.run(&mut run)?;
            let mut sum = 0_u64;
            let count = ring.drain(|event| sum = sum.wrapping_add(event.check))?;
            if (count as u64, sum, run.lost) != (EVENTS, run.sum, 0) {
                println!("WRONG: {}: {count} of {EVENTS}", way.name);
                right = false;
            }
            // The first round warms up.
            if round > 0 {
                times[turn].push(run.ns as f64 / EVENTS as f64);
            }
        }
    }
    for (way, times_of) in WAYS.iter().zip(&times) {
        println!(
            "| {} | {:.1} | {:.1} | {:.2} |",
            way.name,
            median(times_of.iter().copied()),
            times_of.iter().copied().fold(f64::INFINITY, f64::min),
            median(times_of.iter().zip(&times[0]).map(|(time, of_first)| time / of_first))
        );
    }
    Ok(right)
}
