//! Waiting for records.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

use super::pace::{Found, Look, WakeUp};
use super::{Event, RingBuf, pins};
use crate::error::{Error, Op, OpenError, Result};
use crate::source::MapSource;
use crate::sys::commands::Errno;
use crate::sys::ring::Peek;

/// Ends the waits of a ring's reader from another thread.
///
/// A wake-up is kept until a wait that finds nothing to read has ended by it: a
/// reader that goes on as long as waits succeed sees everything that was there,
/// then stops. Clones wake the same reader. One of a ring that goes into a
/// [`Rings`](super::Rings) ends that one's [`poll`](super::Rings::poll) as long as the
/// ring is in there. In an `AsyncRingBuf` nobody waits but the future, which is dropped
/// instead. Made by [`RingBuf::waker`] and [`Rings::waker`](super::Rings::waker).
///
/// ```no_run
/// # fn read(mut ring: bpf_atlas::RingBuf<u64>) -> Result<(), Box<dyn std::error::Error>> {
/// let waker = ring.waker()?;
/// let reader = std::thread::spawn(move || ring.wait(None)); // false when woken
/// waker.wake();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Waker(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    fd: EventFd,
    /// Who is woken instead. Held while one is rung, so that no wake-up is left behind
    /// when the reader moves.
    instead: Mutex<Option<Waker>>,
}

