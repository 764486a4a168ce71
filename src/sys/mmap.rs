//! Memory maps of BPF maps.

use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::commands::Errno;

/// A shared mapping, unmapped on drop. It keeps the map alive by itself.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    writable: bool,
    /// Bytes before and behind it that nothing may touch, and that go with it.
    #[cfg(test)]
    guard: usize,
}

// SAFETY: the mapping is memory of the process, not of a thread; it is read and
// written through atomics only (`word`, and the ring's protocol).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// The size of a page on this machine.
pub(crate) fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().map_or(4096, |size| size as usize)
}

impl Mapping {
    /// Maps `len` bytes of `fd` from `offset`.
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        offset: usize,
        len: usize,
        writable: bool,
    ) -> Result<Self, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::INVAL)?;
        let mut access = ProtFlags::PROT_READ;
        if writable {
            access |= ProtFlags::PROT_WRITE;
        }
        // SAFETY: a fresh mapping at an address of the kernel's choosing
        // touches no memory that Rust knows.
        let start = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, fd, offset as _) };
        let start = start.map_err(Errno::from)?.cast();
        Ok(Self {
            start,
            len: len.get(),
            writable,
            #[cfg(test)]
            guard: 0,
        })
    }

    /// `head` bytes and twice the next `data` bytes of memory of our own, as the
    /// kernel maps a ring, between pages that nothing may touch.
    #[cfg(all(test, not(miri)))]
    pub(crate) fn guarded(memory: BorrowedFd<'_>, head: usize, data: usize) -> Self {
        let (guard, len) = (page_size(), head + 2 * data);
        let whole = NonZeroUsize::new(guard + len + guard).unwrap();
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a fresh mapping, as above.
        let start =
            unsafe { nix::sys::mman::mmap_anonymous(None, whole, ProtFlags::PROT_NONE, flags) };
        // SAFETY: inside the mapping that was just made.
        let start = unsafe { start.unwrap().cast::<u8>().byte_add(guard) };
        for (at, offset, len) in [(0, 0, head + data), (head + data, head, data)] {
            let Some(len) = NonZeroUsize::new(len) else { continue };
            // SAFETY: as above.
            let at = unsafe { start.byte_add(at) }.addr();
            let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
            // SAFETY: replaces a part of the mapping that was just made, which
            // nobody else knows.
            let result = unsafe {
                mmap(
                    Some(at),
                    len,
                    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                    flags,
                    memory,
                    offset as _,
                )
            };
            result.unwrap();
        }
        Self { start, len, writable: true, guard }
    }

    /// The same on the heap, where there are no descriptors; the data is not twice
    /// the same, and whoever writes it writes both.
    #[cfg(all(test, miri))]
    pub(crate) fn on_heap(len: usize) -> Self {
        let words = vec![0_u64; len.div_ceil(8)].leak();
        Self { start: NonNull::from(words).cast(), len, writable: true, guard: 0 }
    }

    #[cfg(all(test, miri))]
    pub(crate) fn alias(&self) -> Self {
        Self { start: self.start, len: self.len, writable: self.writable, guard: 0 }
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// The address of `offset`, which lies inside with `size` bytes behind it.
    pub(crate) fn at(&self, offset: usize, size: usize) -> *mut u8 {
        assert!(offset <= self.len && size <= self.len - offset);
        // SAFETY: the assertion keeps the result inside the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// As [`at`](Self::at), for a path so hot that the look counts.
    ///
    /// # Safety
    /// `offset` lies inside with `size` bytes behind it.
    #[inline]
    pub(crate) unsafe fn at_proved(&self, offset: usize, size: usize) -> *mut u8 {
        debug_assert!(offset <= self.len && size <= self.len - offset);
        // SAFETY: the caller keeps the result inside the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if cfg!(miri) {
            return;
        }
        #[cfg(test)]
        let (before, len) = (self.guard, self.guard + self.len + self.guard);
        #[cfg(not(test))]
        let (before, len) = (0, self.len);
        // SAFETY: `start` and `len` are those of the mapping, guards included, and
        // nothing borrows from a `Mapping` that is being dropped.
        let result = unsafe { munmap(self.start.byte_sub(before).cast(), len) };
        debug_assert!(result.is_ok());
    }
}
