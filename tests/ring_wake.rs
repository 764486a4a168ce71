//! G6: under each `WakeUp`, what wakes the reader and how long events wait; streams of them
//! are in `ring_stream`.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;
#[path = "support/wake.rs"]
mod wake;

use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{Error, OpenError, RingBuf, WakeUp};
use support::random::Random;
use wake::{LONG, RECORD, Timed, burst, load, read_all, reader, words};

#[test]
fn g6_a_policy_needs_the_rings_words_and_leaves_the_kernels_rule_behind() {
    let programs = load(4096);
    let mut plain = RingBuf::<Timed>::open(programs.map("events")).unwrap();
    assert_eq!(plain.wake_up(), WakeUp::Latency);
    plain.set_wake_up(WakeUp::Latency).unwrap();
    for policy in [WakeUp::Throughput, WakeUp::Manual] {
        let error = plain.set_wake_up(policy).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains("with_wake"), "{error}");
    }
    drop(plain);

    let words = words(&programs);
    for (policy, word) in [(WakeUp::Latency, 0), (WakeUp::Throughput, 1), (WakeUp::Manual, 1)] {
        let mut ring = reader(&programs, policy);
        assert_eq!((ring.wake_up(), words.load(0).unwrap()), (policy, word));
        assert_eq!(words.load(1).unwrap(), 1024, "a quarter of the ring");
        ring.set_mark(512).unwrap();
        assert_eq!(words.load(1).unwrap(), 512);
        drop(ring);
        assert_eq!(words.load(0).unwrap(), 0, "{policy:?} stays behind");
    }

    let wrong = RingBuf::<Timed>::open(programs.map("events")).unwrap();
    let wrong = wrong.with_wake(programs.map("control")).unwrap_err();
    assert!(matches!(wrong, OpenError::InvalidArgument { .. }), "{wrong}");
    let wrong = RingBuf::<Timed>::open(programs.map("events")).unwrap();
    let wrong = wrong.with_wake(programs.map("events_lost")).unwrap_err();
    assert!(matches!(wrong, OpenError::Kind { .. }), "{wrong}");
}

/// The first event after a pause is not held back.
#[test]
fn g6_throughput_sees_the_first_event_at_once() {
    let programs = load(4096);
    let mut ring = reader(&programs, WakeUp::Throughput);
    // Far longer than anything here lasts.
    ring.set_max_delay(LONG);
    let (ready, took) = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            // The reader is woken by the first of them alone.
            assert_eq!(burst(&programs, 0, 3), 1);
        });
        let start = Instant::now();
        (ring.wait(LONG).unwrap(), start.elapsed())
    });
    assert!(ready && took < LONG / 2, "{ready} after {took:?}");
    let mut seen = read_all(&mut ring);
    // It may have been faster than the program, and then there is more to gather.
    while seen.len() < 3 {
        seen.extend(read_all(&mut ring));
    }
    assert_eq!(seen, [0, 1, 2]);
}

/// Events behind the first gather, until they have waited long enough.
#[test]
fn g6_throughput_lets_events_gather_for_its_delay_and_no_longer() {
    let programs = load(4096);
    let mut ring = reader(&programs, WakeUp::Throughput);
    let delay = Duration::from_millis(50);
    ring.set_max_delay(delay);
    burst(&programs, 0, 2);
    assert!(ring.wait(LONG).unwrap());
    assert_eq!(read_all(&mut ring), [0, 1]);
    let start = Instant::now();
    assert_eq!(burst(&programs, 2, 5), 0, "nobody is to be woken");
    assert!(ring.wait(LONG).unwrap());
    let took = start.elapsed();
    assert!(took >= delay * 3 / 4 && took < LONG / 2, "{took:?}");
    assert_eq!(read_all(&mut ring), [2, 3, 4, 5, 6]);
    // A wait that is shorter than the delay ends with what is there.
    burst(&programs, 7, 1);
    assert!(ring.wait(Duration::from_millis(1)).unwrap());
    assert_eq!(read_all(&mut ring), [7]);
}

