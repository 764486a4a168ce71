//! The wake-ups, explored exhaustively: every interleaving of a few programs
//! that submit by the macros of `bpf_atlas.h`, the kernel's commit and one
//! reader under `Throughput`, step by step, in time of a few ticks.
//!
//! [`Pace`] is the one that ships. The programs are the macros' lines, by their
//! names, and the kernel's `bpf_ringbuf_commit`. What a run may choose (who takes
//! the next step, whether time passes, a signal) is a list of numbers; each run
//! follows the last one to its end and there takes another turn, unless it comes
//! to where another has been. Steps take effect in one order for all: that the
//! word and the records may be seen so is the fence's and the exchange's doing,
//! argued in docs/DESIGN.md.

mod sleeper;
mod world;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sleeper::{Scene, Sleeper};
use world::{Case, Choices, Fault, Kind, Record, State, World};

use super::word;

const DELAY: Duration = Duration::from_millis(1);

/// All runs of a case. A failure is run again, and told.
fn explore(case: Case) {
    let choices = Rc::new(RefCell::new(Choices::default()));
    let start = Instant::now();
    let ended = Cell::new(0);
    let run = |trace| {
        let world = Rc::new(RefCell::new(World { trace, ..World::new(&case) }));
        let scene = Scene { world, choices: choices.clone() };
        let tick = DELAY / case.ticks;
        let reader = Sleeper { scene, pruned: Rc::default(), start, tick };
        if reader.run().is_ok() {
            ended.set(ended.get() + 1);
            let world = reader.scene.world.borrow();
            let left = |record: &Record| record.state == State::Committed && !record.read;
            if world.records.iter().any(left) {
                world.fail("a record was never read");
            }
            if world.quit && world.word != word::DEFAULT {
                world.fail("the kernel's rule is not back");
            }
        }
    };
    loop {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(None))).is_err() {
            choices.borrow_mut().at = 0;
            run(Some(Vec::new()));
        }
        if !choices.borrow_mut().turn() {
            break;
        }
    }
    let choices = choices.borrow();
    let (runs, states, ended) = (choices.runs, choices.seen.len(), ended.get());
    println!("{:?}: {runs} runs, {ended} to the end, {states} states", case.programs);
    assert!(ended > 0, "it explores nothing");
}

use Kind::{Discard, Output, OutputRefused, Plain, Submit};

const KINDS: [Kind; 5] = [Submit, Output, OutputRefused, Discard, Plain];

#[test]
fn any_two_programs() {
    for (at, first) in KINDS.into_iter().enumerate() {
        for second in &KINDS[at..] {
            explore(Case::of(&[first, *second]));
        }
    }
}

#[test]
fn a_reader_that_is_held_up_and_interrupted() {
    for kind in KINDS {
        explore(Case { signals: 2, held_up: 3, ..Case::of(&[kind]) });
    }
}

#[test]
#[ignore = "two minutes"]
fn three_programs() {
    explore(Case::of(&[Output, Submit, Submit]));
    explore(Case { room: 1, ..Case::of(&[Output, Submit, Submit]) });
    explore(Case { room: 2, mark: 1, ..Case::of(&[Submit, Output, Output]) });
    explore(Case { signals: 1, held_up: 1, ..Case::of(&[Output, Submit]) });
}

#[test]
fn one_record_read_a_wait() {
    explore(Case { one_a_wait: true, signals: 1, ..Case::of(&[Submit, Output]) });
}

#[test]
fn a_reader_that_skips() {
    explore(Case { skips: true, signals: 1, ..Case::of(&[Submit, Output]) });
}

#[test]
fn a_ring_that_is_full() {
    explore(Case { room: 1, ..Case::of(&[Submit, Output]) });
    explore(Case { room: 1, mark: 1, ..Case::of(&[Output, Submit]) });
}

#[test]
fn finer_time() {
    explore(Case { ticks: 4, ..Case::of(&[Submit, Submit]) });
}

#[test]
fn the_kernels_rule_is_back_when_the_reader_goes() {
    explore(Case { quits: true, ..Case::of(&[Submit, Submit]) });
    explore(Case { quits: true, ..Case::of(&[Submit, Output]) });
}

// What must be found, or the above shows nothing.

fn faulty(fault: Fault, programs: &[Kind]) {
    explore(Case { fault, signals: 1, held_up: 1, ..Case::of(programs) });
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_the_reader_does_not_look_later() {
    faulty(Fault::NoLookLater, &[Output]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_the_reader_does_not_ask_for_the_next() {
    faulty(Fault::NextNotSet, &[Submit]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_a_program_takes_the_word_and_wakes_nobody() {
    faulty(Fault::TakenNotForced, &[Submit]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_an_output_takes_the_word_before_it_is_sure() {
    faulty(Fault::OutputTakesFirst, &[OutputRefused, Submit]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_a_program_lasts_longer_than_the_delay() {
    faulty(Fault::LongProgram, &[Submit]);
}

#[test]
#[should_panic(expected = "slept on")]
fn found_if_what_was_passed_over_is_given_back_after_the_last_look() {
    faulty(Fault::ReleasedLate, &[Discard, Plain]);
}

#[test]
#[should_panic(expected = "kernel's rule is not back")]
fn found_if_a_reader_goes_without_a_second_word() {
    explore(Case { quits: true, fault: Fault::GoesAtOnce, ..Case::of(&[Submit, Submit]) });
}
