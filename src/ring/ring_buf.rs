//! [`RingBuf`]: opening, reading and accounting. Waiting is in `wait`.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::claim::{self, Claim};
use super::event::{Event, Unfit};
use super::lock::ConsumerLock;
use super::pace::Pace;
use super::pins;
use super::record::Record;
use super::stats::RingTotals;
use super::wait::Bed;
use crate::error::{Error, OpenError, Result};
use crate::proof::{self, Proof, Unproved};
use crate::raw::{MapKind, RawMap};
use crate::source::MapSource;
use crate::sys::ring::{Pages, Peek, Reader};
use crate::{MapInfo, MapName, PerCpuArray};

/// The reader of a ring buffer of events `E`. Since Linux 5.8.
///
/// `E` is a [`Pod`](trait@crate::Pod) type, or an enum of several
/// ([`Events`](macro@crate::Events)). Records are read in place, without a copy or
/// an allocation, in the order in which their producers reserved them. Reading
/// costs no system call; only [`wait`](Self::wait) does. A ring has one reader: a
/// second one, in this or another process of the network namespace, is refused.
///
/// A record that was handed out is consumed: when its [`Record`] is dropped,
/// at the latest when the next one is asked for, also after a panic. A reader
/// that is killed, or dropped while a record of it is leaked, leaves the record
/// it held; the next reader of the ring gets it again. Killed inside a
/// [`drain`](Self::drain), it leaves what it has not given back yet: up to 64
/// records, of an eighth of the ring at most.
///
/// How soon a reader is woken is its own choice: see
/// [`WakeUp`](super::WakeUp).
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
    pub(super) raw: RawMap,
    pub(super) reader: Reader<Pages>,
    pub(super) pace: Pace,
    pub(super) bed: Bed,
    pub(super) totals: Option<PerCpuArray<RingTotals>>,
    proof: Proof,
    tail: bool,
    pub(super) delivered: u64,
    pub(super) refused: u64,
    pub(super) skipped: u64,
    _lock: ConsumerLock,
    events: PhantomData<fn() -> E>,
}

/// What a drain reads at most before it gives the memory back.
const RELEASE_EVERY: usize = 64;

impl<E: Event> RingBuf<E> {
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

