//! The kernel's pages of a ring.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::super::commands::Errno;
use super::super::mmap::{Mapping, page_size};
use super::{HEADER, Reader, Shared};

/// Two mappings of the map: one page that holds the consumer position, which
/// we write, and behind it the producer position and the data, mapped twice in
/// a row by the kernel so that a record never wraps, which we only read.
#[derive(Debug)]
pub(crate) struct Pages {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
}

impl Pages {
    /// Maps the ring `fd` of `size` bytes.
    pub(crate) fn new(fd: BorrowedFd<'_>, size: usize) -> Result<Self, Errno> {
        let page = page_size();
        if !size.is_power_of_two() || size < page {
            return Err(Errno::INVAL);
        }
        let consumer = Mapping::new(fd, 0, page, true)?;
        let producer = Mapping::new(fd, page, page + 2 * size, false)?;
        Ok(Self { consumer, producer, page, size })
    }

    /// Pages that no kernel writes, for the tests to fill: `producer` is the
    /// page of the position and twice the data behind it.
    #[cfg(test)]
    pub(crate) fn over(consumer: Mapping, producer: Mapping, page: usize, size: usize) -> Self {
        assert!(size.is_power_of_two() && size % HEADER == 0 && page % HEADER == 0);
        drop((consumer.at(0, HEADER), producer.at(0, page + 2 * size)));
        Self { consumer, producer, page, size }
    }

    fn consumer_position(&self) -> &AtomicUsize {
        let at = self.consumer.at(0, size_of::<AtomicUsize>()).cast::<AtomicUsize>();
        // SAFETY: the start of a page is aligned, the page is mapped for
        // reading and writing for as long as `self`, and both sides access the
        // position atomically only (the kernel: smp_load_acquire).
        unsafe { &*at }
    }

    fn producer_position(&self) -> &AtomicUsize {
        let at = self.producer.at(0, size_of::<AtomicUsize>()).cast::<AtomicUsize>();
        // SAFETY: as above; the mapping is read-only and we only load.
        unsafe { &*at }
    }

    fn header(&self, at: usize) -> &AtomicU32 {
        let offset = self.page + (at & (self.size - 1));
        let header = self.producer.at(offset, HEADER).cast::<AtomicU32>();
        assert!(header.is_aligned());
        // SAFETY: `at` keeps the header inside the data pages, it is aligned,
        // and the kernel changes a header that we may look at by an atomic
        // exchange only.
        unsafe { &*header }
    }
}

impl Shared for Pages {
    #[inline]
    fn size(&self) -> usize {
        self.size
    }

    #[inline]
    fn load_producer(&self, order: Ordering) -> usize {
        self.producer_position().load(order)
    }

    fn load_consumer(&self, order: Ordering) -> usize {
        self.consumer_position().load(order)
    }

    #[inline]
    fn store_consumer(&self, at: usize, order: Ordering) {
        self.consumer_position().store(at, order);
    }

    #[inline]
    fn load_header(&self, at: usize, order: Ordering) -> u32 {
        self.header(at).load(order)
    }
}

impl Reader<Pages> {
    /// The bytes of the record that `peek` found; none where it found none.
    #[inline]
    pub(crate) fn record(&self) -> &[u8] {
        let len = self.record.unwrap_or(0);
        let pages = &self.memory;
        let offset = pages.page + (self.at & (pages.size - 1)) + HEADER;
        let start = pages.producer.at(offset, len);
        // SAFETY: `at` keeps the bytes inside the mapping (the data pages are
        // mapped twice in a row). `record` is set only by `peek`, when it has
        // acquired the header of a committed record of that length at `self.at`,
        // and unset by `step`, the only thing that moves `self.at` from there.
        // The kernel does not write a committed record again before the
        // consumer position is released past it, and only `release` does that,
        // up to `self.at`, which is not past it. Other consumers of the same
        // ring are kept out by the caller. The kernel zeroes ring memory, so
        // the bytes are initialised.
        unsafe { std::slice::from_raw_parts(start, len) }
    }
}
