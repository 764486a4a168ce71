//! [`AsyncRingBuf`]: a ring in a tokio runtime.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_core::Stream;
use tokio::io::unix::AsyncFd;
use tokio::time::{Sleep, sleep};

use super::pace::Look;
use super::{Event, Record, RingBuf};
use crate::error::{Error, Op, Result};
use crate::sys::async_fd;
use crate::sys::commands::Errno;

/// A ring whose events are awaited. Feature `tokio`.
///
/// It keeps the ring's [`WakeUp`](super::WakeUp). Needs a runtime with IO and time
/// (`enable_all`).
///
/// Cancelling is safe everywhere: a future that is dropped before it is ready has
/// consumed nothing. As a [`Stream`] it yields copies of events, without end.
///
/// ```no_run
/// use bpf_atlas::{AsyncRingBuf, RingBuf};
///
/// # async fn read(ring: RingBuf<u64>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut ring = AsyncRingBuf::new(ring)?;
/// loop {
///     let event = ring.recv().await?; // in place; consumed when dropped
///     println!("{}", *event);
/// }
/// # }
/// ```
pub struct AsyncRingBuf<E: Event> {
    // Before the ring, whose descriptor it has a copy of.
    fd: AsyncFd<OwnedFd>,
    timer: Pin<Box<Sleep>>,
    ring: RingBuf<E>,
}

impl<E: Event> AsyncRingBuf<E> {
    /// Registers the ring with the runtime that this is called in.
    ///
    /// # Errors
    /// The system's, when it cannot be registered.
    ///
    /// # Panics
    /// Outside a runtime with IO and time, as tokio's types do.
    pub fn new(ring: RingBuf<E>) -> io::Result<Self> {
        let fd = ring.as_fd().try_clone_to_owned()?;
        Ok(Self {
            fd: async_fd::readable(fd)?,
            timer: Box::pin(sleep(std::time::Duration::ZERO)),
            ring,
        })
    }

    /// The next event, in the ring's own memory: waits until there is one.
    ///
    /// Cancel safe: an event is taken only when this is ready.
    ///
    /// # Errors
    /// As [`RingBuf::next`] and [`RingBuf::wait`]; a further call goes on behind the
    /// record in question.
    pub async fn recv(&mut self) -> Result<Record<'_, E>> {
        self.readable().await?;
        Ok(self.ring.next()?.expect("`readable` has seen a record"))
    }

    /// Waits until there are events to read, as [`RingBuf::wait`]; then
    /// [`drain`](RingBuf::drain) them all through [`get_mut`](Self::get_mut). Cancel
    /// safe.
    ///
    /// # Errors
    /// As [`RingBuf::wait`].
    pub async fn readable(&mut self) -> Result<()> {
        poll_fn(|context| self.poll_readable(context)).await
    }

    /// As [`readable`](Self::readable), for futures written by hand.
    ///
    /// # Errors
    /// As [`RingBuf::wait`].
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.ring.consume();
        loop {
            if self.ring.pace.is_eager() && self.ring.peek()? {
                return Poll::Ready(Ok(()));
            }
            let now = Instant::now();
            let until = match self.ring.look(now)? {
                Look::Ready => return Poll::Ready(Ok(())),
                Look::Sleep(until) | Look::Doze(until) => until,
                Look::Pause(pause) => now + pause,
            };
            // The runtime sees each wake-up once. It was for what the look has seen,
            // or for what the next one will.
            if let Poll::Ready(guard) = self.fd.poll_read_ready(context) {
                guard.map_err(|error| self.failed(&error))?.clear_ready();
                continue;
            }
            self.timer.as_mut().reset(until.into());
            ready!(self.timer.as_mut().poll(context));
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        let errno = error.raw_os_error().map_or(Errno::INVAL, Errno);
        self.ring.raw.explain(Op::Poll, errno)
    }

    /// The ring, for its stats.
    pub fn get_ref(&self) -> &RingBuf<E> {
        &self.ring
    }

    /// The ring, to drain it or to choose its [`WakeUp`](super::WakeUp).
    pub fn get_mut(&mut self) -> &mut RingBuf<E> {
        &mut self.ring
    }

    /// The ring, no longer registered.
    pub fn into_inner(self) -> RingBuf<E> {
        self.ring
    }
}

impl<E: Event> Stream for AsyncRingBuf<E> {
    type Item = Result<E>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<E>>> {
        let ring = self.get_mut();
        if let Err(error) = ready!(ring.poll_readable(context)) {
            return Poll::Ready(Some(Err(error)));
        }
        let event = ring.ring.next();
        Poll::Ready(event.transpose().map(|record| record.map(|record| E::copy(record.event()))))
    }
}

impl<E: Event> fmt::Debug for AsyncRingBuf<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncRingBuf").field(&self.ring).finish()
    }
}