    /// Opens the ring pinned at `path`, as [`open`](Self::open), with the maps
    /// that [`pin`](Self::pin) has pinned beside it: a reader that is restarted
    /// goes on where the last one ended.
    ///
    /// # Errors
    /// As [`open`](Self::open), [`with_lost`](Self::with_lost) and
    /// [`with_wake`](Self::with_wake), and [`NotFound`](OpenError::NotFound),
    /// [`PermissionDenied`](OpenError::PermissionDenied).
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let mut ring = Self::over(RawMap::open_pinned(path)?)?;
        if let Some(totals) = pins::beside(path, pins::LOST)? {
            ring = ring.with_lost(totals)?;
        }
        if let Some(wake) = pins::beside(path, pins::WAKE)? {
            ring = ring.with_wake(wake)?;
        }
        Ok(ring)
    }

    /// Creates a ring of `bytes`, a power of two and a multiple of the page.
    ///
    /// # Errors
    /// [`InvalidArgument`](OpenError::InvalidArgument) for another size,
    /// [`PermissionDenied`](OpenError::PermissionDenied),
    /// [`Unsupported`](OpenError::Unsupported), [`Sys`](OpenError::Sys).
    pub fn create(name: &str, bytes: u32) -> Result<Self, OpenError> {
        Self::over(claim::create(MapKind::RingBuf, name, bytes)?)
    }

    fn over(raw: RawMap) -> Result<Self, OpenError> {
        let claim = Claim::take(raw, MapKind::RingBuf, "RingBuf", Pages::new)?;
        Ok(Self {
            pace: Pace::new(claim.raw.max_entries() as usize),
            raw: claim.raw,
            reader: Reader::new(claim.pages),
            bed: Bed::default(),
            totals: None,
            proof: Proof::SizesOnly(Unproved::NoBtf),
            tail: false,
            delivered: 0,
            refused: 0,
            skipped: 0,
            _lock: claim.lock,
            events: PhantomData,
        })
    }

    /// With the totals that `ATLAS_RING(name, …)` declares as `name_lost`, so
    /// that [`lost`](Self::lost) and [`stats`](Self::stats) can tell. The events are
    /// proved by it too: what `ATLAS_RING` says they are in C is compared with `E`,
    /// field by field, and [`proof`](Self::proof) tells how far.
    ///
    /// # Errors
    /// [`Types`](OpenError::Types), with a table of all differences, for events that are
    /// not an `E`; and as [`PerCpuArray::open`].
    pub fn with_lost(mut self, totals: impl MapSource) -> Result<Self, OpenError> {
        let totals = PerCpuArray::open(totals)?;
        pins::check_name(self.name(), totals.name(), pins::LOST)?;
        self.proof = proof::of_ring(self.raw.name(), totals.raw(), &E::LAYOUTS)?;
        self.totals = Some(totals);
        Ok(self)
    }

    /// How far the types of the events were proved. Without the totals
    /// ([`with_lost`](Self::with_lost)) there is nothing to prove them by.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The same ring, if its events were proved field by field. No system call.
    ///
    /// # Errors
    /// [`Unproved`](OpenError::Unproved), with the reason.
    pub fn require_proof(self) -> Result<Self, OpenError> {
        self.proof.required(self.name())?;
        Ok(self)
    }

    /// Takes records that are longer than their event: the bytes behind it are
    /// the record's [`tail`](Record::tail).
    pub fn with_tail(mut self) -> Self {
        self.tail = true;
        self
    }

    /// The next record, if one is there. No system call.
    ///
    /// # Errors
    /// [`RecordSize`](Error::RecordSize) for a record that is not an `E`,
    /// [`RecordKind`](Error::RecordKind) for one with a tag that `E` does not
    /// know; it is passed over and counted ([`refused`](Self::refused)).
    /// [`RingCorrupt`](Error::RingCorrupt) when something else writes the
    /// ring's consumer page.
    #[inline(always)]
    #[expect(clippy::should_implement_trait, reason = "a record borrows the ring")]
    pub fn next(&mut self) -> Result<Option<Record<'_, E>>> {
        self.consume();
        match self.reader.take() {
            Peek::Record { .. } => {}
            found => return self.nothing(found),
        }
        match view::<E>(self.reader.taken(), self.tail) {
            Ok(_) => {
                self.delivered += 1;
                Ok(Some(Record { ring: self }))
            }
            Err(unfit) => {
                let found = self.reader.taken().len();
                self.consume();
                Err(self.refusal(unfit, found))
            }
        }
    }

    /// What [`next`](Self::next) says when there is no record.
    #[cold]
    fn nothing(&mut self, found: Peek) -> Result<Option<Record<'_, E>>> {
        if let Peek::Corrupt(what) = found {
            return Err(Error::RingCorrupt { map: self.raw.name(), what });
        }
        self.ran_dry(None);
        Ok(None)
    }

    /// Calls `f` for every record that was there at the call, and no more, so
    /// that it ends however fast producers are; how many there were. Memory is
    /// given back every 64 records, or an eighth of the ring. No system call.
    ///
    /// A panic in `f` passes through; the record is consumed and the ring goes on.
    ///
    /// # Errors
    /// As [`next`](Self::next). `f` has seen what came before; a further call
    /// goes on behind the record that was refused.
    pub fn drain(&mut self, mut f: impl FnMut(E::Ref<'_>)) -> Result<usize> {
        self.drain_up_to(usize::MAX, |event, _| f(event))
    }

    /// As [`drain`](Self::drain); `f` is also given the bytes behind the event.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn drain_records(&mut self, f: impl FnMut(E::Ref<'_>, &[u8])) -> Result<usize> {
        self.drain_up_to(usize::MAX, f)
    }

    /// As [`drain_records`](Self::drain_records), of at most so many records, so
    /// that a reader with other things to do is not held up.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn drain_up_to(
        &mut self,
        most: usize,
        mut f: impl FnMut(E::Ref<'_>, &[u8]),
    ) -> Result<usize> {
        self.consume();
        // Before the look, so that what it does not see is younger.
        let now = self.pace.is_timed().then(std::time::Instant::now);
        let (room, tail) = (self.capacity() / 8, self.tail);
        let corrupt = |what| Error::RingCorrupt { map: self.raw.name(), what };
        let mut run = self.reader.run(RELEASE_EVERY, room).map_err(corrupt)?;
        let mut count = 0;
        let ran_dry = loop {
            if count == most {
                break false;
            }
            let Some(bytes) = run.next().map_err(corrupt)? else { break true };
            let (event, own) = match view::<E>(bytes, tail) {
                Ok(view) => view,
                Err(unfit) => {
                    let found = bytes.len();
                    drop(run);
                    return Err(self.refusal(unfit, found));
                }
            };
            count += 1;
            self.delivered += 1;
            f(event, &bytes[own..]);
        };
        drop(run);
        if ran_dry {
            self.ran_dry(now);
        }
        Ok(count)
    }

    /// Passes over everything that is there, as a reader that has fallen behind
    /// may want to; how many records, which [`stats`](Self::stats) counts as
    /// skipped. No system call.
    ///
    /// # Errors
    /// [`RingCorrupt`](Error::RingCorrupt).
    pub fn skip(&mut self) -> Result<u64> {
        self.consume();
        let skipped = self.reader.skip();
        let skipped = skipped.map_err(|what| Error::RingCorrupt { map: self.raw.name(), what })?;
        self.skipped += skipped;
        Ok(skipped)
    }

    /// Whether a record is next, of whatever size.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<bool> {
        match self.reader.peek() {
            Peek::Record { .. } => Ok(true),
            Peek::Empty | Peek::Busy => Ok(false),
            Peek::Corrupt(what) => Err(Error::RingCorrupt { map: self.raw.name(), what }),
        }
    }

    /// Why a record of so many bytes was passed over.
    #[cold]
    fn refusal(&mut self, unfit: Unfit, found: usize) -> Error {
        let map = self.raw.name();
        self.refused += 1;
        match unfit {
            Unfit::Short { expected } => {
                Error::RecordSize { map, expected, found, tail: self.tail }
            }
            Unfit::Tag(tag) => Error::RecordKind { map, tag, found },
        }
    }

    /// Consumes the record that is out, if any.
    #[inline]
    pub(super) fn consume(&mut self) {
        self.reader.release();
    }

    /// Everything this reader has dealt with.
    pub(super) fn handled(&self) -> u64 {
        self.delivered + self.refused + self.skipped
    }

    /// The name that the kernel keeps, at most 15 bytes.
    pub fn name(&self) -> MapName {
        self.raw.name()
    }

    /// What the kernel tells of the ring.
    pub fn info(&self) -> MapInfo {
        self.raw.info()
    }

    /// Pins the ring at `path` in a mounted BPF file system, and beside it, at
    /// `path` with `_lost` and `_wake` behind it, the maps that it was opened
    /// with. [`open_pinned`](Self::open_pinned) finds them there.
    ///
    /// # Errors
    /// [`Pin`](Error::Pin); nothing stays pinned then.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        let totals = self.totals.as_ref().map(|totals| &totals.typed.raw);
        pins::pin(path.as_ref(), &self.raw, totals, self.pace.map())
    }
}

/// The event at the start of a record, and its length; `tail` says whether more may follow.
#[inline]
fn view<E: Event>(bytes: &[u8], tail: bool) -> Result<(E::Ref<'_>, usize), Unfit> {
    let (event, own) = E::view(bytes)?;
    if bytes.len() != own && !tail {
        return Err(Unfit::Short { expected: own });
    }
    Ok((event, own))
}

impl<E> AsFd for RingBuf<E> {
    /// For `epoll` or `poll`: readable while records are there. Under
    /// [`WakeUp::Throughput`](super::WakeUp) and `Manual` programs wake nobody
    /// who sleeps on it.
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
