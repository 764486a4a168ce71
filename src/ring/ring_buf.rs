//! [`RingBuf`].

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;

use super::lock::ConsumerLock;
use super::record::{Record, event};
use super::totals::RingTotals;
use crate::error::{Error, Op, OpenError, Result};
use crate::raw::{MapKind, RawMap, Spec};
use crate::source::MapSource;
use crate::sys::commands::Errno;
use crate::sys::ring::{Peek, Reader};
use crate::{MapInfo, MapName, PerCpuArray, Pod};

/// The reader of a ring buffer of events `E`. Since Linux 5.8.
///
/// Records are read in place, without a copy or an allocation, in the order in
/// which their producers reserved them. Reading costs no system call; only
/// [`wait`](Self::wait) does. A ring has one reader: a second one, in this or
/// another process of the network namespace, is refused.
///
/// A record that was handed out is consumed: when its [`Record`] is dropped,
/// at the latest when the next one is asked for, also after a panic. A reader
/// that is killed, or dropped while a record of it is leaked, leaves the record
/// it held; the next reader of the ring gets it again.
///
/// ```no_run
/// use std::time::Duration;
/// use bpf_atlas::{Pod, RingBuf};
///
/// #[derive(Clone, Copy, Debug, Pod)]
/// #[repr(C)]
/// struct Event { pid: u32, uid: u32 }
///
/// # fn read(map: libbpf_rs::MapHandle, lost: libbpf_rs::MapHandle) -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = RingBuf::<Event>::open(&map)?.with_lost(&lost)?;
/// while events.wait(Duration::from_secs(1))? {
///     events.drain(|event| println!("{}", event.pid))?;
/// }
/// println!("{} lost", events.lost()?);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "BPF_MAP_TYPE_RINGBUF")]
pub struct RingBuf<E> {
    raw: RawMap,
    pub(super) reader: Reader,
    totals: Option<PerCpuArray<RingTotals>>,
    tail: bool,
    /// The length of a record that was handed out and not yet consumed.
    pub(super) out: Option<usize>,
    delivered: u64,
    refused: u64,
    _lock: ConsumerLock,
    events: PhantomData<fn() -> E>,
}

/// `BPF_F_RB_OVERWRITE`: producers overwrite what is not read yet, by another
/// protocol.
const OVERWRITE: u32 = 1 << 19;
/// How long a wait sleeps before it looks by itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a drain reads before it gives the memory back.
const RELEASE_EVERY: usize = 64;

impl<E: Pod> RingBuf<E> {
    const FITS: () = assert!(
        align_of::<E>() <= 8,
        "records of a ring are aligned to 8 bytes: an event type must not ask for more"
    );

    /// Opens a ring from any libbpf-rs map or handle, or a descriptor.
    ///
    /// Costs three system calls, two `mmap`s and a socket that keeps other
    /// readers out.
    ///
    /// # Errors
    /// [`Kind`](OpenError::Kind), [`InUse`](OpenError::InUse),
    /// [`Unsupported`](OpenError::Unsupported) for a ring that overwrites,
    /// [`NotLoaded`](OpenError::NotLoaded), [`NotAMap`](OpenError::NotAMap),
    /// [`Sys`](OpenError::Sys).
    pub fn open(map: impl MapSource) -> Result<Self, OpenError> {
        Self::over(RawMap::open(map)?)
    }

