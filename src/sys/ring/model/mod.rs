//! The reader against a model of the kernel's side, checked by loom: every
//! interleaving and every value that an atomic load may return, up to a number
//! of preemptions.
//!
//! The kernel's side is written after kernel/bpf/ringbuf.c, step by step. Memory
//! is a few words of 8 bytes, each an atomic header and a cell that loom watches:
//! an access that is not ordered against a write of the other side is reported.
//! The reader is the one that ships; what it runs over weakens one ordering, or
//! breaks one rule, for each of the tests that must fail.
//!
//! `LOOM_MAX_PREEMPTIONS` explores further.

mod kernel;

use std::sync::atomic::Ordering::Relaxed;

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

use self::kernel::{Fault, Ring, View, Word};
use super::{HEADER, Peek, Reader, footprint};

/// The words of a record, as a user reads them: at any time until it is released.
fn words(ring: &Ring, at: usize, len: usize) -> Vec<u64> {
    ring.any_thread();
    let word = |word| ring.word(at + word * HEADER);
    // SAFETY: loom checks that nobody writes the cell.
    let read = |word: &Word| word.memory.with(|memory| unsafe { *memory });
    let words: Vec<_> = (1..=len / HEADER).map(|at| read(word(at))).collect();
    assert!(words.iter().all(|word| *word == words[0]));
    words
}

fn reader(ring: &Arc<Ring>, fault: Fault) -> Reader<View> {
    Reader::new(View { ring: ring.clone(), fault })
}

/// What a producer does with its records.
#[derive(Clone, Copy)]
enum Do {
    Submit(usize),
    Discard(usize),
}

/// Values of the records that were submitted, in order.
fn produce(ring: &Ring, name: u64, what: &[Do]) -> Vec<u64> {
    let mut submitted = Vec::new();
    for (value, what) in (name * 100..).zip(what) {
        let (Do::Submit(len) | Do::Discard(len)) = *what;
        let Some(at) = ring.reserve(len) else { continue };
        ring.write(at, value);
        let discard = matches!(what, Do::Discard(_));
        ring.commit(at, discard);
        if !discard {
            submitted.push(value);
        }
    }
    submitted
}

/// Looks so many times, as `RingBuf::next` does; how many records.
fn consume(reader: &mut Reader<View>, looks: usize, seen: &mut Vec<u64>) -> usize {
    let mut read = 0;
    for _ in 0..looks {
        reader.release();
        match reader.take() {
            Peek::Record { .. } => {
                let (at, len) = reader.taken;
                seen.extend(words(&reader.memory.ring, at, len).first());
                read += 1;
            }
            Peek::Empty | Peek::Busy => thread::yield_now(),
            Peek::Corrupt(what) => panic!("{what}"),
        }
    }
    reader.release();
    read
}

/// Runs through the ring so many times, as `RingBuf::drain` does, giving memory
/// back every `release` records.
fn drain(reader: &mut Reader<View>, runs: usize, release: usize, seen: &mut Vec<u64>) {
    for _ in 0..runs {
        let mut run = reader.run(release, usize::MAX).unwrap_or_else(|what| panic!("{what}"));
        loop {
            match run.pass() {
                Peek::Record { len } => {
                    let at = run.reader.at - footprint(len);
                    seen.extend(words(&run.reader.memory.ring, at, len).first());
                }
                Peek::Empty | Peek::Busy => break,
                Peek::Corrupt(what) => panic!("{what}"),
            }
        }
        drop(run);
        thread::yield_now();
    }
}

/// How a reader reads meanwhile.
#[derive(Clone, Copy)]
enum How {
    /// One by one, with so many looks.
    Next(usize),
    /// So many drains, which give memory back every so many records.
    Drain(usize, usize),
}

/// Producers, one for each list, against a reader. Whatever happens in between,
/// everything that was submitted is seen once, whole and in its producer's order.
fn check(size: usize, producers: &'static [&'static [Do]], how: How, fault: Fault) {
    explore(move || {
        let ring = Ring::new(size);
        let threads: Vec<_> = (1..)
            .zip(producers)
            .map(|(name, what)| {
                let ring = ring.clone();
                thread::spawn(move || produce(&ring, name, what))
            })
            .collect();
        let mut reader = reader(&ring, fault);
        let mut seen = Vec::new();
        match how {
            How::Next(looks) => drop(consume(&mut reader, looks, &mut seen)),
            How::Drain(runs, release) => drain(&mut reader, runs, release, &mut seen),
        }
        let submitted: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let rest = submitted.iter().map(Vec::len).sum::<usize>().saturating_sub(seen.len());
        consume(&mut reader, rest, &mut seen);
        for (name, submitted) in (1..).zip(submitted) {
            let of_it: Vec<_> = seen.iter().copied().filter(|value| value / 100 == name).collect();
            assert_eq!(of_it, submitted, "seen, and submitted");
        }
        assert_eq!(reader.peek(), Peek::Empty);
        assert!(reader.held() == 0 && reader.waiting() == 0);
        assert_eq!(ring.consumer.load(Relaxed), ring.producer.load(Relaxed), "memory is kept");
        assert!((1..size).contains(&reader.high_water()));
    });
}

fn explore(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(f);
}

const ONE: &[&[Do]] = &[&[Do::Submit(8), Do::Discard(8), Do::Submit(16), Do::Submit(8)]];
const TWO: &[&[Do]] = &[&[Do::Submit(8), Do::Submit(8)], &[Do::Discard(8), Do::Submit(8)]];

#[test]
fn one_producer_that_reuses_the_memory() {
    check(32, ONE, How::Next(4), Fault::None);
}

