//! The reader over memory of its own, whose headers and positions the test writes.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::{BUSY, DISCARDED, Peek, Reader, Shared, footprint};

const SIZE: usize = 256;

#[derive(Default)]
struct Memory {
    producer: AtomicUsize,
    consumer: AtomicUsize,
    headers: [AtomicU32; SIZE / 8],
}

impl Memory {
    /// Writes headers from position 0, as programs do.
    fn of(headers: &[u32]) -> Self {
        let memory = Self::default();
        for &header in headers {
            let at = memory.producer.load(Ordering::Relaxed);
            memory.headers[at / 8].store(header, Ordering::Relaxed);
            let len = header & !(BUSY | DISCARDED);
            memory.producer.store(at + footprint(len as usize), Ordering::Relaxed);
        }
        memory
    }
}

impl Shared for &Memory {
    fn size(&self) -> usize {
        SIZE
    }

    fn load_producer(&self, order: Ordering) -> usize {
        self.producer.load(order)
    }

    fn load_consumer(&self, order: Ordering) -> usize {
        self.consumer.load(order)
    }

    fn store_consumer(&self, at: usize, order: Ordering) {
        self.consumer.store(at, order);
    }

    fn load_header(&self, at: usize, order: Ordering) -> u32 {
        self.headers[at % SIZE / 8].load(order)
    }
}

fn given_back(memory: &Memory) -> usize {
    memory.consumer.load(Ordering::Relaxed)
}

#[test]
fn g6_discarded_records_are_given_back_before_a_sleep() {
    for (last, found, end) in [(DISCARDED | 8, Peek::Empty, 48), (BUSY | 8, Peek::Busy, 32)] {
        let memory = Memory::of(&[8, DISCARDED | 8, last]);
        let mut reader = Reader::new(&memory);
        assert_eq!(reader.take(), Peek::Record { len: 8 });
        assert_eq!(given_back(&memory), 0);
        assert_eq!(reader.peek(), found);
        assert_eq!((given_back(&memory), reader.held()), (end, 0));

        let memory = Memory::of(&[DISCARDED | 8, DISCARDED | 8, last]);
        assert_eq!(Reader::new(&memory).peek(), found);
        assert_eq!(given_back(&memory), end);
    }
}

#[test]
fn g6_a_run_sees_what_was_there_when_it_began_and_gives_it_back_in_batches() {
    let memory = Memory::of(&[8, 16, DISCARDED | 8, 8, 8, 8]);
    let mut reader = Reader::new(&memory);
    let mut run = reader.run(2, SIZE).unwrap();
    // Submitted after it began.
    memory.producer.fetch_add(footprint(8), Ordering::Relaxed);
    let passed: Vec<_> = std::iter::from_fn(|| match run.pass() {
        Peek::Record { len } => Some((len, given_back(&memory))),
        other => {
            assert_eq!(other, Peek::Empty);
            None
        }
    })
    .collect();
    // The third record is looked for when two are read, the fifth when four are.
    assert_eq!(passed, [(8, 0), (16, 0), (8, 40), (8, 40), (8, 88)]);
    drop(run);
    assert_eq!(given_back(&memory), 104);
}

#[test]
fn g6_a_run_gives_back_by_bytes_too_and_ends_at_a_busy_record() {
    let memory = Memory::of(&[24, 24, 24, BUSY | 8, 8]);
    let mut reader = Reader::new(&memory);
    let mut run = reader.run(64, 32).unwrap();
    for before in [0, 32, 64] {
        assert_eq!((run.pass(), given_back(&memory)), (Peek::Record { len: 24 }, before));
    }
    assert_eq!(run.pass(), Peek::Busy);
    drop(run);
    assert_eq!(given_back(&memory), 96);
}

#[test]
fn g6_positions_and_lengths_that_no_kernel_writes_are_errors() {
    for (producer, header) in [(SIZE + 8, 8), (12, 8), (16, 16), (8, u32::MAX >> 2), (1 << 63, 8)] {
        let memory = Memory::of(&[header]);
        memory.producer.store(producer, Ordering::Relaxed);
        let mut reader = Reader::new(&memory);
        for _ in 0..2 {
            assert!(matches!(reader.take(), Peek::Corrupt(_)), "{producer}, {header}");
            let passed = reader.run(64, SIZE).map(|mut run| run.pass());
            assert!(matches!(passed, Err(_) | Ok(Peek::Corrupt(_))), "{producer}, {header}");
        }
        assert_eq!(given_back(&memory), 0);
    }
    let memory = Memory::of(&[8]);
    memory.consumer.store(4, Ordering::Relaxed);
    assert!(matches!(Reader::new(&memory).peek(), Peek::Corrupt(_)));
    let mut reader = Reader::new(&memory);
    memory.consumer.store(0, Ordering::Relaxed);
    assert!(matches!(reader.peek(), Peek::Corrupt(_)));
}
