//! [`Rings`]: one thread for several rings.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::pace::Look;
use super::wait::{Bed, On, Waker};
use super::{Event, RingBuf, RingStats};
use crate::MapName;
use crate::error::{Error, Op, Result};
use crate::sys::commands::Errno;

/// What a turn of one ring takes at the most, before the next has its turn.
const TURN: usize = 1024;

/// Several rings, of any types of event, read by one thread.
///
/// Each ring has a handler. [`poll`](Self::poll) waits for all of them at once
/// and gives those with records turns, of 1,024 records at the most and of no more
/// than was there when its turn began, beginning with another ring each time: a
/// ring that never runs dry holds up no other. Each keeps its own
/// [`WakeUp`](super::WakeUp).
///
/// ```no_run
/// use std::time::Duration;
/// use bpf_atlas::{RingBuf, Rings};
///
/// # fn read(execs: RingBuf<u64>, packets: RingBuf<[u32; 4]>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut rings = Rings::new()?;
/// rings.add(execs, |exec, _| println!("exec {exec}"))?;
/// rings.add(packets, |packet, _| println!("packet {packet:?}"))?;
/// loop {
///     rings.poll(Duration::from_secs(1))?;
/// }
/// # }
/// ```
///
/// Handlers go with the rings to whatever thread reads them, so they are `Send`: what
/// two of them share is in a `Mutex` or an atomic, and is declared before the `Rings`.
///
/// A panic of a handler passes through: the record it was given is consumed, and
/// a further `poll` goes on.
///
/// A ring is still to be had, by the key that [`add`](Self::add) gives: its
/// [`stats`](RingBuf::stats), another policy
/// ([`set_wake_up`](RingBuf::set_wake_up)), or the ring itself.
///
/// ```no_run
/// # use bpf_atlas::{RingBuf, Rings, WakeUp};
/// # fn read(execs: RingBuf<u64>) -> Result<(), Box<dyn std::error::Error>> {
/// # let mut rings = Rings::new()?;
/// let key = rings.add(execs, |exec, _| println!("exec {exec}"))?;
/// if let Some(execs) = rings.get_mut(key) {
///     execs.set_wake_up(WakeUp::Throughput)?;
///     println!("{:?}", execs.stats()?);
/// }
/// let execs = rings.remove(key).expect("it was added here");
/// # Ok(())
/// # }
/// ```
pub struct Rings<'h> {
    rings: Vec<Box<dyn Served + Send + 'h>>,
    bed: Bed,
    /// Whose turn is first.
    first: usize,
}

/// Which ring of a [`Rings`]: what [`Rings::add`] gives. That of another `Rings` finds
/// nothing.
pub struct RingKey<E> {
    number: u64,
    events: PhantomData<fn() -> E>,
}

impl<E> Clone for RingKey<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for RingKey<E> {}

impl<E> fmt::Debug for RingKey<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RingKey").field(&self.number).finish()
    }
}

/// A ring and its handler.
trait Served {
    fn number(&self) -> u64;
    fn ring(&self) -> &dyn Any;
    fn ring_mut(&mut self) -> &mut dyn Any;
    fn into_ring(self: Box<Self>) -> Box<dyn Any>;
    fn look(&mut self, now: Instant) -> Result<Look>;
    fn has_record(&mut self) -> Result<bool>;
    fn serve(&mut self) -> Result<usize>;
    fn name(&self) -> MapName;
    fn stats(&self) -> Result<RingStats>;
}

struct Handled<E, F> {
    number: u64,
    ring: RingBuf<E>,
    handler: F,
}

