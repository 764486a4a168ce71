//! The consumer's side of the kernel's ring buffer protocol.
//!
//! The kernel (kernel/bpf/ringbuf.c) reserves by writing a header with the busy
//! bit and then releasing the producer position; it commits by exchanging the
//! header's length without that bit; it never touches the bytes between the
//! consumer and the producer position again until the consumer position has
//! been released past them.
//!
//! [`Reader`] is that protocol over any [`Shared`] memory: the kernel's pages
//! ([`Pages`]), or the model of them that the tests check exhaustively. So what
//! is checked is what ships, memory orderings included.

#[cfg(test)]
mod fuzz;
#[cfg(all(test, not(miri)))]
mod model;
mod pages;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::atomic::{Ordering, fence};

pub(crate) use pages::Pages;
pub(crate) use writer::{Refused, Writer};

pub(crate) const BUSY: u32 = 1 << 31;
pub(crate) const DISCARDED: u32 = 1 << 30;
pub(crate) const HEADER: usize = 8;

/// What a consumer shares with the producers of a ring.
pub(crate) trait Shared {
    /// Bytes of data, a power of two.
    fn size(&self) -> usize;
    /// The position behind the newest reservation.
    fn load_producer(&self, order: Ordering) -> usize;
    /// The position before which memory may be reused.
    fn load_consumer(&self, order: Ordering) -> usize;
    fn store_consumer(&self, at: usize, order: Ordering);
    /// The header at position `at`, a multiple of 8.
    fn load_header(&self, at: usize, order: Ordering) -> u32;
    /// Nothing passes here, in either direction.
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

/// One consumer of one ring.
#[derive(Debug)]
pub(crate) struct Reader<M> {
    memory: M,
    /// Where the next record is looked for. Runs ahead of the released
    /// consumer position while records are out.
    at: usize,
    /// The producer position when it was last looked at: it is loaded anew only
    /// when nothing before it can be read, since producers own its cache line.
    end: usize,
    /// The record that `take` took, position and length, until memory is given back.
    taken: (usize, usize),
    /// The consumer position as the producers see it.
    released: usize,
    /// The most bytes that were seen waiting.
    high_water: usize,
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

/// What a record of `len` bytes takes up.
#[inline]
pub(crate) fn footprint(len: usize) -> usize {
    (len + HEADER).next_multiple_of(8)
}

impl<M: Shared> Reader<M> {
    /// Goes on where the last consumer of the ring ended.
    pub(crate) fn new(memory: M) -> Self {
        let at = memory.load_consumer(Ordering::Acquire);
        Self { memory, at, end: at, taken: (at, 0), released: at, high_water: 0 }
    }

    /// The bytes between the reader and the newest reservation, busy and
    /// discarded records and headers included. Never more than the ring holds.
    pub(crate) fn waiting(&self) -> usize {
        let producer = self.memory.load_producer(Ordering::Acquire);
        producer.wrapping_sub(self.at).min(self.memory.size())
    }

    /// The position behind the newest reservation.
    fn producer(&self) -> usize {
        self.at.wrapping_add(self.waiting())
    }

    /// Whether the reader has not come to position `end` yet.
    #[inline]
    pub(crate) fn is_before(&self, end: usize) -> bool {
        (end.wrapping_sub(self.at) as isize) > 0
    }

    /// The most bytes that were ever found waiting, headers included.
    pub(crate) fn high_water(&self) -> usize {
        self.high_water
    }

    /// What is next, past discarded records.
    #[inline]
    pub(crate) fn peek(&mut self) -> Peek {
        match self.look() {
            found @ (Peek::Record { .. } | Peek::Corrupt(_)) => found,
            Peek::Empty | Peek::Busy => self.peek_anew(),
        }
    }

    /// As `peek`, when everything before `end` that can be read was.
    #[cold]
    fn peek_anew(&mut self) -> Peek {
        if let Err(what) = self.catch_up() {
            return Peek::Corrupt(what);
        }
        let found = self.look();
        if let Peek::Empty | Peek::Busy = found {
            // Discarded records too: a program wakes a reader that has come to its record.
            self.release();
        }
        found
    }

    /// As [`peek`](Self::peek), for a reader that sleeps if nothing is there. A
    /// producer that commits what comes next wakes it if it finds that the reader
    /// has come there; so a position that was given back is looked behind.
    pub(crate) fn peek_to_sleep(&mut self) -> Peek {
        loop {
            let released = self.released;
            let peek = self.peek();
            if self.released == released {
                return peek;
            }
            // The position is seen before the look: the kernel exchanges the header
            // before it loads the position, and one of the two comes first.
            self.memory.fence();
        }
    }

