//! The kernel's pages of a ring.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::super::commands::Errno;
use super::super::mmap::{Mapping, page_size};
use super::{HEADER, Peek, Reader, Run, Shared, footprint};

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
        let _ = (consumer.at(0, HEADER), producer.at(0, page + 2 * size));
        Self { consumer, producer, page, size }
    }

    #[inline]
    fn consumer_position(&self) -> &AtomicUsize {
        // SAFETY: a page is longer than a position.
        let at = unsafe { self.consumer.at_proved(0, size_of::<AtomicUsize>()) };
        // SAFETY: the start of a page is aligned, the page is mapped for
        // reading and writing for as long as `self`, and both sides access the
        // position atomically only (the kernel: smp_load_acquire).
        unsafe { &*at.cast::<AtomicUsize>() }
    }

    #[inline]
    fn producer_position(&self) -> &AtomicUsize {
        // SAFETY: a page is longer than a position.
        let at = unsafe { self.producer.at_proved(0, size_of::<AtomicUsize>()) };
        // SAFETY: as above; the mapping is read-only and we only load.
        unsafe { &*at.cast::<AtomicUsize>() }
    }

    #[inline]
    fn header(&self, at: usize) -> &AtomicU32 {
        // The size is a power of two and a multiple of a header.
        let offset = self.page + (at & (self.size - HEADER));
        // SAFETY: `offset` is at most `page + size - HEADER`, and the mapping is
        // `page + 2 * size` long.
        let header = unsafe { self.producer.at_proved(offset, HEADER) }.cast::<AtomicU32>();
        // SAFETY: it lies in the data pages, `offset` is a multiple of 8 as pages
        // are, and the kernel changes a header that we may look at by an atomic
        // exchange only.
        unsafe { &*header }
    }

    /// The `len` bytes behind the header at position `at`.
    ///
    /// # Safety
    /// A header and `len` bytes are no longer than the ring. For as long as the
    /// bytes are borrowed, nobody writes them.
    #[inline]
    unsafe fn payload(&self, at: usize, len: usize) -> &[u8] {
        let offset = self.page + (at & (self.size - HEADER)) + HEADER;
        // SAFETY: `offset` is at most `page + size`, the caller says that `len` is
        // less than `size`, and the mapping is `page + 2 * size` long, since the
        // data pages are mapped twice in a row. The kernel zeroes ring memory, so
        // the bytes are initialised; nobody writes them meanwhile.
        unsafe { std::slice::from_raw_parts(self.producer.at_proved(offset, len), len) }
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

    #[inline]
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
    /// The bytes of the record that `take` took; none when its memory was given back.
    #[inline]
    pub(crate) fn taken(&self) -> &[u8] {
        let (at, len) = self.taken;
        // SAFETY: `take` has acquired the header of a committed record of that
        // length at that position; `look` has compared the record with what lies
        // before `end`, and `catch_up` that with the ring's length. The kernel does
        // not write a committed record again before the consumer position is
        // released past it. Only `release` does that, which makes the length 0, and
        // needs the reader that these bytes borrow. Other consumers of the same
        // ring are kept out by the caller.
        unsafe { self.memory.payload(at, len) }
    }
}

impl Run<'_, Pages> {
    /// The next record that was committed, if it was there when the run began.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, &'static str> {
        match self.pass() {
            Peek::Record { len } => {
                let at = self.reader.at.wrapping_sub(footprint(len));
                // SAFETY: `pass` has acquired the header of a committed record of
                // that length at `at`; `look` and `catch_up` have compared it with
                // the ring's length. Its memory is given back by the next `pass` or
                // by the drop, and the bytes borrow the run until then. The rest is
                // as in `taken`.
                Ok(Some(unsafe { self.reader.memory.payload(at, len) }))
            }
            Peek::Empty | Peek::Busy => Ok(None),
            Peek::Corrupt(what) => Err(what),
        }
    }
}