impl Waker {
    pub(super) fn new() -> nix::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let fd = EventFd::from_flags(flags)?;
        Ok(Self(Arc::new(Bell { fd, instead: Mutex::new(None) })))
    }

    /// Ends the wait that is under way, or the next one. One `write`. It takes a lock, so it
    /// is not for a signal's handler.
    pub fn wake(&self) {
        match &*self.instead() {
            Some(other) => other.wake(),
            // It can only fail for a counter at its end, which wakes as well.
            None => drop(self.0.fd.write(1)),
        }
    }

    /// Wakes `other` instead of its own reader from now on, or that one again. A wake-up
    /// that was not obeyed yet goes along.
    fn hand_to(&self, other: Option<Waker>) {
        let mut instead = self.instead();
        if let Some(other) = other.as_ref().filter(|_| self.reset()) {
            other.wake();
        }
        *instead = other;
    }

    fn instead(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.instead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the wake-up back: it was obeyed. Whether there was one.
    fn reset(&self) -> bool {
        self.0.fd.read().is_ok()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

/// What is slept on.
#[derive(Clone, Copy, Debug)]
pub(super) enum On<'f> {
    /// This descriptor, as long as it is readable.
    Level(BorrowedFd<'f>),
    /// Wake-ups from programs, once each, whether records are there or not.
    Edges,
    /// Time alone.
    Nothing,
}

/// What a reader sleeps on, besides time.
#[derive(Debug, Default)]
pub(super) struct Bed {
    edges: Option<Epoll>,
    waker: Option<Waker>,
    /// Of a reader of several, who waits in its place.
    others: Option<Waker>,
}

impl Bed {
    pub(super) fn waker(&mut self) -> nix::Result<Waker> {
        match self.in_use() {
            Some(waker) => Ok(waker.clone()),
            None => Ok(self.waker.insert(Waker::new()?).clone()),
        }
    }

    fn in_use(&self) -> Option<&Waker> {
        self.others.as_ref().or(self.waker.as_ref())
    }

    /// Makes what wake-ups are seen by.
    pub(super) fn make(&mut self) -> nix::Result<&Epoll> {
        match &mut self.edges {
            Some(epoll) => Ok(epoll),
            edges => Ok(edges.insert(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?)),
        }
    }

    /// Sees the wake-ups of the ring `fd` from now on.
    pub(super) fn see(&mut self, fd: BorrowedFd<'_>) -> nix::Result<()> {
        let epoll = self.make()?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        match epoll.add(fd, EpollEvent::new(flags, 0)) {
            Err(nix::errno::Errno::EEXIST) => Ok(()),
            result => result,
        }
    }

    /// No longer sees those of the ring `fd`.
    pub(super) fn unsee(&self, fd: BorrowedFd<'_>) {
        if let Some(epoll) = &self.edges {
            // It can only fail for a ring that it does not see.
            let _ = epoll.delete(fd);
        }
    }

    /// Joins a reader of several, who waits in its place. It may not have left another one,
    /// whose waker is never its own.
    pub(super) fn join(&mut self, others: Waker) {
        if let Some(own) = &self.waker {
            own.hand_to(Some(others.clone()));
        }
        self.others = Some(others);
    }

    /// Waits for itself again.
    pub(super) fn leave(&mut self) {
        self.others = None;
        if let Some(own) = &self.waker {
            own.hand_to(None);
        }
    }

    /// For an event loop of somebody else's: readable at a wake-up.
    pub(super) fn edges(&self) -> Option<BorrowedFd<'_>> {
        self.edges.as_ref().map(|epoll| epoll.0.as_fd())
    }

    /// The wake-up of a [`Waker`] was obeyed.
    pub(super) fn obeyed(&self) {
        if let Some(waker) = self.in_use() {
            waker.reset();
        }
    }

    /// Sleeps for `timeout` at most; whether a [`Waker`] ended it, or would end any
    /// sleep. A signal ends it too, and is no error.
    pub(super) fn sleep(&self, on: On<'_>, timeout: Duration) -> nix::Result<bool> {
        let ring = match on {
            On::Level(fd) => Some(fd),
            On::Edges => self.edges(),
            On::Nothing => None,
        };
        let fd = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let waker = self.in_use().map(AsFd::as_fd);
        let mut fds = [ring, waker].into_iter().flatten().map(fd);
        let mut fds = match (fds.next(), fds.next()) {
            (Some(a), Some(b)) => Fds::Two([a, b]),
            (Some(a), None) => Fds::One([a]),
            _ => Fds::None,
        };
        match ppoll(fds.as_mut(), Some(TimeSpec::from(timeout)), None) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
        if let (On::Edges, Some(epoll)) = (on, &self.edges) {
            // A wake-up is seen once, by those who take it from the list.
            let mut seen = [EpollEvent::empty(); 16];
            while epoll.wait(&mut seen, EpollTimeout::ZERO) == Ok(seen.len()) {}
        }
        Ok(waker.is_some() && fds.last_is_readable())
    }
}

/// What `ppoll` is given; without an allocation.
enum Fds<'f> {
    None,
    One([PollFd<'f>; 1]),
    Two([PollFd<'f>; 2]),
}

impl<'f> Fds<'f> {
    fn as_mut(&mut self) -> &mut [PollFd<'f>] {
        match self {
            Self::None => &mut [],
            Self::One(fds) => fds,
            Self::Two(fds) => fds,
        }
    }

    fn last_is_readable(&mut self) -> bool {
        let last = self.as_mut().last();
        last.and_then(PollFd::any).unwrap_or(false)
    }
}

impl<E: Event> RingBuf<E> {
    /// With the words that `ATLAS_RING(name, …)` declares as `name_wake`, so that
    /// [`set_wake_up`](Self::set_wake_up) can choose. One `mmap`.
    ///
    /// # Errors
    /// As [`Array::open`](crate::Array::open), and
    /// [`InvalidArgument`](OpenError::InvalidArgument) for a map that is not what
    /// `ATLAS_RING` declares.
    pub fn with_wake(mut self, wake: impl MapSource) -> Result<Self, OpenError> {
        self.pace.open(wake)?;
        if let Some(map) = self.pace.map() {
            pins::check_name(self.name(), map.name(), pins::WAKE)?;
        }
        Ok(self)
    }

    /// When programs wake this reader, from now on: see [`WakeUp`]. Dropping the
    /// reader, or going back to `Latency`, brings the kernel's own rule back; that
    /// takes 1 ms, until every program that still has the old one in mind is over.
    ///
    /// A reader that is *killed* leaves what it had chosen. One of this crate that
    /// [`open_pinned`](Self::open_pinned) opens after it chooses anew; any other
    /// should read on a timer.
    ///
    /// # Errors
    /// [`Unsupported`](Error::Unsupported) for a ring that was opened without its
    /// words ([`with_wake`](Self::with_wake)), [`ReadOnly`](Error::ReadOnly),
    /// [`Sys`](Error::Sys).
    pub fn set_wake_up(&mut self, policy: WakeUp) -> Result<()> {
        self.consume();
        if policy != WakeUp::Latency && !self.pace.has_words() {
            return Err(Error::Unsupported {
                map: self.name(),
                op: Op::WakeUp,
                needs: "the ring's wake-up words: declare it by ATLAS_RING and open it with \
                        `with_wake`",
            });
        }
        if policy == WakeUp::Throughput {
            let seen = self.bed.see(self.raw.as_fd());
            seen.map_err(|errno| self.raw.explain(Op::Poll, Errno::from(errno)))?;
        }
        self.pace.set_policy(policy)
    }

    /// The policy that is in force.
    pub fn wake_up(&self) -> WakeUp {
        self.pace.policy()
    }

    /// How long [`WakeUp::Throughput`] lets events gather: 1 ms unless set
    /// otherwise.
    pub fn set_max_delay(&mut self, delay: Duration) {
        self.pace.set_delay(delay);
    }

    /// How many bytes may gather under [`WakeUp::Throughput`] before the reader is
    /// woken, headers included: a quarter of the ring unless set otherwise.
    ///
    /// # Errors
    /// [`ReadOnly`](Error::ReadOnly).
    pub fn set_mark(&mut self, bytes: usize) -> Result<()> {
        self.pace.set_mark(bytes)
    }

    /// Something that ends this reader's waits from another thread.
    ///
    /// # Errors
    /// [`Sys`](Error::Sys) when no descriptor is to be had.
    pub fn waker(&mut self) -> Result<Waker> {
        self.bed.waker().map_err(|errno| self.raw.explain(Op::Poll, Errno::from(errno)))
    }

    /// Waits until a record can be read, at most for `timeout`; whether one
    /// can. `None`, or a duration past what the clock holds, waits without end.
    ///
    /// Under [`WakeUp::Latency`] data that is there is never slept on. Under
    /// [`WakeUp::Throughput`] it is let gather, for as long as that says.
    ///
    /// A record that its producer has reserved but not committed is waited for
    /// with pauses from 50 µs to 1 ms. What a program submits with
    /// `BPF_RB_NO_WAKEUP` wakes no one, nor does what comes behind it: it is seen
    /// within 100 ms, or at the end of `timeout`. A signal is not an error: the wait
    /// goes on. A [`Waker`] ends it. Exact to what `ppoll` is, nanoseconds. One
    /// `ppoll` a sleep, and an `epoll_wait` where a program ended it under
    /// `Throughput`.
    ///
    /// # Errors
    /// [`RingCorrupt`](Error::RingCorrupt), [`Sys`](Error::Sys).
    pub fn wait(&mut self, timeout: impl Into<Option<Duration>>) -> Result<bool> {
        self.consume();
        if self.pace.is_eager() && self.peek()? {
            return Ok(true);
        }
        let mut now = Instant::now();
        let deadline = timeout.into().and_then(|timeout| now.checked_add(timeout));
        loop {
            let (on, until) = match self.look(now)? {
                Look::Ready => return Ok(true),
                Look::Sleep(until) => (On::Level(self.raw.as_fd()), until),
                Look::Doze(until) => (On::Edges, until),
                Look::Pause(pause) => (On::Nothing, now + pause),
            };
            if deadline.is_some_and(|deadline| deadline <= now) {
                return self.peek();
            }
            let until = deadline.map_or(until, |deadline| until.min(deadline));
            let woken = self.bed.sleep(on, until.saturating_duration_since(now));
            if woken.map_err(|errno| self.raw.explain(Op::Poll, Errno::from(errno)))? {
                let ready = self.peek()?;
                if !ready {
                    self.bed.obeyed();
                }
                return Ok(ready);
            }
            now = Instant::now();
        }
    }

    /// What to do now, by the policy.
    pub(super) fn look(&mut self, now: Instant) -> Result<Look> {
        let (handled, map) = (self.handled(), self.raw.name());
        let reader = &mut self.reader;
        self.pace.look(now, Instant::now, handled, || {
            let found = match reader.peek_to_sleep() {
                Peek::Empty => Found::Nothing,
                Peek::Busy => Found::Busy,
                Peek::Record { .. } => Found::Record,
                Peek::Corrupt(what) => return Err(Error::RingCorrupt { map, what }),
            };
            Ok((found, reader.waiting()))
        })
    }

    /// Everything that was there at `now` has been read.
    pub(super) fn ran_dry(&mut self, now: Option<Instant>) {
        if self.pace.is_timed() {
            self.pace.ran_dry(now.unwrap_or_else(Instant::now), self.handled());
        }
    }
}
