//! [`UserRingBuf`]: records from user space to programs.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::claim::{self, Claim};
use super::lock::ConsumerLock;
use crate::error::{Error, Op, OpenError, Result};
use crate::raw::{MapKind, RawMap};
use crate::source::MapSource;
use crate::sys::commands::Errno;
use crate::sys::pod::{Pod, bytes_of};
use crate::sys::ring::{Refused, Writer};
use crate::{MapInfo, MapName};

/// Pauses between looks at a ring with some room, but not enough.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// Sends records of type `E` to programs, which take them with
/// `bpf_user_ringbuf_drain`. Since Linux 6.1.
///
/// A record is written into the ring's own memory; sending costs no system call.
/// What the programs take, and when, is theirs: nothing tells them that a record
/// has come but what they are attached to. A ring has one sender: a second one, in
/// this or another process of the network namespace, is refused.
///
/// ```no_run
/// use std::time::Duration;
/// use bpf_atlas::{Error, Pod, UserRingBuf};
///
/// #[derive(Clone, Copy, Debug, Pod)]
/// #[repr(C)]
/// struct Rule { address: u32, verdict: u32 }
///
/// # fn send(map: libbpf_rs::MapHandle) -> Result<(), Box<dyn std::error::Error>> {
/// let mut rules = UserRingBuf::<Rule>::open(&map)?;
/// let rule = Rule { address: 0x7f00_0001, verdict: 1 };
/// while let Err(Error::RingFull { .. }) = rules.send(&rule) {
///     rules.wait(Duration::from_secs(1))?; // until programs have taken some
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "BPF_MAP_TYPE_USER_RINGBUF")]
pub struct UserRingBuf<E> {
    raw: RawMap,
    writer: Writer,
    sent: u64,
    refused: u64,
    _lock: ConsumerLock,
    events: PhantomData<fn(E)>,
}

impl<E: Pod> UserRingBuf<E> {
    /// Opens a user ring from any libbpf-rs map or handle, or a descriptor.
    ///
    /// Costs three system calls, two `mmap`s and a socket that keeps other senders
    /// out.
    ///
    /// # Errors
    /// [`Kind`](OpenError::Kind), [`InUse`](OpenError::InUse),
    /// [`NotLoaded`](OpenError::NotLoaded), [`NotAMap`](OpenError::NotAMap),
    /// [`Sys`](OpenError::Sys).
    pub fn open(map: impl MapSource) -> Result<Self, OpenError> {
        Self::over(RawMap::open(map)?)
    }

