//! The consumer's side of the kernel's ring buffer protocol.
//!
//! Two mappings of the map: one page that holds the consumer position, which
//! we write, and behind it the producer position and the data, mapped twice in
//! a row by the kernel so that a record never wraps, which we only read.
//!
//! The kernel (kernel/bpf/ringbuf.c) reserves by writing a header with the busy
//! bit and then releasing the producer position; it commits by exchanging the
//! header's length without that bit; it never touches the bytes between the
//! consumer and the producer position again until the consumer position has
//! been released past them.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::commands::Errno;
use super::mmap::{Mapping, page_size};

const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER: usize = 8;

/// One consumer of one ring.
#[derive(Debug)]
pub(crate) struct Reader {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
    /// Where the next record is looked for. Runs ahead of the released
    /// consumer position while records are out.
    at: usize,
}

/// What lies at the reader's position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Peek {
    /// Nothing: every record has been read.
    Empty,
    /// A record that its producer has not committed yet.
    Busy,
    /// A committed record of `len` bytes.
    Record { len: usize },
    /// Positions or a header that no kernel writes.
    Corrupt(&'static str),
}

impl Reader {
    /// Maps the ring `fd` of `size` bytes.
    pub(crate) fn new(fd: BorrowedFd<'_>, size: usize) -> Result<Self, Errno> {
        let page = page_size();
        if !size.is_power_of_two() || size < page {
            return Err(Errno::INVAL);
        }
        let consumer = Mapping::new(fd, 0, page, true)?;
        let producer = Mapping::new(fd, page, page + 2 * size, false)?;
        let mut reader = Self { consumer, producer, page, size, at: 0 };
        reader.at = reader.consumer_position().load(Ordering::Acquire);
        Ok(reader)
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

    /// The bytes between the reader and the newest reservation, busy and
    /// discarded records and headers included.
    pub(crate) fn waiting(&self) -> usize {
        self.end().wrapping_sub(self.at)
    }

    /// The position behind the newest reservation.
    pub(crate) fn end(&self) -> usize {
        self.producer_position().load(Ordering::Acquire)
    }

    /// Whether the reader has not come to position `end` yet.
    pub(crate) fn is_before(&self, end: usize) -> bool {
        (end.wrapping_sub(self.at) as isize) > 0
    }

    /// What is next, past discarded records.
    pub(crate) fn peek(&mut self) -> Peek {
        loop {
            // Acquire pairs with the kernel's release of the position: the
            // header below it is written.
            let waiting = self.waiting();
            if waiting == 0 {
                return Peek::Empty;
            }
            if waiting > self.size || waiting < HEADER || self.at % HEADER != 0 {
                return Peek::Corrupt("its positions contradict each other");
            }
            // Acquire pairs with the exchange of the commit: the payload is written.
            let header = self.header(self.at).load(Ordering::Acquire);
            if header & BUSY != 0 {
                return Peek::Busy;
            }
            let len = (header & !(BUSY | DISCARDED)) as usize;
            if Self::footprint(len) > waiting {
                return Peek::Corrupt("a record is longer than what was produced");
            }
            if header & DISCARDED == 0 {
                return Peek::Record { len };
            }
            self.step(len);
            self.release();
        }
    }

    fn footprint(len: usize) -> usize {
        (len + HEADER).next_multiple_of(8)
    }

    /// The bytes of the committed record at the reader's position, of which
    /// `peek` gave the length. They stay until [`release`](Self::release).
    pub(crate) fn record(&self, len: usize) -> &[u8] {
        let header = self.header(self.at).load(Ordering::Acquire);
        assert!(header & BUSY == 0 && (header & !DISCARDED) as usize >= len);
        assert!(len <= self.size - HEADER);
        let offset = self.page + (self.at & (self.size - 1)) + HEADER;
        let start = self.producer.at(offset, len);
        // SAFETY: `at` keeps the bytes inside the mapping (the data pages are
        // mapped twice in a row). The record is committed, and the kernel does
        // not write it again before the consumer position is released past it.
        // Only `release` does that, through `&mut self`, so not while the
        // result borrows `self`; other consumers of the same ring are kept out
        // by the caller. The kernel zeroes ring memory, so the bytes are
        // initialised.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Moves past the record of `len` bytes, without giving its memory back.
    pub(crate) fn step(&mut self, len: usize) {
        self.at = self.at.wrapping_add(Self::footprint(len));
    }

    /// Gives everything before the reader's position back to the producers.
    pub(crate) fn release(&mut self) {
        // Release: our reads of the records are over before the kernel, which
        // acquires the position, reuses their memory.
        self.consumer_position().store(self.at, Ordering::Release);
    }
}