    /// Opens the ring pinned at `path`, as [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`NotFound`](OpenError::NotFound),
    /// [`PermissionDenied`](OpenError::PermissionDenied).
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::over(RawMap::open_pinned(path)?)
    }

    /// Creates a ring of `bytes`, a power of two and a multiple of the page.
    ///
    /// # Errors
    /// [`InvalidArgument`](OpenError::InvalidArgument) for another size,
    /// [`PermissionDenied`](OpenError::PermissionDenied),
    /// [`Unsupported`](OpenError::Unsupported), [`Sys`](OpenError::Sys).
    pub fn create(name: &str, bytes: u32) -> Result<Self, OpenError> {
        let page = crate::sys::mmap::page_size() as u32;
        if !bytes.is_power_of_two() || bytes < page {
            return Err(OpenError::InvalidArgument {
                what: format!(
                    "ring `{name}`: {bytes} bytes; a ring's size is a power of two and a multiple \
                     of the page of {page} bytes"
                ),
            });
        }
        Self::over(RawMap::create(&Spec {
            kind: MapKind::RingBuf,
            name,
            key_size: 0,
            value_size: 0,
            max_entries: bytes,
            flags: 0,
        })?)
    }

    fn over(raw: RawMap) -> Result<Self, OpenError> {
        let () = Self::FITS;
        let shape = raw.shape();
        let map = shape.name;
        if shape.kind != MapKind::RingBuf {
            let expected = MapKind::RingBuf;
            return Err(OpenError::Kind { map, wanted: "RingBuf", expected, found: shape.kind });
        }
        if shape.flags & OVERWRITE != 0 {
            return Err(OpenError::Unsupported {
                what: format!("reading ring `{map}`, which overwrites (BPF_F_RB_OVERWRITE),"),
                needs: "a ring without that flag",
            });
        }
        let lock = ConsumerLock::take(shape.id, map)?;
        let reader = Reader::new(raw.as_fd(), shape.max_entries as usize).map_err(|errno| {
            OpenError::Sys { what: format!("mapping ring `{map}`"), op: Op::Mmap, errno }
        })?;
        Ok(Self {
            raw,
            reader,
            totals: None,
            tail: false,
            out: None,
            delivered: 0,
            refused: 0,
            _lock: lock,
            events: PhantomData,
        })
    }

    /// With the totals that `ATLAS_RING(name, …)` declares as `name_lost`, so
    /// that [`lost`](Self::lost) can tell.
    ///
    /// # Errors
    /// As [`PerCpuArray::open`].
    pub fn with_lost(mut self, totals: impl MapSource) -> Result<Self, OpenError> {
        self.totals = Some(PerCpuArray::open(totals)?);
        Ok(self)
    }

    /// Takes records that are longer than `E`: the bytes behind it are the
    /// record's [`tail`](Record::tail).
    pub fn with_tail(mut self) -> Self {
        self.tail = true;
        self
    }

    /// The next record, if one is there. No system call.
    ///
    /// # Errors
    /// [`RecordSize`](Error::RecordSize) for a record that is not an `E`; it is
    /// passed over and counted ([`refused`](Self::refused)).
    /// [`RingCorrupt`](Error::RingCorrupt) when something else writes the
    /// ring's consumer page.
    #[expect(clippy::should_implement_trait, reason = "a record borrows the ring")]
    pub fn next(&mut self) -> Result<Option<Record<'_, E>>> {
        self.consume();
        match self.peek()? {
            None => Ok(None),
            Some(len) => {
                self.out = Some(len);
                self.delivered += 1;
                Ok(Some(Record { ring: self }))
            }
        }
    }

    /// Calls `f` for every record that was there at the call, and no more, so
    /// that it ends however fast producers are; how many there were. Memory is
    /// given back every 64 records. No system call.
    ///
    /// A panic in `f` passes through; the record is consumed and the ring goes on.
    ///
    /// # Errors
    /// As [`next`](Self::next). `f` has seen what came before; a further call
    /// goes on behind the record that was refused.
    pub fn drain(&mut self, mut f: impl FnMut(&E)) -> Result<usize> {
        self.drain_records(|event, _| f(event))
    }

    /// As [`drain`](Self::drain); `f` is also given the bytes behind the event.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn drain_records(&mut self, mut f: impl FnMut(&E, &[u8])) -> Result<usize> {
        self.consume();
        if self.reader.waiting() > self.capacity() {
            // Corrupt, and `peek` says how; the loop below would take it for the end.
            self.peek()?;
        }
        let end = self.reader.end();
        let mut batch = Batch { ring: self, held: 0 };
        let mut count = 0;
        while batch.ring.reader.is_before(end) {
            let Some(len) = batch.ring.peek()? else { break };
            count += 1;
            batch.ring.delivered += 1;
            batch.ring.out = Some(len);
            let bytes = batch.ring.reader.record(len);
            f(event(bytes), &bytes[size_of::<E>()..]);
            batch.step(len);
        }
        drop(batch);
        Ok(count)
    }

    /// The length of the record that is next.
    fn peek(&mut self) -> Result<Option<usize>> {
        match self.reader.peek() {
            Peek::Empty | Peek::Busy => Ok(None),
            Peek::Record { len } if len == size_of::<E>() => Ok(Some(len)),
            Peek::Record { len } if self.tail && len > size_of::<E>() => Ok(Some(len)),
            Peek::Record { len } => {
                self.reader.step(len);
                self.reader.release();
                self.refused += 1;
                Err(Error::RecordSize {
                    map: self.raw.name(),
                    expected: size_of::<E>(),
                    found: len,
                    tail: self.tail,
                })
            }
            Peek::Corrupt(what) => Err(Error::RingCorrupt { map: self.raw.name(), what }),
        }
    }

    /// Consumes the record that is out, if any.
    pub(super) fn consume(&mut self) {
        if let Some(len) = self.out.take() {
            self.reader.step(len);
            self.reader.release();
        }
    }

    /// Waits until a record can be read, at most for `timeout`; whether one
    /// can. `None`, or a duration past what the clock holds, waits without end.
    ///
    /// Data that is there is never slept on. A record that its producer has
    /// reserved but not committed is waited for with pauses from 50 µs to 1 ms.
    /// What a program submits with `BPF_RB_NO_WAKEUP` wakes no one, nor does what
    /// comes behind it: it is seen within 100 ms, or at the end of `timeout`. A signal is not an error: the wait goes
    /// on. Exact to what `ppoll` is, nanoseconds. One `ppoll` a sleep.
    ///
    /// # Errors
    /// [`RingCorrupt`](Error::RingCorrupt), [`Sys`](Error::Sys).
    pub fn wait(&mut self, timeout: impl Into<Option<Duration>>) -> Result<bool> {
        self.consume();
        let deadline = timeout.into().and_then(|timeout| Instant::now().checked_add(timeout));
        let mut pause = Duration::from_micros(50);
        loop {
            let busy = match self.reader.peek() {
                Peek::Record { .. } => return Ok(true),
                Peek::Corrupt(what) => {
                    return Err(Error::RingCorrupt { map: self.raw.name(), what });
                }
                Peek::Busy => true,
                Peek::Empty => false,
            };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            if busy {
                // The descriptor is readable, so poll would return at once.
                std::thread::sleep(left.map_or(pause, |left| left.min(pause)));
                pause = (pause * 2).min(Duration::from_millis(1));
            } else {
                // What is submitted with BPF_RB_NO_WAKEUP wakes no one, nor does a
                // submission behind it: so look now and then.
                self.poll(left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY)))?;
            }
        }
    }

    fn poll(&self, timeout: Duration) -> Result<()> {
        let mut fds = [PollFd::new(self.raw.as_fd(), PollFlags::POLLIN)];
        match nix::poll::ppoll(&mut fds, Some(TimeSpec::from(timeout)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(self.raw.explain(Op::Poll, Errno::from(errno))),
        }
    }

    /// Records that found no room, on all CPUs, since the program was loaded:
    /// `delivered + lost = submitted + lost` once all is read. One
    /// `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Errors
    /// [`Unsupported`](Error::Unsupported) when the ring was opened without its
    /// totals ([`with_lost`](Self::with_lost)).
    pub fn lost(&self) -> Result<u64> {
        Ok(self.totals()?.lost)
    }

    /// What the programs counted beside the ring. One `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Errors
    /// As [`lost`](Self::lost).
    pub fn totals(&self) -> Result<RingTotals> {
        match &self.totals {
            Some(totals) => totals.sum_of(0),
            None => Err(Error::Unsupported {
                map: self.raw.name(),
                op: Op::Lookup,
                needs: "the ring's totals: declare it by ATLAS_RING and open it with `with_lost`",
            }),
        }
    }

    /// Records that this reader handed out.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Records that had the wrong size and were passed over.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Bytes in the ring that are not read yet, headers included.
    pub fn waiting(&self) -> usize {
        self.reader.waiting()
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

/// A drain under way: gives memory back in batches, and on a panic.
struct Batch<'r, E: Pod> {
    ring: &'r mut RingBuf<E>,
    held: usize,
}

impl<E: Pod> Batch<'_, E> {
    fn step(&mut self, len: usize) {
        self.ring.out = None;
        self.ring.reader.step(len);
        self.held += 1;
        if self.held == RELEASE_EVERY {
            self.ring.reader.release();
            self.held = 0;
        }
    }
}

impl<E: Pod> Drop for Batch<'_, E> {
    fn drop(&mut self) {
        // The record that a panic left half-read is consumed.
        self.ring.consume();
        self.ring.reader.release();
    }
}

impl<E> AsFd for RingBuf<E> {
    /// For `epoll` or `poll`: readable while records are there.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

impl<E> fmt::Debug for RingBuf<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingBuf")
            .field("map", &self.raw)
            .field("delivered", &self.delivered)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
