//! [`WakeUp`], and when a reader sleeps, how long, and who may wake it.

#[cfg(test)]
mod model;

use std::sync::atomic::{Ordering, fence};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::{OpenError, Result};
use crate::raw::RawMap;
use crate::source::MapSource;
use crate::{Array, MappedArray};

/// When programs wake the reader of a ring: [`RingBuf::set_wake_up`].
///
/// A wake-up costs the program that gives it some microseconds, and a sleep the
/// reader some more: far more than an event itself, which takes 50 ns and 3.
///
/// | | an event is seen | cost of a busy stream | choose it for |
/// |---|---|---|---|
/// | `Latency` | as soon as the reader runs | a wake-up for nearly every event | few events, or ones that something waits for |
/// | `Throughput` | within 1 ms, the first after a pause at once | one sleep a millisecond | streams |
/// | `Manual` | when the reader looks | none | a reader that looks on a timer of its own |
///
/// Measured with 200,000 events a second, one by one, on a virtual machine, where
/// sleeps are dear:
///
/// | | median from program to reader | reader, CPU time an event | program, an event |
/// |---|---|---|---|
/// | `Latency` | 7 µs | 4.1 µs | 3.9 µs |
/// | `Throughput` | 0.55 ms | 0.13 µs | 0.08 µs |
/// | `Throughput`, [`set_max_delay`](super::RingBuf::set_max_delay) of 4 ms | 2.1 ms | 0.04 µs | 0.07 µs |
/// | `Manual`, drained each millisecond | 0.55 ms | 0.11 µs | 0.08 µs |
///
/// Events that come in bursts are woken for once a burst, so there is less to gain:
/// with 64 at once `Throughput` takes a third of the CPU time of `Latency`, a tenth
/// with 4 ms. Where less than one wake-up a millisecond is due there is nothing.
///
/// The reader sets it in a map that `ATLAS_RING` of `bpf_atlas.h` declares as
/// `name_wake`; the submitting macros look there, which costs them a nanosecond or
/// two. Programs that submit otherwise, with no flags, wake by the kernel's
/// rule: when the reader has read everything before.
///
/// [`RingBuf::set_wake_up`]: super::RingBuf::set_wake_up
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WakeUp {
    /// Every event wakes a reader that has nothing to read: the kernel's own rule.
    #[default]
    Latency,
    /// The reader is woken when events have waited for
    /// [`max_delay`](super::RingBuf::set_max_delay), 1 ms unless set otherwise, or
    /// when more than [`mark`](super::RingBuf::set_mark) bytes wait, a quarter of the
    /// ring. It never sleeps longer on an event, also when the stream stops. The
    /// first event after a pause is not held back.
    Throughput,
    /// Nothing wakes the reader but a program that submits with
    /// `BPF_RB_FORCE_WAKEUP`. A wait looks every 100 ms.
    Manual,
}

/// What the reader wants, as in `bpf_atlas.h`.
mod word {
    pub(super) const DEFAULT: u64 = 0;
    pub(super) const NOT: u64 = 1;
    pub(super) const NEXT: u64 = 2;
    pub(super) const MARK: u64 = 3;
}

/// How long a wait sleeps before it looks by itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// No delay is longer, so that every clock holds it.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);
/// Longer than a program lasts.
const LONGEST: Duration = Duration::from_millis(1);
/// Pauses between looks at a record that is not committed yet.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// The two words of `name_wake`, mapped. The kernel's rule is back when it goes.
#[derive(Debug)]
pub(super) struct Words {
    map: RawMap,
    words: MappedArray<u64>,
}

/// The word by which a reader tells programs what it wants.
pub(super) trait Word {
    fn get(&self) -> u64;
    fn set(&self, word: u64);

    /// Brings the kernel's rule back, for good. A program that has seen the word
    /// as it was may still take it back, after which nobody would ever be woken;
    /// it is over after the `pause`.
    fn give_up(&self, pause: impl FnOnce()) {
        if self.get() != word::DEFAULT {
            self.set(word::DEFAULT);
            pause();
            self.set(word::DEFAULT);
        }
    }
}

impl Word for Words {
    fn get(&self) -> u64 {
        // There is such an index: `open` has looked.
        self.words.load(0).unwrap_or(word::DEFAULT)
    }

    fn set(&self, word: u64) {
        // It is writable: `set_wake_up` has looked.
        let _ = self.words.store(0, word);
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.give_up(|| sleep(LONGEST));
    }
}

/// What a reader found, and what it does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// There is something to read, and it is time to.
    Ready,
    /// Nothing: sleep until programs say there is, but look again then.
    Sleep(Instant),
    /// Nothing, or not yet: sleep until then, or until a program forces a wake-up.
    /// The ring's descriptor may be readable all the while.
    Doze(Instant),
    /// A record is not committed yet: sleep so long, whatever the descriptor says.
    Pause(Duration),
}

/// What lies in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Busy,
    Record,
}

/// The state of one reader's waiting. Knows no ring and no clock.
#[derive(Debug)]
pub(super) struct Pace<W = Words> {
    policy: WakeUp,
    words: Option<W>,
    delay: Duration,
    mark: u64,
    pause: Duration,
    /// Events are let gather until then.
    gather: Option<Instant>,
    /// The reader asked for a wake-up at the next event, and looks once more
    /// then. None as long as programs may have another word in mind.
    armed: Option<Instant>,
    /// When events were last read, and how many were read by then.
    read: (Option<Instant>, u64),
}

