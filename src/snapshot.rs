//! [`Snapshot`]: a walk's entries, kept.

use std::time::{Duration, Instant, SystemTime};

use crate::Pod;
use crate::error::Result;

/// All entries of one walk, with the time it was taken.
///
/// Made by a map's `snapshot`, filled again by `snapshot_into`, which reuses
/// the memory. The entries of a hash come in no order.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let counts = bpf_atlas::Hash::<u32, u64>::create("counts", 10)?;
/// let mut snapshot = counts.snapshot()?;
/// println!("{} entries read in {:?}", snapshot.len(), snapshot.elapsed());
/// counts.snapshot_into(&mut snapshot)?;
/// for (pid, calls) in snapshot.entries() {
///     println!("{pid}: {calls}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot<K, V> {
    entries: Vec<(K, V)>,
    taken_at: SystemTime,
    elapsed: Duration,
}

impl<K, V> Snapshot<K, V> {
    /// An empty one, for `snapshot_into`.
    pub fn new() -> Self {
        Self { entries: Vec::new(), taken_at: SystemTime::UNIX_EPOCH, elapsed: Duration::ZERO }
    }

    /// When the walk began.
    pub fn taken_at(&self) -> SystemTime {
        self.taken_at
    }

    /// How long the walk took: how far apart its first and last entry can be.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The entries.
    pub fn entries(&self) -> &[(K, V)] {
        &self.entries
    }

    /// The entries, to sort or change.
    pub fn entries_mut(&mut self) -> &mut [(K, V)] {
        &mut self.entries
    }

    /// The entries by themselves.
    pub fn into_entries(self) -> Vec<(K, V)> {
        self.entries
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K: Pod, V: Pod> Snapshot<K, V> {
    pub(crate) fn fill(
        &mut self,
        walk: impl FnOnce(&mut Vec<(K, V)>) -> Result<usize>,
    ) -> Result<()> {
        self.entries.clear();
        self.taken_at = SystemTime::now();
        let start = Instant::now();
        let result = walk(&mut self.entries);
        self.elapsed = start.elapsed();
        result.map(drop)
    }
}

impl<K, V> Default for Snapshot<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> IntoIterator for Snapshot<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
