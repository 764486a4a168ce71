//! [`Reorder`]: events of several sources in the order of their timestamps.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// Puts events in the order of their timestamps, within a bounded window.
///
/// Records of one ring come in the order in which they were reserved; those of
/// several rings, or of several CPUs with timestamps taken before the reservation,
/// do not. Each event is held back for `window` of the clock that its timestamps
/// are of, so that older ones can still come before it. [`ready`](Self::ready) leaves no
/// more than `capacity` events, and gives the oldest out early where there are more: call
/// it after each batch of pushes.
///
/// An event that comes too late, older than one that was given out already, is
/// given out at once and counted ([`late`](Self::late)): nothing is lost, and no
/// disorder is silent.
///
/// ```
/// use std::time::Duration;
/// use bpf_atlas::Reorder;
///
/// let mut order = Reorder::new(Duration::from_nanos(100), 1024);
/// for (time_ns, name) in [(30, "c"), (10, "a"), (20, "b"), (115, "d")] {
///     order.push(time_ns, name);
/// }
/// // Whatever is older than the window by now, as of 125 ns.
/// let ready: Vec<_> = order.ready(125).collect();
/// assert_eq!(ready, [(10, "a"), (20, "b")]);
/// // At the end, all of it.
/// let rest: Vec<_> = order.finish().collect();
/// assert_eq!(rest, [(30, "c"), (115, "d")]);
/// ```
///
/// Events are taken by value: what borrows a ring must be copied to be held back.
#[derive(Clone, Debug)]
pub struct Reorder<T> {
    window: u64,
    capacity: usize,
    held: BinaryHeap<Reverse<Held<T>>>,
    /// So that equal timestamps stay in the order in which they came.
    pushed: u64,
    given: u64,
    late: u64,
    early: u64,
}

#[derive(Clone, Debug)]
struct Held<T> {
    time_ns: u64,
    number: u64,
    event: T,
}

impl<T> Held<T> {
    fn key(&self) -> (u64, u64) {
        (self.time_ns, self.number)
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> Reorder<T> {
    /// Holds events back for `window`, and no more than `capacity` of them, one at
    /// least, from one [`ready`](Self::ready) to the next push.
    ///
    /// The window should be no shorter than the time from an event's timestamp to
    /// its push: the longest wait of the readers and their
    /// [`max_delay`](super::RingBuf::set_max_delay).
    pub fn new(window: Duration, capacity: usize) -> Self {
        Self {
            window: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
            capacity: capacity.max(1),
            held: BinaryHeap::new(),
            pushed: 0,
            given: 0,
            late: 0,
            early: 0,
        }
    }

    /// Takes an event with its timestamp, of whatever clock all of them use.
    /// Allocates only while more are held than ever before.
    pub fn push(&mut self, time_ns: u64, event: T) {
        self.held.push(Reverse(Held { time_ns, number: self.pushed, event }));
        self.pushed += 1;
    }

    /// The events that are older than the window at `now_ns`, and those that find no
    /// more room, oldest first. What is not taken from the iterator stays.
    pub fn ready(&mut self, now_ns: u64) -> impl Iterator<Item = (u64, T)> + '_ {
        std::iter::from_fn(move || {
            let oldest = self.held.peek()?.0.time_ns;
            let is_due = now_ns.saturating_sub(oldest) >= self.window;
            // Behind one that was given out, waiting could not mend the order.
            if !is_due && oldest >= self.given {
                if self.held.len() <= self.capacity {
                    return None;
                }
                self.early += 1;
            }
            self.give()
        })
    }

    /// Everything that is still held, oldest first.
    pub fn finish(&mut self) -> impl Iterator<Item = (u64, T)> + '_ {
        std::iter::from_fn(move || self.give())
    }

    fn give(&mut self) -> Option<(u64, T)> {
        let Held { time_ns, event, .. } = self.held.pop()?.0;
        if time_ns < self.given {
            self.late += 1;
        }
        self.given = self.given.max(time_ns);
        Some((time_ns, event))
    }

    /// How many events are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Events that came later than the window allows and were given out of order.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Events that were given out before their window was over, since there was no
    /// room to hold them.
    pub fn early(&self) -> u64 {
        self.early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(order: &mut Reorder<u32>, now: u64) -> Vec<u64> {
        order.ready(now).map(|(time, _)| time).collect()
    }

    #[test]
    fn whatever_comes_within_the_window_comes_in_order() {
        let window = 1000;
        let mut order = Reorder::new(Duration::from_nanos(window), usize::MAX);
        let (mut seed, mut seen, mut pushed) = (7_u64, Vec::new(), 0);
        for now in (0..200_000).step_by(10) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // As old as the window at most.
            let time = (now as u64).saturating_sub((seed >> 33) % window);
            order.push(time, pushed);
            pushed += 1;
            seen.extend(ready(&mut order, now as u64));
        }
        assert!(order.len() <= 101, "{} held", order.len());
        seen.extend(order.finish().map(|(time, _)| time));
        assert_eq!(seen.len(), pushed as usize);
        assert!(seen.is_sorted());
        assert_eq!((order.late(), order.early()), (0, 0));
    }

    #[test]
    fn equal_timestamps_stay_in_the_order_in_which_they_came() {
        let mut order = Reorder::new(Duration::ZERO, 10);
        for event in 0..100 {
            order.push(5, event);
        }
        assert!(order.ready(5).map(|(_, event)| event).eq(0..100));
    }

    #[test]
    fn one_that_comes_too_late_is_given_at_once_and_counted() {
        let mut order = Reorder::new(Duration::from_nanos(10), 10);
        order.push(100, 0);
        assert!(ready(&mut order, 109).is_empty());
        assert_eq!(ready(&mut order, 110), [100]);
        order.push(99, 0);
        order.push(101, 0);
        assert_eq!(ready(&mut order, 100), [99]);
        assert_eq!((order.late(), order.len()), (1, 1));
        assert_eq!(ready(&mut order, 111), [101]);
        assert_eq!((order.late(), order.early()), (1, 0));
    }

    #[test]
    fn one_too_many_pushes_the_oldest_out_and_is_counted() {
        let mut order = Reorder::new(Duration::MAX, 3);
        for time in [5, 4, 3, 2, 1] {
            order.push(time, 0);
        }
        assert_eq!(ready(&mut order, 5), [1, 2]);
        assert_eq!((order.len(), order.early(), order.late()), (3, 2, 0));
        // Too late for what was pushed out.
        order.push(1, 0);
        assert_eq!(ready(&mut order, 5), [1]);
        assert_eq!(order.late(), 1);
    }

    #[test]
    fn clocks_at_their_ends_do_not_overflow() {
        let mut order = Reorder::new(Duration::from_secs(1), 3);
        order.push(u64::MAX, 0);
        order.push(0, 0);
        assert!(ready(&mut order, 0).is_empty());
        assert_eq!(ready(&mut order, u64::MAX), [0]);
        assert_eq!(order.finish().count(), 1);
    }
}