impl<W: Word> Pace<W> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            policy: WakeUp::Latency,
            words: None,
            delay: Duration::from_millis(1),
            mark: capacity as u64 / 4,
            pause: PAUSES.0,
            gather: None,
            armed: None,
            read: (None, 0),
        }
    }

    pub(super) fn policy(&self) -> WakeUp {
        self.policy
    }

    pub(super) fn set_delay(&mut self, delay: Duration) {
        self.delay = delay.min(FOR_EVER);
    }

    /// Whether it matters when a ring ran dry.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.policy == WakeUp::Throughput
    }

    /// Everything that was there at `now` has been read; `handled` in all.
    pub(super) fn ran_dry(&mut self, now: Instant, handled: u64) {
        let (last, before) = self.read;
        let new = handled.wrapping_sub(before);
        if new == 0 {
            return;
        }
        self.read = (Some(now), handled);
        self.armed = None;
        // One event after a pause: the next may be as far away.
        let lone = new == 1 && last.is_none_or(|last| now.duration_since(last) >= self.delay);
        self.gather = if lone { None } else { now.checked_add(self.delay) };
    }

    /// Whether a record that is there is to be read whatever the time.
    #[inline]
    pub(super) fn is_eager(&self) -> bool {
        self.gather.is_none()
    }

    /// What to do about what was found, once `handled` records were read in all.
    /// `found` is asked again after programs were told that the reader goes to
    /// sleep: what they submitted meanwhile would wake nobody. Times to sleep until
    /// are to be taken from `now`, and `clock` tells a later one.
    pub(super) fn look<E>(
        &mut self,
        now: Instant,
        clock: impl FnOnce() -> Instant,
        handled: u64,
        mut found: impl FnMut() -> Result<(Found, usize), E>,
    ) -> Result<Look, E> {
        let (first, waiting) = found()?;
        if first == Found::Busy {
            let pause = self.pause;
            self.pause = (pause * 2).min(PAUSES.1);
            return Ok(Look::Pause(pause));
        }
        self.pause = PAUSES.0;
        if self.policy != WakeUp::Throughput {
            return Ok(match first {
                Found::Record => Look::Ready,
                _ => Look::Sleep(now + LOOK_EVERY),
            });
        }
        if first == Found::Nothing {
            self.ran_dry(now, handled);
        }
        if let Some(until) = self.gather.filter(|until| now < *until) {
            if waiting as u64 >= self.mark && first == Found::Record {
                return Ok(self.ready());
            }
            if let Some(words) = &self.words {
                words.set(word::MARK);
            }
            return Ok(Look::Doze(until));
        }
        if first == Found::Record {
            return Ok(self.ready());
        }
        self.gather = None;
        if let Some(words) = self.words.as_ref().filter(|words| words.get() != word::NEXT) {
            words.set(word::NEXT);
            self.armed = None;
        }
        fence(Ordering::SeqCst);
        match found()?.0 {
            Found::Record => return Ok(self.ready()),
            Found::Busy => return Ok(Look::Pause(self.pause)),
            Found::Nothing => {}
        }
        // A program that looked before the word was set may submit after this
        // look, and one that has woken the reader may take the word back after
        // it. Both are over a delay from now, by a clock that is read now.
        Ok(Look::Doze(match self.armed {
            Some(again) if now < again => again,
            Some(_) => now + LOOK_EVERY,
            None => {
                let soon = self.delay.min(LOOK_EVERY);
                self.armed = Some(clock() + soon);
                now + soon
            }
        }))
    }

    /// There is something to read. Who submitted it may have the word yet.
    fn ready(&mut self) -> Look {
        self.armed = None;
        Look::Ready
    }
}

impl Pace {
    pub(super) fn map(&self) -> Option<&RawMap> {
        self.words.as_ref().map(|words| &words.map)
    }

    pub(super) fn has_words(&self) -> bool {
        self.words.is_some()
    }

    pub(super) fn open(&mut self, source: impl MapSource) -> Result<(), OpenError> {
        let map = RawMap::open(source)?;
        let array = Array::<u64>::open(&map)?;
        let refused = |what: String| OpenError::InvalidArgument { what };
        let words = array.mapped().map_err(|error| refused(error.to_string()))?;
        if words.len() != 2 {
            let name = map.name();
            return Err(refused(format!("map `{name}` is not what ATLAS_RING declares: 2 words")));
        }
        self.words = Some(Words { map, words });
        Ok(())
    }

    /// Changes the policy. The caller has seen that there are words, if it takes them.
    pub(super) fn set_policy(&mut self, policy: WakeUp) -> Result<()> {
        if let Some(words) = &self.words {
            words.words.store(1, self.mark)?;
            match policy {
                WakeUp::Latency => words.give_up(|| sleep(LONGEST)),
                WakeUp::Throughput | WakeUp::Manual => words.words.store(0, word::NOT)?,
            }
        }
        (self.policy, self.gather, self.armed) = (policy, None, None);
        Ok(())
    }

    pub(super) fn set_mark(&mut self, mark: usize) -> Result<()> {
        self.mark = mark as u64;
        match &self.words {
            Some(Words { words, .. }) => words.store(1, self.mark),
            None => Ok(()),
        }
    }
}
