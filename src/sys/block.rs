//! [`Block`]: memory for the values of a batch, which can be given away in pieces.
//!
//! The kernel writes the values of a key on all CPUs one behind the other, a slice in all
//! but its name. So a walk that yields slices needs neither memory nor a copy for each:
//! it gives away the part of its buffer that the slice lies in, and makes itself a new
//! buffer when it comes back to one of which something is still held.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::mem::{align_of, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use super::inline::WINDOW;
use super::pod::{Pod, stride};

/// What stands before the values. Of an alignment that zeroed memory has by itself.
#[repr(C, align(16))]
struct Header {
    /// `SHARE` while there is a block, less one for each piece that has ended. When the
    /// block ends it takes its share along, but for one for each piece that it gave away.
    owners: AtomicUsize,
    /// The bytes of all, this header among them.
    size: usize,
}

/// More than there can be pieces, each of which is a byte long at least.
const SHARE: usize = usize::MAX / 2;

/// Zeroed memory, of which the front can be given away in pieces.
pub(crate) struct Block {
    /// `None`: no memory, and `len` is 0.
    header: Option<NonNull<Header>>,
    /// What is behind the header.
    start: NonNull<u8>,
    /// Bytes behind the header.
    len: usize,
    /// How many of those, from the front, belong to pieces, and perhaps gaps between them.
    given: usize,
    /// How many pieces that was.
    pieces: usize,
}

// SAFETY: a block owns its memory but for what it gave away, which it never touches, and
// the counter is atomic.
unsafe impl Send for Block {}
// SAFETY: behind a shared reference there are only reads of bytes that no piece has.
unsafe impl Sync for Block {}

impl Block {
    /// `len` zeroes, or `None` where there is no memory for them.
    pub(crate) fn zeroed(len: usize) -> Option<Self> {
        // A window at the last byte shall be inside.
        let size = len.checked_add(size_of::<Header>() + WINDOW)?;
        let layout = Layout::from_size_align(size, align_of::<Header>()).ok()?;
        // SAFETY: the header alone makes the size more than zero.
        let header = NonNull::new(unsafe { alloc_zeroed(layout) })?.cast::<Header>();
        // SAFETY: fresh memory of the alignment and at least the size of a header.
        unsafe { header.write(Header { owners: AtomicUsize::new(SHARE), size }) };
        // SAFETY: an allocation has its header's size and more, so its end is inside or just
        // behind.
        let start = unsafe { header.add(1).cast() };
        Some(Self { header: Some(header), start, len, given: 0, pieces: 0 })
    }

    /// How many bytes it has, those that were given away among them.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// `len` bytes from `at`, none of which was given away.
    #[inline]
    pub(crate) fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at >= self.given && at <= self.len && len <= self.len - at);
        // SAFETY: the bytes lie inside, were zeroed when they were made, and belong to no
        // piece, so that all who may write them need `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(at), len) }
    }

    /// The bytes from `at` on, none of which was given away; zeroes follow the last one.
    #[inline]
    pub(crate) fn window(&self, at: usize) -> &[u8; WINDOW] {
        assert!(at >= self.given && at < self.len);
        // SAFETY: as in `bytes`; so many bytes follow the last one.
        unsafe { &*self.start.as_ptr().add(at).cast() }
    }

    /// All bytes, of which none was given away.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        assert_eq!(self.given, 0);
        // SAFETY: as in `bytes`; the reference is the only one, as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Takes the memory back from pieces that have ended: false while there is one that
    /// has not.
    pub(crate) fn reclaim(&mut self) -> bool {
        if let (Some(header), 1..) = (self.header, self.pieces) {
            // SAFETY: the block still has its share, so the memory is there.
            let owners = unsafe { &header.as_ref().owners };
            // Acquires what the pieces released: all they did with the memory is before this.
            if owners.load(Ordering::Acquire) != SHARE - self.pieces {
                return false;
            }
            owners.store(SHARE, Ordering::Relaxed);
            self.pieces = 0;
        }
        self.given = 0;
        true
    }

    /// Gives away the values of `cpus` CPUs, which the kernel has written from `at` on, and
    /// with them all that lies before.
    pub(crate) fn split<V: Pod>(&mut self, at: usize, cpus: usize) -> Piece<V> {
        // Not at compile time: it would be looked at for types too that never get here.
        assert!(Piece::<V>::IS_POSSIBLE);
        let span = stride::<V>() * cpus;
        assert!(at >= self.given && at <= self.len && span <= self.len - at);
        assert!(at % align_of::<V>() == 0);
        let header = self.header.filter(|_| span > 0).expect("values take memory");
        // SAFETY: inside, by the assertion.
        let start = unsafe { self.start.add(at) };
        if size_of::<V>() != stride::<V>() {
            for cpu in 1..cpus {
                // SAFETY: both lie within `span` bytes from `start`, which belong to no piece
                // yet; they may overlap.
                unsafe {
                    let slot = start.add(cpu * stride::<V>());
                    slot.copy_to(start.add(cpu * size_of::<V>()), size_of::<V>());
                }
            }
        }
        self.given = at + span;
        self.pieces += 1;
        Piece { start: start.cast(), len: cpus, header }
    }
}

impl Default for Block {
    fn default() -> Self {
        Self { header: None, start: NonNull::dangling(), len: 0, given: 0, pieces: 0 }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(header) = self.header {
            // SAFETY: of this share all but one for each piece is returned; it is the last
            // use of the header here.
            unsafe { give_up(header, SHARE - self.pieces) };
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Returns a share, and the memory with the last one.
///
/// # Safety
/// The share is the caller's, who uses neither it nor the memory hereafter.
#[inline]
unsafe fn give_up(header: NonNull<Header>, share: usize) {
    // SAFETY: the share kept the memory.
    let before = unsafe { header.as_ref().owners.fetch_sub(share, Ordering::Release) };
    if before == share {
        // SAFETY: as for the call: it was the last share.
        unsafe { free(header) };
    }
}

/// # Safety
/// Nobody has a share, and the memory has not been freed.
#[cold]
unsafe fn free(header: NonNull<Header>) {
    // What the others did with the memory is before its end.
    fence(Ordering::Acquire);
    // SAFETY: nobody else has it any more; this is the layout that it was made with.
    unsafe {
        let size = header.as_ref().size;
        let layout = Layout::from_size_align_unchecked(size, align_of::<Header>());
        dealloc(header.as_ptr().cast(), layout);
    }
}

/// Values that lie in a [`Block`], and belong to nobody else.
pub(crate) struct Piece<V> {
    start: NonNull<V>,
    len: usize,
    header: NonNull<Header>,
}

// SAFETY: a piece owns its values as a box would; the counter is atomic.
unsafe impl<V: Send> Send for Piece<V> {}
// SAFETY: as above.
unsafe impl<V: Sync> Sync for Piece<V> {}

impl<V> Piece<V> {
    /// Whether a block is aligned well enough.
    pub(crate) const IS_POSSIBLE: bool = align_of::<V>() <= align_of::<Header>();

    pub(crate) fn as_slice(&self) -> &[V] {
        // SAFETY: `split` gave `len` values of a `Pod` type from `start` on to this piece
        // alone, aligned since the block's start, the offset and the sizes are, and
        // initialised as the whole block was.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [V] {
        // SAFETY: as above; `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<V> Drop for Piece<V> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: one share was left for this piece, and its values need no end of their
        // own: a `Pod` type is `Copy`.
        unsafe { give_up(self.header, 1) };
    }
}

#[cfg(test)]
mod tests;
