//! The producer's side of a user ring buffer, by which a process sends records to
//! programs (`BPF_MAP_TYPE_USER_RINGBUF`).
//!
//! The pages are those of a ring buffer with the roles exchanged: the kernel owns
//! the consumer position, we own the producer position and the data. The kernel
//! (`__bpf_user_ringbuf_peek`) acquires the producer position and then reads
//! headers and payload before it, nothing behind it. So a record is written as a
//! whole and then released by moving the position over it; the busy bit, which is
//! for several producers, is not needed.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::commands::Errno;
use super::super::mmap::{Mapping, page_size};
use super::super::pod::RawBytes;
use super::{HEADER, footprint};

/// The one producer of a user ring.
#[derive(Debug)]
pub(crate) struct Writer {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
    /// Where the next record goes.
    at: usize,
}

/// Why a record was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no room now.
    Full,
    /// It is larger than the ring.
    TooLarge,
    /// Positions that no kernel writes.
    Corrupt,
}

impl Writer {
    /// Maps the ring `fd` of `size` bytes, and goes on where its last producer ended.
    pub(crate) fn new(fd: BorrowedFd<'_>, size: usize) -> Result<Self, Errno> {
        let page = page_size();
        if !size.is_power_of_two() || size < page {
            return Err(Errno::INVAL);
        }
        let consumer = Mapping::new(fd, 0, page, false)?;
        let producer = Mapping::new(fd, page, page + 2 * size, true)?;
        let mut writer = Self { consumer, producer, page, size, at: 0 };
        writer.at = writer.producer_position().load(Ordering::Acquire);
        Ok(writer)
    }

    fn consumer_position(&self) -> &AtomicUsize {
        let at = self.consumer.at(0, size_of::<AtomicUsize>()).cast::<AtomicUsize>();
        // SAFETY: the start of a page is aligned, the page is mapped for reading
        // for as long as `self`, we only load, and the kernel stores the position
        // atomically (smp_store_release).
        unsafe { &*at }
    }

    fn producer_position(&self) -> &AtomicUsize {
        let at = self.producer.at(0, size_of::<AtomicUsize>()).cast::<AtomicUsize>();
        // SAFETY: as above; this page is mapped for writing too, and the kernel
        // only loads the position, atomically (smp_load_acquire).
        unsafe { &*at }
    }

    /// Bytes that the programs have not read yet, headers included.
    pub(crate) fn waiting(&self) -> usize {
        // Acquire pairs with the kernel's release: it has read what lies before.
        self.at.wrapping_sub(self.consumer_position().load(Ordering::Acquire))
    }

    /// Whether a record of `len` bytes has room now.
    pub(crate) fn has_room(&self, len: usize) -> Result<(), Refused> {
        let waiting = self.waiting();
        if waiting > self.size || self.at % HEADER != 0 {
            return Err(Refused::Corrupt);
        }
        // The length shares its word with two bits.
        match len.checked_add(2 * HEADER) {
            Some(most) if most < 1 << 30 && footprint(len) <= self.size => {}
            _ => return Err(Refused::TooLarge),
        }
        if footprint(len) > self.size - waiting {
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// Writes a record of the two parts and hands it to the programs.
    pub(crate) fn write(&mut self, head: &RawBytes, tail: &[u8]) -> Result<(), Refused> {
        let len = head.len().checked_add(tail.len()).ok_or(Refused::TooLarge)?;
        self.has_room(len)?;
        let start = self.producer.at(self.page + (self.at & (self.size - 1)), HEADER + len);
        // SAFETY: `start` is followed by `HEADER + len` bytes of the mapping, as
        // `at` asserts, and is aligned to 8. The mapping is writable. The kernel
        // reads no byte behind the producer position, which is not moved before the
        // last of these writes, and `has_room` has acquired the consumer position,
        // so the kernel has read what lay here before. Nothing in this process
        // refers to the memory: no reference to it is ever made, and `self` is
        // borrowed exclusively. The two parts do not overlap the mapping, of which
        // no safe code has an address. Bytes of `head` may be padding of a type that
        // its author vouched for; they are copied, never looked at.
        unsafe {
            start.cast::<u32>().write(len as u32);
            start.add(4).cast::<u32>().write(0);
            head.as_ptr().cast::<u8>().copy_to_nonoverlapping(start.add(HEADER), head.len());
            tail.as_ptr().copy_to_nonoverlapping(start.add(HEADER + head.len()), tail.len());
        }
        self.at = self.at.wrapping_add(footprint(len));
        // Release: the record is whole before the kernel, which acquires the
        // position, looks at it.
        self.producer_position().store(self.at, Ordering::Release);
        Ok(())
    }
}
