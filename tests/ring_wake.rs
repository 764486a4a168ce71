//! G6: under each `WakeUp`, what wakes the reader, how long events wait, and that
//! none is forgotten.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{Array, Error, MappedArray, OpenError, Pod, RingBuf, WakeUp};
use nix::time::{ClockId, clock_gettime};
use programs::{Programs, resize, two_cpus};
use support::pin_to;
use support::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C)]
struct Timed {
    time_ns: u64,
    producer: u32,
    seq: u32,
}

/// What a record of it takes up in the ring.
const RECORD: usize = 24;
/// Longer than any wait lasts when all is well.
const LONG: Duration = Duration::from_secs(20);

fn load(bytes: u32) -> Programs {
    Programs::load_with("wake", |object| resize(object, "events", bytes))
}

fn reader(programs: &Programs, policy: WakeUp) -> RingBuf<Timed> {
    let ring = RingBuf::open(programs.map("events")).unwrap();
    let ring = ring.with_lost(programs.map("events_lost")).unwrap();
    let mut ring = ring.with_wake(programs.map("events_wake")).unwrap();
    ring.set_wake_up(policy).unwrap();
    ring
}

fn words(programs: &Programs) -> MappedArray<u64> {
    Array::open(programs.map("events_wake")).unwrap().mapped().unwrap()
}

/// What is produced: how many records from number `first`, so far apart.
#[derive(Clone, Copy, Default)]
struct Stream {
    producer: u64,
    first: u64,
    count: u64,
    gap_ns: u64,
    by_output: bool,
}

impl Stream {
    /// How many were lost, and how often the program was to wake the reader.
    fn run(self, programs: &Programs) -> (u64, u64) {
        let Self { producer, first, count, gap_ns, by_output } = self;
        let mut args = [producer, first, count, gap_ns, 0, by_output.into(), 0, 0];
        assert_eq!(programs.call("stream", &mut args), 0);
        (args[4], args[6])
    }
}

fn burst(programs: &Programs, first: u64, count: u64) -> u64 {
    let (lost, woken) = Stream { first, count, ..Stream::default() }.run(programs);
    assert_eq!(lost, 0);
    woken
}

fn now_ns() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_nanos() as u64
}

/// Numbers of what is there.
fn read_all(ring: &mut RingBuf<Timed>) -> Vec<u32> {
    let mut numbers = Vec::new();
    ring.drain(|event| numbers.push(event.seq)).unwrap();
    numbers
}

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

/// Reads on its CPU while `produce` runs on the other; how often the reader slept.
fn live(
    ring: &mut RingBuf<Timed>,
    cpus: [usize; 2],
    produce: impl FnOnce() + Send,
    mut seen: impl FnMut(&Timed) + Send,
) -> u64 {
    let waker = ring.waker().unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            pin_to(cpus[0]);
            let before = sleeps();
            while ring.wait(None).unwrap() {
                ring.drain(&mut seen).unwrap();
            }
            sleeps() - before
        });
        pin_to(cpus[1]);
        produce();
        // What is left wakes the reader by itself.
        thread::sleep(Duration::from_millis(50));
        waker.wake();
        reading.join().unwrap()
    })
}

/// How often this thread has gone to sleep.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

/// A steady stream of 200,000 a second costs one wake-up a delay, or one a mark
/// where that is sooner, and not one an event; either way nothing is lost.
#[test]
fn g6_throughput_sleeps_once_a_delay_and_loses_nothing_of_a_stream() {
    const EVENTS: u64 = 300_000;
    let test = "g6_throughput_sleeps_once_a_delay_and_loses_nothing_of_a_stream";
    let Some(cpus) = two_cpus(test) else { return };
    // This ring holds 43,690 records, a fifth of a second: without the mark, a delay of
    // many seconds would lose most of them.
    let delays = [Duration::from_millis(1), LONG];
    for (delay, by_output) in delays.into_iter().flat_map(|delay| [(delay, false), (delay, true)]) {
        let programs = load(1 << 20);
        let mut ring = reader(&programs, WakeUp::Throughput);
        ring.set_max_delay(delay);
        let (mut next, mut gaps) = (0, 0);
        let (lost, woken) = (AtomicU64::new(0), AtomicU64::new(0));
        let start = Instant::now();
        let produce = || {
            for first in (0..EVENTS).step_by(10_000) {
                let stream = Stream { first, count: 10_000, gap_ns: 5000, by_output, producer: 0 };
                let (gone, force) = stream.run(&programs);
                lost.fetch_add(gone, Ordering::Relaxed);
                woken.fetch_add(force, Ordering::Relaxed);
            }
        };
        let slept = live(&mut ring, cpus, produce, |event| {
            assert!(event.seq >= next, "out of order: {event:?}, expected {next}");
            gaps += u64::from(event.seq - next);
            next = event.seq + 1;
        });
        let (took, lost, woken) = (start.elapsed(), lost.into_inner(), woken.into_inner());
        let stats = ring.stats().unwrap();
        println!(
            "delay {delay:?}: {} delivered and {lost} lost in {took:?}, {slept} sleeps, {woken} \
             wake-ups by {}, high water {}",
            stats.delivered,
            if by_output { "output, not counted" } else { "submit" },
            stats.high_water
        );
        assert_eq!((stats.produced(), stats.accounted()), (EVENTS, EVENTS));
        assert_eq!((stats.lost(), gaps + EVENTS - u64::from(next)), (lost, lost));
        assert_eq!(lost, 0);
        // One a delay, or one for each 10,922 records, a quarter of the ring.
        let most = took.as_millis() as u64 / delay.as_millis() as u64 + EVENTS / 10_000;
        assert!(slept < 3 * most, "{slept} sleeps in {took:?}");
        if delay == LONG && !by_output {
            assert!((10..100).contains(&woken), "{woken} wake-ups by the mark");
        }
    }
}

