//! The kernel's side of a ring, after kernel/bpf/ringbuf.c, and what may be wrong with
//! what a reader sees of it.

use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release, SeqCst};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicUsize, fence};
use loom::sync::{Arc, Mutex};

use super::super::{BUSY, DISCARDED, HEADER, Shared, footprint};

/// 8 bytes of the ring.
pub(super) struct Word {
    pub(super) header: AtomicU32,
    pub(super) memory: UnsafeCell<u64>,
}

/// A ring as the kernel has it.
pub(super) struct Ring {
    words: Vec<Word>,
    pub(super) consumer: AtomicUsize,
    pub(super) producer: AtomicUsize,
    lock: Mutex<()>,
    /// See [`Ring::any_thread`].
    turns: AtomicUsize,
}

impl Ring {
    pub(super) fn new(size: usize) -> Arc<Self> {
        assert!(size.is_power_of_two());
        let word = || Word { header: AtomicU32::new(0), memory: UnsafeCell::new(0) };
        Arc::new(Self {
            words: (0..size / HEADER).map(|_| word()).collect(),
            consumer: AtomicUsize::new(0),
            producer: AtomicUsize::new(0),
            lock: Mutex::new(()),
            turns: AtomicUsize::new(0),
        })
    }

    /// Another thread may come first here. Loom tries that by itself only where
    /// the last access to the same atomic was another thread's, and so misses
    /// some; an access of all threads to one more makes it try everywhere. Being
    /// relaxed, it orders nothing.
    pub(super) fn any_thread(&self) {
        self.turns.fetch_add(1, Relaxed);
    }

    pub(super) fn word(&self, at: usize) -> &Word {
        &self.words[at / HEADER % self.words.len()]
    }

    /// `__bpf_ringbuf_reserve`.
    pub(super) fn reserve(&self, len: usize) -> Option<usize> {
        self.any_thread();
        let consumer = self.consumer.load(Acquire);
        self.any_thread();
        let _lock = self.lock.lock().unwrap();
        let at = self.producer.load(Relaxed);
        let end = at + footprint(len);
        if end - consumer > self.words.len() * HEADER - 1 {
            return None;
        }
        let word = self.word(at);
        // A plain write in C.
        word.memory.with_mut(|_| word.header.store(len as u32 | BUSY, Relaxed));
        self.any_thread();
        self.producer.store(end, Release);
        Some(at)
    }

    /// What the program writes: the same word all over.
    pub(super) fn write(&self, at: usize, value: u64) {
        let len = (self.word(at).header.load(Relaxed) & !BUSY) as usize;
        self.any_thread();
        for word in 1..=len / HEADER {
            // SAFETY: loom checks that nobody else has the cell.
            self.word(at + word * HEADER).memory.with_mut(|memory| unsafe { *memory = value });
        }
    }

    /// `bpf_ringbuf_commit`.
    pub(super) fn commit(&self, at: usize, discard: bool) {
        self.any_thread();
        let header = &self.word(at).header;
        let len = header.load(Relaxed) ^ BUSY;
        header.swap(if discard { len | DISCARDED } else { len }, SeqCst);
    }

    /// The rest of it, without flags: whether it wakes the reader.
    pub(super) fn wakes(&self, at: usize) -> bool {
        // The exchange is a barrier for everything in the kernel, and not in loom.
        fence(SeqCst);
        self.any_thread();
        self.consumer.load(Acquire) == at
    }
}

/// What is wrong with what the reader runs over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    None,
    /// Orderings.
    ProducerLoadedRelaxed,
    HeaderLoadedRelaxed,
    ConsumerLoadedRelaxed,
    ConsumerStoredRelaxed,
    /// Rules.
    BusyIgnored,
    DiscardIgnored,
    ReleasedAhead,
    NeverReleased,
}

pub(super) struct View {
    pub(super) ring: Arc<Ring>,
    pub(super) fault: Fault,
}

impl View {
    pub(super) fn order(&self, weak: Fault, order: Ordering) -> Ordering {
        if self.fault == weak { Relaxed } else { order }
    }
}

impl Shared for View {
    fn size(&self) -> usize {
        self.ring.words.len() * HEADER
    }

    fn load_producer(&self, order: Ordering) -> usize {
        self.ring.any_thread();
        self.ring.producer.load(self.order(Fault::ProducerLoadedRelaxed, order))
    }

    fn load_consumer(&self, order: Ordering) -> usize {
        self.ring.any_thread();
        self.ring.consumer.load(self.order(Fault::ConsumerLoadedRelaxed, order))
    }

    fn store_consumer(&self, at: usize, order: Ordering) {
        let order = self.order(Fault::ConsumerStoredRelaxed, order);
        self.ring.any_thread();
        match self.fault {
            Fault::NeverReleased => {}
            Fault::ReleasedAhead => {
                self.ring.consumer.store(self.ring.producer.load(Acquire), order);
            }
            _ => self.ring.consumer.store(at, order),
        }
    }

    fn load_header(&self, at: usize, order: Ordering) -> u32 {
        let word = self.ring.word(at);
        let order = self.order(Fault::HeaderLoadedRelaxed, order);
        self.ring.any_thread();
        // Ordered against the plain write of a reservation, not against the exchange.
        let header = word.memory.with(|_| word.header.load(order));
        match self.fault {
            Fault::BusyIgnored => header & !BUSY,
            Fault::DiscardIgnored => header & !DISCARDED,
            _ => header,
        }
    }

    fn fence(&self) {
        fence(SeqCst);
    }
}
