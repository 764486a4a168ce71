//! The records of `tests/bpf/wake.bpf.c`, who produces them, and a reader that chooses when
//! it is woken.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::time::Duration;

use bpf_atlas::{Array, MappedArray, Pod, RingBuf, WakeUp};
use nix::time::{ClockId, clock_gettime};

use crate::programs::{Programs, resize};

#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C)]
pub struct Timed {
    pub time_ns: u64,
    pub producer: u32,
    pub seq: u32,
}

/// What a record of it takes up in the ring.
pub const RECORD: usize = 24;
/// Longer than any wait lasts when all is well.
pub const LONG: Duration = Duration::from_secs(20);

pub fn load(bytes: u32) -> Programs {
    Programs::load_with("wake", |object| resize(object, "events", bytes))
}

pub fn reader(programs: &Programs, policy: WakeUp) -> RingBuf<Timed> {
    let ring = RingBuf::open(programs.map("events")).unwrap();
    let ring = ring.with_lost(programs.map("events_lost")).unwrap();
    let mut ring = ring.with_wake(programs.map("events_wake")).unwrap();
    ring.set_wake_up(policy).unwrap();
    ring
}

pub fn words(programs: &Programs) -> MappedArray<u64> {
    Array::open(programs.map("events_wake")).unwrap().mapped().unwrap()
}

/// What is produced: how many records from number `first`, so far apart.
#[derive(Clone, Copy, Default)]
pub struct Stream {
    pub producer: u64,
    pub first: u64,
    pub count: u64,
    pub gap_ns: u64,
    pub by_output: bool,
}

impl Stream {
    /// How many were lost, and how often the program was to wake the reader.
    pub fn run(self, programs: &Programs) -> (u64, u64) {
        let Self { producer, first, count, gap_ns, by_output } = self;
        let mut args = [producer, first, count, gap_ns, 0, by_output.into(), 0, 0];
        assert_eq!(programs.call("stream", &mut args), 0);
        (args[4], args[6])
    }
}

pub fn burst(programs: &Programs, first: u64, count: u64) -> u64 {
    let (lost, woken) = Stream { first, count, ..Stream::default() }.run(programs);
    assert_eq!(lost, 0);
    woken
}

pub fn now_ns() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_nanos() as u64
}

/// Numbers of what is there.
pub fn read_all(ring: &mut RingBuf<Timed>) -> Vec<u32> {
    let mut numbers = Vec::new();
    ring.drain(|event| numbers.push(event.seq)).unwrap();
    numbers
}
