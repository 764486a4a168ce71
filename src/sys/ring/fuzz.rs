//! Pages that no kernel would write: an error or an answer, never a read
//! outside, never a loop without an end.
//!
//! The pages lie between pages that may not be touched, so a read outside ends
//! the process. Runs for a second, or for a quarter of what `BPF_ATLAS_FUZZ_SECONDS`
//! says; `BPF_ATLAS_FUZZ_SEED` runs a failure again.
//!
//! Where Miri is to be had, `cargo +nightly miri test sys::ring::fuzz` runs these
//! as they stand, over memory of the heap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::super::mmap::Mapping;
use super::{BUSY, DISCARDED, HEADER, Pages, Peek, Reader, footprint};
use crate::random::{Random, number, seed};

/// The kernel's side of a ring.
struct Fake {
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    size: usize,
}

#[cfg(not(miri))]
fn mapped(head: usize, data: usize) -> (Mapping, Mapping) {
    use std::os::fd::AsFd;
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    let memory = nix::sys::memfd::memfd_create("ring", flags).unwrap();
    nix::unistd::ftruncate(&memory, (head + data) as _).unwrap();
    let map = || Mapping::guarded(memory.as_fd(), head, data);
    (map(), map())
}

#[cfg(miri)]
fn mapped(head: usize, data: usize) -> (Mapping, Mapping) {
    let memory = Mapping::on_heap(head + 2 * data);
    (memory.alias(), memory)
}

impl Fake {
    /// A ring and a reader of it.
    fn new(page: usize, size: usize, start: usize) -> (Self, Reader<Pages>) {
        let (consumer, ours) = mapped(page, 0);
        let (producer, theirs) = mapped(page, size);
        let fake = Self { consumer, producer, page, size };
        fake.set_consumer(start);
        fake.set_producer(start);
        (fake, Reader::new(Pages::over(ours, theirs, page, size)))
    }

    fn position(mapping: &Mapping) -> &AtomicUsize {
        // SAFETY: the start of a page, written by atomics only.
        unsafe { &*mapping.at(0, 8).cast::<AtomicUsize>() }
    }

    fn consumer(&self) -> usize {
        Self::position(&self.consumer).load(Ordering::Acquire)
    }

    fn set_consumer(&self, at: usize) {
        Self::position(&self.consumer).store(at, Ordering::Release);
    }

    fn set_producer(&self, at: usize) {
        Self::position(&self.producer).store(at, Ordering::Release);
    }

    fn put(&self, at: usize, word: u32) {
        let offset = at & (self.size - 1) & !3;
        let halves = if cfg!(miri) { 2 } else { 1 };
        for half in 0..halves {
            let at = self.producer.at(self.page + half * self.size + offset, 4);
            // SAFETY: aligned, and written by atomics only while it is shared.
            unsafe { &*at.cast::<AtomicU32>() }.store(word, Ordering::Release);
        }
    }