/// A stream that stops after any number of events: no event is forgotten, none
/// waits for more than twice the delay where the CPU is idle otherwise.
#[test]
fn g6_throughput_of_a_stream_that_stops_no_event_waits_longer() {
    const TRIALS: usize = 10_000;
    let test = "g6_throughput_of_a_stream_that_stops_no_event_waits_longer";
    let Some(cpus) = two_cpus(test) else { return };
    let programs = load(64 << 10);
    let mut ring = reader(&programs, WakeUp::Throughput);
    let delay = Duration::from_millis(1);
    // Of the event of each trial that waited longest: how long, and from when.
    let mut worst = vec![(0_u64, 0_u64); TRIALS];
    let mut received = 0_u64;
    let produced = AtomicU64::new(0);
    let produce = || {
        let mut random = Random(11);
        for trial in 0..TRIALS as u64 {
            let count = 1 + random.below(if trial % 2 == 0 { 4 } else { 60 });
            let gap_ns = [0, 500, 3000, 20_000][random.below(4) as usize];
            let by_output = random.below(3) == 0;
            let stream = Stream { producer: trial, first: 0, count, gap_ns, by_output };
            assert_eq!(stream.run(&programs).0, 0);
            produced.fetch_add(count, Ordering::Relaxed);
            // Between the reader's looks, at them, and when it has gone to sleep.
            thread::sleep(Duration::from_micros(random.below(2600)));
        }
    };
    let done = AtomicBool::new(false);
    let disturbed = thread::scope(|scope| {
        let done = &done;
        let watches = cpus.map(|cpu| scope.spawn(move || watch(cpu, done)));
        let stop = support::RaiseOnDrop(done);
        live(&mut ring, cpus, produce, |event| {
            let waited = now_ns().saturating_sub(event.time_ns);
            let worst = &mut worst[event.producer as usize];
            *worst = (waited, event.time_ns).max(*worst);
            received += 1;
        });
        drop(stop);
        watches.map(|watch| watch.join().unwrap()).concat()
    });
    assert_eq!(received, produced.into_inner());

    let all: Vec<_> = worst.iter().map(|(waited, _)| *waited).collect();
    let quiet = |&(waited, from): &(u64, u64)| {
        let until = from + waited;
        !disturbed.iter().any(|&(start, end)| start < until && from < end)
    };
    let alone: Vec<_> =
        worst.iter().filter(|trial| quiet(trial)).map(|(waited, _)| *waited).collect();
    let percentiles = |mut waits: Vec<u64>| {
        waits.sort_unstable();
        [500, 990, 999, 1000].map(|at| waits[waits.len() * at / 1000 - 1] / 1000)
    };
    println!(
        "worst wait of an event in a trial, in µs at 50, 99, 99.9 and 100 %: {:?} of {TRIALS}, {:?} \
         of {} while the CPUs were idle otherwise",
        percentiles(all),
        percentiles(alone.clone()),
        alone.len()
    );
    if alone.len() < TRIALS / 4 {
        let why = format!("others had the CPUs in {} of {TRIALS} trials", TRIALS - alone.len());
        return support::skipped(test, &why);
    }
    let most = 2 * delay.as_micros() as u64;
    let [_, _, waited, _] = percentiles(alone);
    assert!(waited <= most, "99.9 %: {waited} µs");
}

/// When others had that CPU: a thread that sleeps 100 µs was late by twice that.
fn watch(cpu: usize, done: &AtomicBool) -> Vec<(u64, u64)> {
    pin_to(cpu);
    let mut late = Vec::new();
    let mut before = now_ns();
    while !done.load(Ordering::Acquire) {
        thread::sleep(Duration::from_micros(100));
        let now = now_ns();
        if now - before > 400_000 {
            late.push((before, now));
        }
        before = now;
    }
    late
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