/// A delay past what a clock holds is a long one, and not none.
#[test]
fn g6_throughput_with_a_delay_without_end_gathers() {
    let programs = load(4096);
    let mut ring = reader(&programs, WakeUp::Throughput);
    ring.set_max_delay(Duration::MAX);
    burst(&programs, 0, 2);
    assert!(ring.wait(LONG).unwrap());
    assert_eq!(read_all(&mut ring), [0, 1]);
    burst(&programs, 2, 2);
    let start = Instant::now();
    // What is there is told at the end of the wait all the same.
    assert!(ring.wait(Duration::from_millis(60)).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert_eq!(read_all(&mut ring), [2, 3]);
    assert!(!ring.wait(Duration::from_millis(250)).unwrap());
}

/// A backlog that passes the mark wakes the reader before its time, once.
#[test]
fn g6_throughput_is_woken_by_a_backlog_before_its_time() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs, WakeUp::Throughput);
    ring.set_max_delay(LONG);
    ring.set_mark(100 * RECORD).unwrap();
    burst(&programs, 0, 2);
    assert!(ring.wait(LONG).unwrap());
    assert_eq!(read_all(&mut ring), [0, 1]);
    for (count, wakes) in [(99, false), (1, true), (500, true)] {
        let start = Instant::now();
        let woken = thread::scope(|scope| {
            let producer = scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                burst(&programs, 2, count)
            });
            let timeout = if wakes { LONG } else { Duration::from_millis(300) };
            assert!(ring.wait(timeout).unwrap());
            producer.join().unwrap()
        });
        assert_eq!(woken, u64::from(wakes), "{count} records");
        assert!(start.elapsed() < LONG / 2, "{count} records: {:?}", start.elapsed());
        if wakes {
            assert!(read_all(&mut ring).len() >= 100);
        }
    }
}

/// Nothing but a program that forces it wakes a reader under `Manual`.
#[test]
fn g6_manual_is_woken_by_force_alone() {
    let programs = load(4096);
    let mut ring = reader(&programs, WakeUp::Manual);
    let start = Instant::now();
    let ready = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(5));
            assert_eq!(burst(&programs, 0, 10), 0);
        });
        ring.wait(Duration::from_millis(60)).unwrap()
    });
    assert!(ready && start.elapsed() >= Duration::from_millis(60), "{:?}", start.elapsed());
    assert_eq!(read_all(&mut ring).len(), 10);
}

/// Policies that change under a running stream lose and repeat nothing.
#[test]
fn g6_a_policy_can_change_at_any_time() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs, WakeUp::Latency);
    let policies = [WakeUp::Throughput, WakeUp::Manual, WakeUp::Latency];
    let mut seq = 0;
    let mut random = Random(3);
    for turn in 0..300 {
        ring.set_wake_up(policies[turn % 3]).unwrap();
        let count = random.below(5);
        burst(&programs, seq, count);
        let ready = ring.wait(Duration::ZERO).unwrap();
        assert_eq!(ready, count > 0);
        let expected: Vec<_> = (seq as u32..(seq + count) as u32).collect();
        assert_eq!(read_all(&mut ring), expected);
        seq += count;
    }
}

/// A waker ends a wait under every policy, also one that comes before the wait.
#[test]
fn g6_a_waker_ends_a_wait() {
    let programs = load(4096);
    for policy in [WakeUp::Latency, WakeUp::Throughput, WakeUp::Manual] {
        let mut ring = reader(&programs, policy);
        let waker = ring.waker().unwrap();
        let start = Instant::now();
        waker.wake();
        waker.clone().wake();
        assert!(!ring.wait(None).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                waker.wake();
            });
            assert!(!ring.wait(None).unwrap());
        });
        assert!(start.elapsed() < LONG / 2);
        // It was taken: the next wait takes its time.
        let start = Instant::now();
        assert!(!ring.wait(Duration::from_millis(30)).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}

/// What a reader that was killed under `Throughput` leaves is the next one's to
/// set right: the word says that nobody is to be woken.
#[test]
fn g6_a_reader_of_a_ring_that_was_left_in_any_state_sees_its_events() {
    let programs = load(4096);
    let words = words(&programs);
    for left in [1, 2, 3, 77] {
        for policy in [WakeUp::Latency, WakeUp::Throughput] {
            words.store(0, left).unwrap();
            let mut ring = reader(&programs, policy);
            let start = Instant::now();
            let ready = thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(20));
                    burst(&programs, 0, 1);
                });
                ring.wait(LONG).unwrap()
            });
            assert!(ready && start.elapsed() < LONG / 2);
            assert_eq!(read_all(&mut ring), [0]);
        }
    }
}