impl<E: Event, F: FnMut(E::Ref<'_>, &[u8])> Served for Handled<E, F> {
    fn number(&self) -> u64 {
        self.number
    }

    fn ring(&self) -> &dyn Any {
        &self.ring
    }

    fn ring_mut(&mut self) -> &mut dyn Any {
        &mut self.ring
    }

    fn into_ring(self: Box<Self>) -> Box<dyn Any> {
        Box::new(self.ring)
    }

    fn look(&mut self, now: Instant) -> Result<Look> {
        // One that was leaked by way of `get_mut`.
        self.ring.consume();
        self.ring.look(now)
    }

    fn has_record(&mut self) -> Result<bool> {
        self.ring.peek()
    }

    fn serve(&mut self) -> Result<usize> {
        self.ring.drain_up_to(TURN, &mut self.handler)
    }

    fn name(&self) -> MapName {
        self.ring.name()
    }

    fn stats(&self) -> Result<RingStats> {
        self.ring.stats()
    }
}

impl<'h> Rings<'h> {
    /// None yet. Costs two descriptors, one to see wake-ups by and one for its wakers.
    ///
    /// # Errors
    /// The system's, when no descriptor is to be had.
    pub fn new() -> std::io::Result<Self> {
        let mut bed = Bed::default();
        bed.make()?;
        bed.waker()?;
        Ok(Self { rings: Vec::new(), bed, first: 0 })
    }

    /// Adds a ring: `handler` is given each event, and the bytes behind it where the
    /// ring was opened [`with_tail`](RingBuf::with_tail). A [`Waker`] of the ring ends
    /// the waits of [`poll`](Self::poll) from now on. One `epoll_ctl`.
    ///
    /// # Errors
    /// [`Sys`](Error::Sys).
    pub fn add<E: Event, F>(&mut self, mut ring: RingBuf<E>, handler: F) -> Result<RingKey<E>>
    where
        F: FnMut(E::Ref<'_>, &[u8]) + Send + 'h,
    {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        ring.consume();
        let waker = self.bed.waker().and_then(|waker| {
            self.bed.see(ring.as_fd())?;
            Ok(waker)
        });
        ring.bed.join(waker.map_err(|errno| ring.raw.explain(Op::Poll, Errno::from(errno)))?);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.rings.push(Box::new(Handled { number, ring, handler }));
        Ok(RingKey { number, events: PhantomData })
    }

    /// The ring that was added under this key, unless it was removed. No system call.
    pub fn get<E: Event>(&self, key: RingKey<E>) -> Option<&RingBuf<E>> {
        self.rings[self.place(key)?].ring().downcast_ref()
    }

    /// The same, to choose its [`WakeUp`](super::WakeUp), or to read it out of turn. Another
    /// ring that is put in its place ends no wait: [`remove`](Self::remove) one and
    /// [`add`](Self::add) the other. No system call.
    pub fn get_mut<E: Event>(&mut self, key: RingKey<E>) -> Option<&mut RingBuf<E>> {
        let place = self.place(key)?;
        self.rings[place].ring_mut().downcast_mut()
    }

    /// Takes the ring out, and drops its handler. Whoever had a [`Waker`] of it before
    /// it was added wakes its reader again; one from in here wakes this `Rings`, as does
    /// a wake-up that no [`poll`](Self::poll) has ended by yet. One `epoll_ctl`.
    pub fn remove<E: Event>(&mut self, key: RingKey<E>) -> Option<RingBuf<E>> {
        let place = self.place(key)?;
        let ring = self.rings.remove(place).into_ring().downcast::<RingBuf<E>>();
        let mut ring = *ring.expect("the key is of its type");
        self.bed.unsee(ring.as_fd());
        ring.bed.leave();
        // Who was to be first still is.
        self.first -= usize::from(place < self.first);
        Some(ring)
    }

    fn place<E>(&self, key: RingKey<E>) -> Option<usize> {
        self.rings.iter().position(|ring| ring.number() == key.number)
    }

    /// How many rings there are.
    pub fn len(&self) -> usize {
        self.rings.len()
    }

    /// Whether there is no ring.
    pub fn is_empty(&self) -> bool {
        self.rings.is_empty()
    }

    /// Waits until a ring has records, at most for `timeout`, and gives each that
    /// has a turn; how many records there were. `None` waits without end. 0 when
    /// nothing came, or a [`Waker`] ended the wait. One `ppoll` a sleep, and an
    /// `epoll_wait` where a program ended it.
    ///
    /// # Errors
    /// Those of [`RingBuf::drain`] and [`RingBuf::wait`], of the first ring that has
    /// one, which is named in it; the rings behind it have their turn at the next
    /// call, as has what is behind the record in question.
    pub fn poll(&mut self, timeout: impl Into<Option<Duration>>) -> Result<usize> {
        let mut now = Instant::now();
        let deadline = timeout.into().and_then(|timeout| now.checked_add(timeout));
        let mut woken = false;
        loop {
            let last = woken || deadline.is_some_and(|deadline| deadline <= now);
            let until = match self.turns(now, last)? {
                Turns::Served(records) => return Ok(records),
                Turns::Sleep(_) if last => {
                    if woken {
                        self.bed.obeyed();
                    }
                    return Ok(0);
                }
                Turns::Sleep(until) => until,
            };
            let until = deadline.map_or(until, |deadline| until.min(deadline));
            woken = self.sleep(until.saturating_duration_since(now))?;
            now = Instant::now();
        }
    }

    /// Something that ends the waits of [`poll`](Self::poll) from another thread.
    ///
    /// # Errors
    /// None: its descriptor is there since [`new`](Self::new).
    pub fn waker(&mut self) -> std::io::Result<Waker> {
        Ok(self.bed.waker()?)
    }

    /// Where the records of each ring have gone, in the order in which they were
    /// added. One `BPF_MAP_LOOKUP_ELEM` a ring.
    ///
    /// # Errors
    /// As [`RingBuf::stats`].
    pub fn stats(&self) -> impl Iterator<Item = (MapName, Result<RingStats>)> + '_ {
        self.rings.iter().map(|ring| (ring.name(), ring.stats()))
    }

