//! G6: records of every length, of the wrong length, and records given up.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/ring.rs"]
mod ring_programs;
mod support;

use std::time::Duration;

use bpf_atlas::{Array, Error};
use programs::Programs;
use ring_programs::{load, produce_with, read_all, reader};

fn produce_sized(programs: &Programs, seq: u64, size: u64) {
    assert_eq!(programs.call("produce_sized", &mut [0, seq, size]), 0);
}

/// Sizes of records, of which 24 bytes are right.
const SIZES: [u64; 12] = [24, 8, 24, 24, 0, 25, 23, 124, 24, 32, 16, 24];

#[test]
fn g6_a_record_of_the_wrong_size_is_an_error_and_the_others_are_delivered() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs);
    for (seq, &size) in SIZES.iter().enumerate() {
        produce_sized(&programs, seq as u64, size);
    }
    let mut sizes = Vec::new();
    loop {
        match ring.next() {
            Ok(None) => break,
            Ok(Some(record)) => {
                assert!(record.is_whole());
                assert_eq!(record.seq as usize, sizes.len());
                assert!(record.tail().is_empty());
                sizes.push(24);
            }
            Err(Error::RecordSize { expected: 24, found, tail: false, .. }) => {
                sizes.push(found as u64);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(sizes, SIZES);
    assert_eq!((ring.delivered(), ring.refused()), (5, 7));
    let totals = ring.totals().unwrap();
    assert_eq!((totals.submitted, totals.lost), (12, 0));
}

#[test]
fn g6_a_drain_goes_on_behind_a_record_of_the_wrong_size() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs);
    for (seq, &size) in SIZES.iter().enumerate() {
        produce_sized(&programs, seq as u64, size);
    }
    let (mut seen, mut errors) = (Vec::new(), 0);
    while ring.waiting() > 0 {
        match ring.drain(|record| seen.push(record.seq)) {
            Ok(_) => {}
            Err(Error::RecordSize { .. }) => errors += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((seen, errors), (vec![0, 2, 3, 8, 11], 7));
    assert_eq!((ring.delivered(), ring.refused()), (5, 7));
}

/// Records of the wrong size are consumed: many times the size of the ring.
#[test]
fn g6_refused_records_give_their_room_back() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    for seq in 0..500 {
        produce_sized(&programs, seq, 100);
        let result = if seq < 250 { ring.next().map(drop) } else { ring.drain(|_| {}).map(drop) };
        assert!(matches!(result, Err(Error::RecordSize { found: 100, .. })), "{result:?}");
    }
    assert_eq!((ring.refused(), ring.delivered(), ring.lost().unwrap()), (500, 0, 0));
}

#[test]
fn g6_records_with_a_tail_come_with_the_tail_they_were_given() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs).with_tail();
    let tail_of =
        |seq: u64, size: u64| -> Vec<u8> { (0..size - 24).map(|at| (seq + at) as u8).collect() };
    // Every length, over and over, so that records also lie across the end.
    let sizes: Vec<u64> = (24..=124).collect();
    for round in 0..20 {
        for (seq, &size) in sizes.iter().enumerate() {
            produce_sized(&programs, seq as u64, size);
        }
        let mut at = 0;
        if round % 2 == 0 {
            while let Some(record) = ring.next().unwrap() {
                assert!(record.is_whole());
                assert_eq!(record.seq as usize, at);
                assert_eq!(record.tail(), tail_of(at as u64, sizes[at]));
                at += 1;
            }
        } else {
            let drained = ring.drain_records(|record, tail| {
                assert!(record.is_whole());
                assert_eq!(tail, tail_of(at as u64, sizes[at]));
                at += 1;
            });
            assert_eq!(drained.unwrap(), sizes.len());
        }
        assert_eq!(at, sizes.len());
    }
    // Shorter than the event itself is an error here as well.
    produce_sized(&programs, 0, 23);
    produce_sized(&programs, 1, 24);
    match ring.next() {
        Err(Error::RecordSize { expected: 24, found: 23, tail: true, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(read_all(&mut ring), [1]);
    assert_eq!(ring.refused(), 1);
}

#[test]
fn g6_discarded_records_are_passed_over_and_give_their_room_back() {
    let programs = load(4096 * 4);
    let mut ring = reader(&programs);
    let mut submitted = 0;
    // Many times the size of the ring.
    for round in 0..50 {
        let mut args = [0, 0, 99, 0, 0];
        assert_eq!(programs.call("discard", &mut args), 0);
        assert_eq!(args[4], 0, "round {round} found no room");
        let numbers = if round % 2 == 0 {
            read_all(&mut ring)
        } else {
            let mut numbers = Vec::new();
            assert_eq!(ring.drain(|record| numbers.push(record.seq)).unwrap(), 33);
            numbers
        };
        assert_eq!(numbers, (0..99).filter(|seq| seq % 3 == 1).collect::<Vec<_>>());
        submitted += 33;
        // A drain stops at the last record that was submitted; discarded ones behind go too.
        assert!(ring.next().unwrap().is_none());
        assert_eq!(ring.waiting(), 0);
    }
    assert_eq!(ring.delivered(), submitted);
    assert_eq!(ring.totals().unwrap().submitted, submitted);
}

/// Two records with others between them that were given up: a wait must not
/// take those for records.
#[test]
fn g6_a_wait_does_not_take_discarded_records_for_data() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    assert_eq!(programs.call("discard", &mut [0, 0, 1, 0, 0]), 0);
    assert!(!ring.wait(Duration::from_millis(5)).unwrap());
    assert_eq!(programs.call("discard", &mut [0, 0, 2, 0, 0]), 0);
    assert!(ring.wait(Duration::from_millis(5)).unwrap());
    assert_eq!(read_all(&mut ring), [1]);
}

/// An output that the ring refuses wakes no one. Had it taken the word back that asks
/// for a wake-up, those after it would not wake the reader either.
#[test]
fn g6_an_output_that_is_refused_leaves_the_readers_word() {
    const NO_WAKEUP: u64 = 1;
    let (not, next) = (1, 2);
    let programs = load(4096);
    let words = Array::<u64>::open(programs.map("events_wake")).unwrap().mapped().unwrap();
    let mut ring = reader(&programs);
    let mut submitted = 0;
    while produce_with(&programs, 0, submitted, 1, NO_WAKEUP) == 0 {
        submitted += 1;
    }
    words.store(0, next).unwrap();
    assert_ne!(programs.call("produce_sized", &mut [0, submitted, 24]), 0);
    assert_eq!(words.load(0).unwrap(), next);
    assert_eq!(read_all(&mut ring).len() as u64, submitted);
    produce_sized(&programs, submitted, 24);
    assert_eq!(words.load(0).unwrap(), not);
    assert_eq!(read_all(&mut ring), [submitted as u32]);
}