    /// As `peek`, and moves past the record: its bytes stay until the next release.
    #[inline]
    pub(crate) fn take(&mut self) -> Peek {
        let found = self.peek();
        if let Peek::Record { len } = found {
            self.taken = (self.at, len);
            self.at = self.at.wrapping_add(footprint(len));
        }
        found
    }

    /// Sees where the producers are. What was found is checked here once, for
    /// all that lies before `end`: the two positions are multiples of a header
    /// and no further apart than the ring is long.
    fn catch_up(&mut self) -> Result<(), &'static str> {
        // Acquire pairs with the kernel's release of the position: the headers
        // below it are written.
        let end = self.memory.load_producer(Ordering::Acquire);
        // Nobody else moves it, or two readers tear each other's records.
        if self.memory.load_consumer(Ordering::Relaxed) != self.released {
            return Err(self.corrupt("something else moved its consumer position"));
        }
        let waiting = end.wrapping_sub(self.at);
        if waiting > self.memory.size() || waiting % HEADER != 0 || self.at % HEADER != 0 {
            return Err(self.corrupt("its positions contradict each other"));
        }
        self.end = end;
        self.high_water = self.high_water.max(waiting);
        Ok(())
    }

    /// What is before `end`, past discarded records.
    #[inline]
    fn look(&mut self) -> Peek {
        while self.at != self.end {
            // Acquire pairs with the exchange of the commit: the payload is written.
            let header = self.memory.load_header(self.at, Ordering::Acquire);
            if header & BUSY != 0 {
                return Peek::Busy;
            }
            let len = (header & !DISCARDED) as usize;
            // So that `at` never passes `end`, and keeps its distance.
            if footprint(len) > self.end.wrapping_sub(self.at) {
                return Peek::Corrupt(self.corrupt("a record is longer than what was produced"));
            }
            if header & DISCARDED == 0 {
                return Peek::Record { len };
            }
            // Its room is given back with what comes next, or at the latest before a sleep.
            self.at = self.at.wrapping_add(footprint(len));
        }
        Peek::Empty
    }

    /// Everything that is there now, to be read in one go.
    pub(crate) fn run(&mut self, most: usize, room: usize) -> Result<Run<'_, M>, &'static str> {
        self.catch_up()?;
        Ok(Run { reader: self, most, room, left: most })
    }

    #[cold]
    fn corrupt(&mut self, what: &'static str) -> &'static str {
        // So that the next look is a new one.
        self.end = self.at;
        what
    }

    /// Moves past the record that `peek` found, without giving its memory back.
    pub(crate) fn step(&mut self) {
        if let Peek::Record { len } = self.look() {
            self.at = self.at.wrapping_add(footprint(len));
        }
    }

    /// Moves past everything that was reserved until now and is committed or
    /// given up; how many records.
    pub(crate) fn skip(&mut self) -> Result<u64, &'static str> {
        let (end, mut records) = (self.producer(), 0);
        while self.is_before(end) {
            match self.peek() {
                Peek::Empty | Peek::Busy => break,
                Peek::Corrupt(what) => return Err(what),
                Peek::Record { .. } => {
                    records += 1;
                    self.step();
                }
            }
        }
        self.release();
        Ok(records)
    }

    /// Bytes that were read and not given back.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.at.wrapping_sub(self.released)
    }

    /// Gives everything before the reader's position back to the producers.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.at == self.released {
            return;
        }
        self.taken.1 = 0;
        // Release: our reads of the records are over before the kernel, which
        // acquires the position, reuses their memory.
        self.memory.store_consumer(self.at, Ordering::Release);
        self.released = self.at;
    }
}

/// A reader's way through what was there at one moment. It gives memory back
/// every so many records or bytes, and when it is dropped, also by a panic.
#[derive(Debug)]
pub(crate) struct Run<'r, M: Shared> {
    reader: &'r mut Reader<M>,
    most: usize,
    room: usize,
    /// How many records until memory is given back.
    left: usize,
}

impl<M: Shared> Run<'_, M> {
    /// Moves past the next record that was committed, which stays where it is
    /// until the next call: it ends at the reader's position.
    #[inline]
    pub(crate) fn pass(&mut self) -> Peek {
        if self.left == 0 || self.reader.held() >= self.room {
            self.reader.release();
            self.left = self.most;
        }
        let found = self.reader.look();
        if let Peek::Record { len } = found {
            self.left -= 1;
            self.reader.at = self.reader.at.wrapping_add(footprint(len));
        }
        found
    }
}

impl<M: Shared> Drop for Run<'_, M> {
    fn drop(&mut self) {
        self.reader.release();
    }
}