#[test]
fn memory_given_back_in_batches() {
    check(64, ONE, How::Drain(2, 2), Fault::None);
}

#[test]
fn two_producers_with_one_record_at_a_time() {
    check(32, TWO, How::Next(3), Fault::None);
}

#[test]
fn two_producers_with_several_records_in_flight() {
    check(64, TWO, How::Drain(2, 2), Fault::None);
}

/// A record of no bytes is a header alone, in the smallest ring that holds one.
#[test]
fn records_without_bytes_in_a_ring_of_two_words() {
    explore(|| {
        let ring = Ring::new(16);
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let reserved =
                    (0..3).filter_map(|_| ring.reserve(0).map(|at| ring.commit(at, false)));
                reserved.count()
            })
        };
        let mut reader = reader(&ring, Fault::None);
        let mut read = consume(&mut reader, 3, &mut Vec::new());
        let submitted = producer.join().unwrap();
        read += consume(&mut reader, submitted - read, &mut Vec::new());
        assert_eq!((read, reader.peek()), (submitted, Peek::Empty));
        assert_eq!(reader.high_water(), 8);
    });
}

/// `skip` passes over what was reserved before it and has ended, and no more
/// records than there are; what it leaves is read.
#[test]
fn skipped_and_read_make_all() {
    explore(|| {
        let ring = Ring::new(64);
        let first = produce(&ring, 1, &[Do::Submit(8)]);
        let producer = {
            let ring = ring.clone();
            thread::spawn(move || produce(&ring, 2, &[Do::Discard(0), Do::Submit(8)]))
        };
        let mut reader = reader(&ring, Fault::None);
        let skipped = reader.skip().unwrap() as usize;
        assert!(skipped >= first.len() && reader.held() == 0);
        let submitted = producer.join().unwrap();
        let mut seen = Vec::new();
        let rest = first.len() + submitted.len() - skipped;
        assert_eq!(consume(&mut reader, rest, &mut seen), rest);
        assert_eq!(reader.peek(), Peek::Empty);
        assert_eq!(seen, submitted[submitted.len() - rest..]);
    });
}

/// A reader in another process goes on where the last one ended. Nothing orders
/// the two but the position itself: a record that the first has read is reused
/// after the second has released it.
fn hand_over(fault: Fault) {
    explore(move || {
        let ring = Ring::new(32);
        produce(&ring, 1, &[Do::Submit(8), Do::Submit(0)]);
        let start = |fault, from| {
            let ring = ring.clone();
            thread::spawn(move || {
                if ring.consumer.load(Relaxed) == from {
                    consume(&mut reader(&ring, fault), 1, &mut Vec::new());
                }
            })
        };
        let (first, second) = (start(Fault::None, 0), start(fault, footprint(8)));
        produce(&ring, 2, &[Do::Submit(8)]);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_reader_that_is_replaced() {
    hand_over(Fault::None);
}

/// A reader that has found nothing, and sleeps, is woken by a commit without
/// flags, though it has passed over a discarded record on the way: one of the two
/// sees the other.
fn sleep_on_edges(look: fn(&mut Reader<View>) -> Peek) {
    explore(move || {
        let ring = Ring::new(64);
        let first = ring.reserve(0).unwrap();
        let end = |reserved: Option<usize>, discard| {
            let ring = ring.clone();
            thread::spawn(move || {
                let at = reserved.or_else(|| ring.reserve(0)).unwrap();
                ring.commit(at, discard);
                ring.wakes(at)
            })
        };
        let programs = [end(Some(first), true), end(None, false)];
        let mut reader = reader(&ring, Fault::None);
        let found = look(&mut reader);
        let woken = programs.map(|program| program.join().unwrap());
        // A busy record is waited for by time.
        assert!(found != Peek::Empty || woken != [false; 2], "it sleeps on");
    });
}

#[test]
fn a_reader_that_sleeps_is_woken() {
    sleep_on_edges(Reader::peek_to_sleep);
}

// What must be found, or the above shows nothing.

#[test]
#[should_panic(expected = "Causality violation")]
fn found_if_the_producer_position_is_loaded_relaxed() {
    check(32, ONE, How::Next(4), Fault::ProducerLoadedRelaxed);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn found_if_a_drain_stores_the_consumer_position_relaxed() {
    check(32, ONE, How::Drain(3, 1), Fault::ConsumerStoredRelaxed);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn found_if_headers_are_loaded_relaxed() {
    check(32, ONE, How::Next(4), Fault::HeaderLoadedRelaxed);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn found_if_the_consumer_position_is_stored_relaxed() {
    check(32, ONE, How::Next(4), Fault::ConsumerStoredRelaxed);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn found_if_the_next_reader_loads_the_position_relaxed() {
    hand_over(Fault::ConsumerLoadedRelaxed);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn found_if_busy_records_are_read() {
    check(32, ONE, How::Next(4), Fault::BusyIgnored);
}

#[test]
#[should_panic(expected = "seen, and submitted")]
fn found_if_discarded_records_are_read() {
    check(64, &[&[Do::Discard(8), Do::Submit(8)]], How::Next(2), Fault::DiscardIgnored);
}

#[test]
#[should_panic(expected = "moved its consumer position")]
fn found_if_more_is_released_than_was_read() {
    check(64, TWO, How::Next(3), Fault::ReleasedAhead);
}

#[test]
#[should_panic(expected = "moved its consumer position")]
fn found_if_nothing_is_released() {
    check(64, &[&[Do::Submit(8)]], How::Next(1), Fault::NeverReleased);
}

#[test]
#[should_panic(expected = "it sleeps on")]
fn found_if_what_was_passed_over_is_not_looked_behind() {
    sleep_on_edges(Reader::peek);
}