    /// Opens the user ring pinned at `path`, as [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`NotFound`](OpenError::NotFound),
    /// [`PermissionDenied`](OpenError::PermissionDenied).
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::over(RawMap::open_pinned(path)?)
    }

    /// Creates a user ring of `bytes`, a power of two and a multiple of the page.
    ///
    /// # Errors
    /// [`InvalidArgument`](OpenError::InvalidArgument) for another size,
    /// [`PermissionDenied`](OpenError::PermissionDenied),
    /// [`Unsupported`](OpenError::Unsupported), [`Sys`](OpenError::Sys).
    pub fn create(name: &str, bytes: u32) -> Result<Self, OpenError> {
        Self::over(claim::create(MapKind::UserRingBuf, name, bytes)?)
    }

    fn over(raw: RawMap) -> Result<Self, OpenError> {
        let claim = Claim::take(raw, MapKind::UserRingBuf, "UserRingBuf", Writer::new)?;
        Ok(Self {
            raw: claim.raw,
            writer: claim.pages,
            sent: 0,
            refused: 0,
            _lock: claim.lock,
            events: PhantomData,
        })
    }

    /// Sends a record. No system call. Programs see it whole or not at all, also
    /// when this process dies meanwhile.
    ///
    /// # Errors
    /// [`RingFull`](Error::RingFull) when the programs have not made room yet; it is
    /// counted ([`refused`](Self::refused)), and can be sent again after a
    /// [`wait`](Self::wait). [`InvalidArgument`](Error::InvalidArgument) for a record
    /// that is larger than the ring, [`RingCorrupt`](Error::RingCorrupt).
    pub fn send(&mut self, event: &E) -> Result<()> {
        self.send_with_tail(event, &[])
    }

    /// Sends a record of `event` and the bytes of `tail` behind it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with_tail(&mut self, event: &E, tail: &[u8]) -> Result<()> {
        match self.writer.write(bytes_of(event), tail) {
            Ok(()) => {
                self.sent += 1;
                Ok(())
            }
            Err(refused) => {
                self.refused += 1;
                Err(self.explain(refused, size_of::<E>() + tail.len()))
            }
        }
    }

    #[cold]
    fn explain(&self, refused: Refused, len: usize) -> Error {
        let (map, capacity) = (self.name(), self.capacity());
        match refused {
            Refused::Full => Error::RingFull { map, capacity, waiting: self.waiting() },
            Refused::TooLarge => Error::InvalidArgument {
                map,
                what: format!(
                    "a record of {len} bytes and a header does not fit a ring of {capacity}"
                ),
            },
            Refused::Corrupt => {
                let what = "its positions contradict each other";
                Error::RingCorrupt { map, what }
            }
        }
    }

    /// Waits until a record of an `E` has room, at most for `timeout`; whether it
    /// has. `None` waits without end. One `ppoll` a sleep; where there is room but
    /// not enough, pauses from 50 µs to 1 ms. A program that drains with
    /// `BPF_RB_NO_WAKEUP` wakes no one: the wait looks every 100 ms.
    ///
    /// # Errors
    /// As [`send`](Self::send) but for a full ring, and [`Sys`](Error::Sys).
    pub fn wait(&mut self, timeout: impl Into<Option<Duration>>) -> Result<bool> {
        let mut now = Instant::now();
        let deadline = timeout.into().and_then(|timeout| now.checked_add(timeout));
        let mut pause = PAUSES.0;
        loop {
            match self.writer.has_room(size_of::<E>()) {
                Ok(()) => return Ok(true),
                Err(Refused::Full) => {}
                Err(refused) => return Err(self.explain(refused, size_of::<E>())),
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(false);
            }
            let full = self.waiting() == self.capacity();
            let longest = if full { Duration::from_millis(100) } else { pause };
            let until = deadline.map_or(now + longest, |deadline| deadline.min(now + longest));
            let timeout = TimeSpec::from(until.saturating_duration_since(now));
            let mut fds = [PollFd::new(self.raw.as_fd(), PollFlags::POLLOUT)];
            // The descriptor is writable as long as there is any room.
            let fds = if full { &mut fds[..] } else { &mut [] };
            match ppoll(fds, Some(timeout), None) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(self.raw.explain(Op::Poll, Errno::from(errno))),
            }
            pause = (pause * 2).min(PAUSES.1);
            now = Instant::now();
        }
    }

    /// Records that this sender has sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Records that found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Bytes in the ring that programs have not taken yet, headers included.
    pub fn waiting(&self) -> usize {
        self.writer.waiting()
    }

    /// The size of the ring in bytes.
    pub fn capacity(&self) -> usize {
        self.raw.max_entries() as usize
    }

    /// The name that the kernel keeps, at most 15 bytes.
    pub fn name(&self) -> MapName {
        self.raw.name()
    }

    /// What the kernel tells of the ring.
    pub fn info(&self) -> MapInfo {
        self.raw.info()
    }

    /// Pins the ring at `path` in a mounted BPF file system.
    ///
    /// # Errors
    /// [`Pin`](Error::Pin).
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        self.raw.pin(path)
    }
}

impl<E> AsFd for UserRingBuf<E> {
    /// For `epoll` or `poll`: writable while there is any room.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

impl<E> fmt::Debug for UserRingBuf<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRingBuf")
            .field("map", &self.raw)
            .field("sent", &self.sent)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
