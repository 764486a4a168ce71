//! [`Rates`]: what counters grew by, without ever resetting them.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::Accumulate;
use crate::error::Result;

/// A map of running totals: every hash or array kind whose values are
/// [`Accumulate`]. Per-CPU values count as their sum. Sealed.
pub trait Totals: sealed::Totals {}

impl<T: sealed::Totals> Totals for T {}

pub(crate) mod sealed {
    #[cfg(feature = "gather")]
    use crate::RawMap;
    use crate::{Accumulate, Pod, Result};

    pub trait Totals {
        type Key: Pod;
        type Total: Accumulate;

        fn totals(&self, f: &mut dyn FnMut(Self::Key, Self::Total)) -> Result<usize>;
    }

    /// A map of the kernel's.
    #[cfg(feature = "gather")]
    pub trait Raw {
        fn raw(&self) -> &RawMap;
    }
}

/// Differences of running totals: the exact way to read live counters.
///
/// Resetting a counter that programs still add to loses increments, or books
/// them on another key. So the totals run on, and this remembers what they were:
/// the sum of all differences is what was counted, exactly.
///
/// A key that was deleted, or evicted from an LRU map, and counted again since
/// the last tick starts from zero. It is told by a total below the last one;
/// one that has already grown past it cannot be told, and what the key had
/// counted before is then missing.
///
/// ```no_run
/// use bpf_atlas::{Hash, Rates};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counts = Hash::<u32, u64>::open_pinned("/sys/fs/bpf/counts")?;
/// let mut rates = Rates::new(counts)?;
/// loop {
///     std::thread::sleep(std::time::Duration::from_secs(1));
///     let tick = rates.tick()?;
///     for rate in &tick.rates {
///         println!("{}: {:.0}/s", rate.key, tick.per_second(rate.delta));
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Rates<M: Totals> {
    map: M,
    last: HashMap<M::Key, Seen<M::Total>>,
    at: Instant,
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen<V> {
    total: V,
    generation: u64,
}

/// What happened between two ticks.
#[derive(Clone, Debug)]
pub struct Tick<K, V> {
    /// The time since the last tick.
    pub elapsed: Duration,
    /// Every key that is in the map, also those that did not grow.
    pub rates: Vec<Rate<K, V>>,
    /// Keys of the last tick that are gone.
    pub gone: Vec<K>,
}

/// One counter's growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate<K, V> {
    /// The key.
    pub key: K,
    /// By how much the total grew since the last tick.
    pub delta: V,
    /// The running total.
    pub total: V,
    /// Whether the key's element was new, or made again, since the last tick.
    pub restarted: bool,
}

impl<K, V: Into<u64>> Tick<K, V> {
    /// A difference of this tick by the second.
    pub fn per_second(&self, delta: V) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { delta.into() as f64 / seconds } else { 0.0 }
    }
}

impl<M: Totals> Rates<M>
where
    M::Key: Eq + Hash,
{
    /// Starts from what the totals are now. One walk.
    ///
    /// # Errors
    /// As the map's `iter`.
    pub fn new(map: M) -> Result<Self> {
        let mut rates = Self::from_zero(map);
        rates.tick()?;
        Ok(rates)
    }

    /// Starts from zero: the first tick tells all that was ever counted. For a
    /// program that was loaded just now.
    pub fn from_zero(map: M) -> Self {
        Self { map, last: HashMap::new(), at: Instant::now(), generation: 0 }
    }

    /// What every total grew by since the last tick. One walk.
    ///
    /// # Errors
    /// As the map's `iter`. Nothing is forgotten by one: the next tick tells
    /// the growth since the last that succeeded.
    pub fn tick(&mut self) -> Result<Tick<M::Key, M::Total>> {
        let now = Instant::now();
        let mut rates = Vec::with_capacity(self.last.len());
        let last = &self.last;
        self.map.totals(&mut |key, total| {
            let before = last.get(&key);
            let grown = before.and_then(|before| total.since(before.total));
            let (delta, restarted) = (grown.unwrap_or(total), grown.is_none());
            rates.push(Rate { key, delta, total, restarted });
        })?;
        self.generation += 1;
        let generation = self.generation;
        for rate in &rates {
            self.last.insert(rate.key, Seen { total: rate.total, generation });
        }
        let mut gone = Vec::new();
        if self.last.len() > rates.len() {
            self.last.retain(|key, seen| {
                let here = seen.generation == generation;
                if !here {
                    gone.push(*key);
                }
                here
            });
        }
        let elapsed = now.duration_since(self.at);
        self.at = now;
        Ok(Tick { elapsed, rates, gone })
    }

    /// The map.
    pub fn map(&self) -> &M {
        &self.map
    }
}

/// So that a reference to a map can be used as well as the map.
impl<T: sealed::Totals> sealed::Totals for &T {
    type Key = T::Key;
    type Total = T::Total;

    fn totals(&self, f: &mut dyn FnMut(Self::Key, Self::Total)) -> Result<usize> {
        (**self).totals(f)
    }
}

#[cfg(feature = "gather")]
impl<T: sealed::Raw> sealed::Raw for &T {
    fn raw(&self) -> &crate::RawMap {
        (**self).raw()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct Fake(RefCell<Vec<(u32, u64)>>);

    impl sealed::Totals for Fake {
        type Key = u32;
        type Total = u64;

        fn totals(&self, f: &mut dyn FnMut(u32, u64)) -> Result<usize> {
            for &(key, total) in self.0.borrow().iter() {
                f(key, total);
            }
            Ok(self.0.borrow().len())
        }
    }

    fn deltas(rates: &mut Rates<&Fake>) -> (Vec<(u32, u64, bool)>, Vec<u32>) {
        let tick = rates.tick().unwrap();
        (tick.rates.iter().map(|r| (r.key, r.delta, r.restarted)).collect(), tick.gone)
    }

    #[test]
    fn differences_restart_with_the_element() {
        let map = Fake(RefCell::new(vec![(1, 10), (2, 5)]));
        let mut rates = Rates::new(&map).unwrap();
        *map.0.borrow_mut() = vec![(1, 13), (2, 3), (3, 4)];
        assert_eq!(deltas(&mut rates), (vec![(1, 3, false), (2, 3, true), (3, 4, true)], vec![]));
        *map.0.borrow_mut() = vec![(3, 4)];
        let (kept, mut gone) = deltas(&mut rates);
        gone.sort_unstable();
        assert_eq!((kept, gone), (vec![(3, 0, false)], vec![1, 2]));
        *map.0.borrow_mut() = vec![(1, 2)];
        assert_eq!(deltas(&mut rates), (vec![(1, 2, true)], vec![3]));
    }

    #[test]
    fn from_zero_tells_all() {
        let map = Fake(RefCell::new(vec![(1, 10)]));
        assert_eq!(deltas(&mut Rates::from_zero(&map)), (vec![(1, 10, true)], vec![]));
    }
}
