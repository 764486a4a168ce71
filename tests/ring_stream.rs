//! G6: streams of events under `WakeUp::Throughput`: how often the reader sleeps, how long
//! events wait, and that none is forgotten.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;
#[path = "support/wake.rs"]
mod wake;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{RingBuf, WakeUp};
use programs::two_cpus;
use support::random::Random;
use support::{pin_to, sleeps};
use wake::{LONG, Stream, Timed, load, now_ns, reader};

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
