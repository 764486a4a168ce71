//! The records of `tests/bpf/ring.bpf.c`, and who produces them.
#![allow(dead_code, reason = "no test binary uses everything")]

use bpf_atlas::{Pod, RingBuf};

use crate::programs::{Programs, resize};

#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C)]
pub struct Numbered {
    pub producer: u32,
    pub seq: u32,
    pub number: u64,
    pub check: u64,
}

impl Numbered {
    /// Whether the record is one that the program made, all of it.
    pub fn is_whole(&self) -> bool {
        let name = u64::from(self.producer) << 32 | u64::from(self.seq);
        self.check == (self.number ^ name).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The producers, with a ring of `bytes`.
pub fn load(bytes: u32) -> Programs {
    Programs::load_with("ring", |object| resize(object, "events", bytes))
}

/// The reader of their ring.
pub fn reader(programs: &Programs) -> RingBuf<Numbered> {
    let ring = RingBuf::open(programs.map("events")).unwrap();
    ring.with_lost(programs.map("events_lost")).unwrap()
}

/// Makes `producer` produce `count` records from number `first`; how many found no room.
pub fn produce(programs: &Programs, producer: u64, first: u64, count: u64) -> u64 {
    produce_with(programs, producer, first, count, 0)
}

/// As [`produce`], submitted with flags of the kernel's.
pub fn produce_with(programs: &Programs, producer: u64, first: u64, count: u64, flags: u64) -> u64 {
    let mut args = [producer, first, count, flags, 0];
    assert_eq!(programs.call("produce", &mut args), 0);
    args[4]
}

/// Numbers of the records that are there.
pub fn read_all(ring: &mut RingBuf<Numbered>) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(record) = ring.next().unwrap() {
        assert!(record.is_whole(), "{record:?}");
        numbers.push(record.seq);
    }
    numbers
}

/// Sees to it that the records of each producer come whole and in order.
#[derive(Debug, Default)]
pub struct Account {
    next: [u32; 2],
    missing: [u64; 2],
    received: u64,
}

impl Account {
    pub fn see(&mut self, record: &Numbered) {
        assert!(record.is_whole(), "torn: {record:?}");
        let next = &mut self.next[record.producer as usize];
        assert!(record.seq >= *next, "out of order or twice: {record:?}, expected {next}");
        self.missing[record.producer as usize] += u64::from(record.seq - *next);
        *next = record.seq + 1;
        self.received += 1;
    }

    pub fn received(&self) -> u64 {
        self.received
    }

    /// Gaps of each producer, once it has produced `produced` records.
    pub fn gaps(&self, produced: u64) -> [u64; 2] {
        [0, 1].map(|at| self.missing[at] + (produced - u64::from(self.next[at])))
    }
}