    fn sleep(&self, timeout: Duration) -> Result<bool> {
        self.bed.sleep(On::Edges, timeout).map_err(|errno| Error::Sys {
            map: self.rings.first().map_or_else(MapName::default, |ring| ring.name()),
            op: Op::Poll,
            errno: Errno::from(errno),
        })
    }

    /// A turn for every ring that is ready, or, at the `last` look of a call, that
    /// has records; else how long all of them may sleep.
    fn turns(&mut self, now: Instant, last: bool) -> Result<Turns> {
        let (count, first) = (self.rings.len(), self.first);
        let (mut records, mut served) = (0, false);
        // Without a ring only a waker or the timeout ends the wait.
        let mut until = now + Duration::from_secs(3600);
        for turn in 0..count {
            let at = (first + turn) % count;
            let ring = &mut self.rings[at];
            let turn = ring.look(now).and_then(|look| match look {
                Look::Ready => Ok(None),
                _ if last && ring.has_record()? => Ok(None),
                Look::Sleep(until) | Look::Doze(until) => Ok(Some(until)),
                Look::Pause(pause) => Ok(Some(now + pause)),
            });
            let result = turn.and_then(|asleep| match asleep {
                Some(asleep) => {
                    until = until.min(asleep);
                    Ok(())
                }
                None => {
                    if !served {
                        (self.first, served) = (at + 1, true);
                    }
                    records += ring.serve()?;
                    Ok(())
                }
            });
            if let Err(error) = result {
                // Those behind it come first the next time.
                self.first = at + 1;
                return Err(error);
            }
        }
        Ok(if served { Turns::Served(records) } else { Turns::Sleep(until) })
    }
}

enum Turns {
    Served(usize),
    Sleep(Instant),
}

impl AsFd for Rings<'_> {
    /// For an event loop of one's own: readable when a program has woken the
    /// reader of one of the rings. Then `poll(Duration::ZERO)` until it gives 0;
    /// and once in 100 ms, or the
    /// [`max_delay`](RingBuf::set_max_delay) of a ring under
    /// [`WakeUp::Throughput`](super::WakeUp), for what woke nobody.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bed.edges().expect("made by `new`")
    }
}

impl fmt::Debug for Rings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rings.iter().map(|ring| ring.name())).finish()
    }
}
