//! [`Health`]: how a probe is doing, in numbers.

use std::fmt;

/// How full a probe's main map is, and what the probe could not count.
///
/// All but `entries` are totals since the probe was attached; they only grow.
/// `Display` gives them as the examples' footer does: `entries 412/10240 ·
/// dropped 0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Entries of the main map; of a ring, the bytes that wait in it.
    pub entries: u64,
    /// The most that it takes.
    pub capacity: u64,
    /// What the main map refused to count, for whatever reason.
    pub refused: u64,
    /// Of these, those for which it had no room: raise `max_entries`.
    pub refused_full: u64,
    /// Of these, those for which the kernel's allocator had nothing at hand.
    pub refused_no_memory: u64,
    /// Of these, those that met a lock held by what they had interrupted.
    pub refused_busy: u64,
    /// Events that found no room in the ring.
    pub lost: u64,
    /// Runs of a program that the kernel skipped (`recursion_misses`).
    pub missed: u64,
}

impl Health {
    /// Everything that was not counted or not delivered.
    pub fn dropped(&self) -> u64 {
        self.refused + self.lost + self.missed
    }

    /// With the totals of `struct atlas_health`: for want of room, of memory, of
    /// a lock, and for other reasons.
    pub(super) fn refusals(mut self, [full, no_memory, busy, missed]: [u64; 4]) -> Self {
        self.refused = full + no_memory + busy + missed;
        self.refused_full = full;
        self.refused_no_memory = no_memory;
        self.refused_busy = busy;
        self
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entries {}/{} · dropped {}", self.entries, self.capacity, self.dropped())
    }
}