    /// A record of which every word is `value`.
    fn submit(&self, at: usize, len: usize, value: u32) -> usize {
        for word in (0..len.next_multiple_of(4)).step_by(4) {
            self.put(at.wrapping_add(HEADER + word), value);
        }
        self.put(at, len as u32);
        let end = at.wrapping_add(footprint(len));
        self.set_producer(end);
        end
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// Offsets are counted in the page that there is, not in 4 KiB: records of all
/// lengths, over the end of the ring and over the end of the positions.
#[test]
fn records_wrap_in_rings_of_any_page() {
    let rounds = if cfg!(miri) { 1 } else { 3 };
    for page in [4096, 16384, 65536] {
        for size in [page, 2 * page, 4 * page] {
            for start in [0, size - 8, usize::MAX - 4 * page + 1] {
                let (fake, mut reader) = Fake::new(page, size, start & !7);
                let mut at = start & !7;
                let end = at.wrapping_add(rounds * size);
                let mut len = 0;
                for value in 1.. {
                    let next = fake.submit(at, len, value);
                    assert_eq!(reader.waiting(), next.wrapping_sub(at));
                    assert_eq!(reader.take(), Peek::Record { len });
                    let record = reader.taken();
                    assert!(record.len() == len && record.as_ptr() as usize % 8 == 0);
                    let words = record.chunks_exact(4);
                    let all = |word: &[u8]| word == value.to_ne_bytes();
                    assert!(words.clone().all(all), "page {page}, ring {size}, at {at}, {len}");
                    reader.release();
                    assert_eq!((fake.consumer(), reader.peek()), (next, Peek::Empty));
                    if (end.wrapping_sub(next) as isize) < 0 {
                        break;
                    }
                    at = next;
                    // The longest record that the kernel grants is 16 bytes short of the ring.
                    len = (len * 2 + 13) % (size - 15);
                }
            }
        }
    }
}

/// Everything a reader can do, and what must hold whatever the pages say.
fn act(reader: &mut Reader<Pages>, fake: &Fake, random: &mut Random, found: &mut [u64; 4]) {
    // Where it was moved, the reader does nothing more.
    if random.index(4) == 0 {
        fake.set_consumer(reader.released);
    }
    match random.index(8) {
        0..4 => match if random.index(2) == 0 { reader.take() } else { reader.peek() } {
            Peek::Empty => found[0] += 1,
            Peek::Busy => found[1] += 1,
            Peek::Record { len } => {
                found[2] += 1;
                assert!(len <= fake.size - HEADER);
            }
            Peek::Corrupt(_) => found[3] += 1,
        },
        4 => reader.step(),
        5 => reader.release(),
        6 => {
            if let Ok(skipped) = reader.skip() {
                assert!(skipped as usize <= fake.size / HEADER);
            }
        }
        _ => {
            let mut count = 0;
            if let Ok(mut run) = reader.run(64, fake.size / 8) {
                while let Ok(Some(bytes)) = run.next() {
                    std::hint::black_box(sum(bytes));
                    count += 1;
                }
            }
            assert!(count <= fake.size / HEADER);
        }
    }
    std::hint::black_box(sum(reader.taken()));
    assert!(reader.waiting() <= fake.size && reader.high_water() <= fake.size);
}

/// One change of the pages, for the worse.
fn scribble(fake: &Fake, at: usize, random: &mut Random) {
    let near = random.index(2 * fake.size + 64) & !7;
    let at = match random.index(6) {
        0 => random.next() as usize,
        1 => at.wrapping_sub(near),
        2 => at.wrapping_add(near | random.index(8)),
        _ => at.wrapping_add(near),
    };
    let lens =
        [0, 1, 7, 8, fake.size as u32 - 16, fake.size as u32 - 8, fake.size as u32, u32::MAX >> 2];
    let len = match random.index(3) {
        0 => lens[random.index(lens.len())],
        1 => random.index(64) as u32,
        _ => 0,
    };
    let flags = [0, 0, 0, BUSY, DISCARDED, DISCARDED, BUSY | DISCARDED][random.index(7)];
    match random.index(16) {
        0..5 => fake.set_producer(at),
        5 => fake.set_consumer(at),
        6 => (0..fake.size).step_by(HEADER).for_each(|at| fake.put(at, len | flags)),
        7 => fake.put(at, random.next() as u32),
        _ => fake.put(at, len | flags),
    }
}

fn seconds() -> Duration {
    Duration::from_secs(number("BPF_ATLAS_FUZZ_SECONDS").unwrap_or(0) / 4)
        .max(Duration::from_secs(1))
}

/// Tells another thread that this one has ended, however it does.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ends the process when `steps` stand still.
struct Watchdog {
    steps: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watchdog {
    fn new() -> Self {
        let dog = Self { steps: Arc::default(), over: Arc::default() };
        let (steps, over) = (dog.steps.clone(), dog.over.clone());
        std::thread::spawn(move || {
            let mut last = (0, Instant::now());
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                let now = steps.load(Ordering::Relaxed);
                if now != last.0 {
                    last = (now, Instant::now());
                } else if last.1.elapsed() > Duration::from_secs(20) {
                    eprintln!("the reader loops without an end, after {now} steps");
                    std::process::abort();
                }
            }
        });
        dog
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Runs `act` over pages that `between` changes, for the time there is.
fn fuzz(between: impl Fn(&Fake, usize, &mut Random)) -> [u64; 4] {
    let mut random = seed(0x5eed);
    let time = seconds();
    let (start, dog) = (Instant::now(), Watchdog::new());
    let mut found = [0; 4];
    let most = if cfg!(miri) { 300 } else { u64::MAX };
    let mut steps = 0;
    while start.elapsed() < time && steps < most {
        let at = [0, 4088, usize::MAX - 4095, random.next() as usize & !7][random.index(4)];
        let (fake, mut reader) = Fake::new(4096, 4096 << random.index(2), at);
        for _ in 0..200 {
            between(&fake, reader.at, &mut random);
            act(&mut reader, &fake, &mut random, &mut found);
            steps += 1;
            dog.steps.store(steps, Ordering::Relaxed);
        }
    }
    println!("{steps} steps; empty, busy, records, refused: {found:?}");
    found
}

#[test]
fn whatever_the_pages_say_it_answers_or_refuses() {
    let found = fuzz(|fake, at, random| {
        for _ in 0..random.index(6) {
            scribble(fake, at, random);
        }
    });
    assert!(cfg!(miri) || found.iter().all(|found| *found > 100), "it tests nothing");
}

/// Another thread changes them all the while.
#[test]
#[cfg_attr(miri, ignore = "the bytes of a record are changed under the reader, as no kernel does")]
fn pages_that_change_under_the_reader() {
    let mut random = seed(0x5eed);
    let time = seconds();
    let (start, dog) = (Instant::now(), Watchdog::new());
    let mut found = [0; 4];
    // Everything is found at least once, also where two threads share a CPU.
    while start.elapsed() < time || found.contains(&0) && start.elapsed() < 30 * time {
        let (fake, mut reader) = Fake::new(4096, 4096, 0);
        let over = AtomicBool::new(false);
        let near = AtomicUsize::new(0);
        let mut scribbler = Random(random.next());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    scribble(&fake, near.load(Ordering::Relaxed), &mut scribbler);
                }
            });
            let _ends = Ends(&over);
            for _ in 0..2000 {
                near.store(reader.at, Ordering::Relaxed);
                act(&mut reader, &fake, &mut random, &mut found);
                dog.steps.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    println!("empty, busy, records, refused: {found:?}");
    assert!(!found.contains(&0), "it tests nothing");
}

/// Nothing but discarded records, and a position that runs ahead of the reader for
/// ever: each look ends all the same.
#[test]
#[cfg_attr(miri, ignore = "a race against time")]
fn discarded_records_without_an_end() {
    let (fake, mut reader) = Fake::new(4096, 4096, 0);
    (0..4096).step_by(HEADER).for_each(|at| fake.put(at, DISCARDED));
    let (dog, over) = (Watchdog::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in (0_usize..).step_by(HEADER) {
                fake.set_producer(at.max(fake.consumer()) + 2048);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let _ends = Ends(&over);
        for _ in 0..10_000 {
            assert!(matches!(reader.peek(), Peek::Empty | Peek::Corrupt(_)));
            assert_eq!(reader.skip().unwrap_or(0), 0);
            dog.steps.fetch_add(1, Ordering::Relaxed);
        }
    });
}
