//! Several rings in one thread: all are heard, none holds up another, and each event
//! comes once.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/ring.rs"]
mod ring_programs;
mod support;

use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{Error, RingBuf, Rings, WakeUp, Waker};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use programs::{Programs, on_cpus, two_cpus};
use ring_programs::{Account, Numbered, load, produce, reader};

const LONG: Duration = Duration::from_secs(20);

fn woken_by(programs: &Programs, policy: WakeUp) -> RingBuf<Numbered> {
    let mut ring = reader(programs).with_wake(programs.map("events_wake")).unwrap();
    ring.set_wake_up(policy).unwrap();
    ring
}

#[test]
fn rings_each_wakes_the_reader_and_is_given_to_its_handler() {
    let programs: Vec<_> = (0..4).map(|_| load(4096)).collect();
    let policies = [WakeUp::Latency, WakeUp::Throughput, WakeUp::Manual, WakeUp::Latency];
    let seen = Mutex::new(Vec::new());
    let mut rings = Rings::new().unwrap();
    for (which, (programs, policy)) in programs.iter().zip(policies).enumerate() {
        let seen = &seen;
        let handler = move |event: &Numbered, tail: &[u8]| {
            assert!(event.is_whole() && tail.is_empty());
            seen.lock().unwrap().push((which, event.seq));
        };
        rings.add(woken_by(programs, policy), handler).unwrap();
    }
    assert_eq!(rings.len(), 4);
    assert_eq!(rings.poll(Duration::from_millis(20)).unwrap(), 0);
    for which in [2, 0, 3, 1, 1, 0] {
        let start = Instant::now();
        let count = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                produce(&programs[which], 0, 7, 2);
            });
            // One turn or two: the reader may be faster than the program.
            let mut count = 0;
            while count < 2 {
                count += rings.poll(LONG).unwrap();
            }
            count
        });
        assert!(count == 2 && start.elapsed() < LONG / 2);
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), [(which, 7), (which, 8)]);
    }
    for (name, stats) in rings.stats() {
        let stats = stats.unwrap();
        assert_eq!((name.as_str(), stats.produced()), ("events", stats.accounted()));
    }
}

/// A ring that never runs dry leaves the others their turns.
#[test]
fn rings_a_busy_one_does_not_hold_up_the_others() {
    let busy = load(1 << 20);
    let quiet = load(4096);
    let (from_busy, at_quiet, mut waited) = (AtomicU64::new(0), AtomicU64::new(0), 0);
    let mut rings = Rings::new().unwrap();
    let handler = |_: &Numbered, _: &[u8]| {
        // It makes another two for each that is taken.
        produce(&busy, 0, 0, 2);
        from_busy.fetch_add(1, Ordering::Relaxed);
    };
    rings.add(reader(&busy), handler).unwrap();
    let handler = |_: &Numbered, _: &[u8]| {
        at_quiet.store(from_busy.load(Ordering::Relaxed), Ordering::Relaxed);
    };
    rings.add(reader(&quiet), handler).unwrap();
    produce(&busy, 0, 0, 5000);
    for _ in 0..50 {
        let before = from_busy.load(Ordering::Relaxed);
        produce(&quiet, 0, 0, 1);
        while at_quiet.swap(0, Ordering::Relaxed) == 0 {
            assert!(rings.poll(LONG).unwrap() > 0);
        }
        let between = from_busy.load(Ordering::Relaxed) - before;
        waited = between.max(waited);
    }
    println!("at most {} records of the busy ring before one of the other", waited);
    assert!(waited <= 2 * 1024, "{}", waited);
}

#[test]
fn rings_an_error_of_one_is_told_and_all_go_on() {
    let programs = [load(4096), load(4096)];
    let seen = Mutex::new(Vec::new());
    let mut rings = Rings::new().unwrap();
    for (which, programs) in programs.iter().enumerate() {
        let seen = &seen;
        let handler =
            move |event: &Numbered, _: &[u8]| seen.lock().unwrap().push((which, event.seq));
        rings.add(reader(programs), handler).unwrap();
    }
    for (seq, size) in [(0, 24), (1, 100), (2, 24)] {
        assert_eq!(programs[0].call("produce_sized", &mut [0, seq, size]), 0);
    }
    produce(&programs[1], 0, 0, 3);
    let mut errors = 0;
    loop {
        match rings.poll(Duration::ZERO) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Error::RecordSize { found: 100, .. }) => errors += 1,
            Err(other) => panic!("{other}"),
        }
    }
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!((errors, &seen[..]), (1, &[(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)][..]));
}

#[test]
fn rings_a_panic_of_a_handler_consumes_its_record_and_no_other() {
    let programs = load(4096);
    let seen = Mutex::new(Vec::new());
    let mut rings = Rings::new().unwrap();
    let handler = |event: &Numbered, _: &[u8]| {
        seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(event.seq);
        if event.seq % 3 == 1 {
            resume_unwind(Box::new("given up"));
        }
    };
    rings.add(reader(&programs), handler).unwrap();
    produce(&programs, 0, 0, 10);
    let mut panics = 0;
    loop {
        match catch_unwind(AssertUnwindSafe(|| rings.poll(Duration::ZERO).unwrap())) {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => panics += 1,
        }
    }
    let seen = seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    assert_eq!((panics, &seen[..]), (3, &(0..10).collect::<Vec<_>>()[..]));
}

#[track_caller]
fn is_ended_by(rings: &mut Rings<'_>, waker: &Waker) {
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(30));
            waker.wake();
        });
        assert_eq!(rings.poll(None).unwrap(), 0);
    });
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn rings_a_waker_ends_a_poll_and_the_descriptor_tells_of_events() {
    let programs = load(4096);
    let mut rings = Rings::new().unwrap();
    let waker = rings.waker().unwrap();
    // Without a ring, too.
    waker.wake();
    assert_eq!(rings.poll(None).unwrap(), 0);
    rings.add(reader(&programs), |_: &Numbered, _: &[u8]| {}).unwrap();
    is_ended_by(&mut rings, &waker);

    let readable = |rings: &Rings<'_>| {
        let mut fds = [PollFd::new(rings.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    };
    assert!(!readable(&rings));
    produce(&programs, 0, 0, 2);
    assert!(readable(&rings));
    assert_eq!(rings.poll(Duration::ZERO).unwrap(), 2);
    assert!(!readable(&rings));
}

/// Also one that was rung before the ring came, and one from in there.
#[test]
fn rings_a_waker_of_a_ring_goes_with_it_and_comes_back() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    let waker = ring.waker().unwrap();
    let mut rings = Rings::new().unwrap();
    waker.wake();
    let key = rings.add(ring, |_: &Numbered, _: &[u8]| {}).unwrap();
    assert_eq!(rings.poll(None).unwrap(), 0, "the one that was on its way");
    let inside = rings.get_mut(key).unwrap().waker().unwrap();
    for waker in [&waker, &inside, &waker.clone()] {
        is_ended_by(&mut rings, waker);
        // It was taken.
        let start = Instant::now();
        assert_eq!(rings.poll(Duration::from_millis(30)).unwrap(), 0);
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    let mut ring = rings.remove(key).unwrap();
    let start = Instant::now();
    assert!(!ring.wait(Duration::from_millis(30)).unwrap(), "nothing was left behind");
    assert!(start.elapsed() >= Duration::from_millis(30));
    waker.wake();
    assert!(!ring.wait(None).unwrap());
    let start = Instant::now();
    assert_eq!(rings.poll(Duration::from_millis(30)).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(30), "it woke its former reader");
}

/// A ring moves while somebody rings all the time: the last one is heard.
#[test]
fn rings_no_wake_up_is_lost_while_a_ring_moves() {
    let programs = load(4096);
    let mut ring = Some(reader(&programs));
    let waker = ring.as_mut().unwrap().waker().unwrap();
    let mut rings = Rings::new().unwrap();
    for _ in 0..500 {
        let key = thread::scope(|scope| {
            let rung = scope.spawn(|| (0..20).for_each(|_| waker.wake()));
            let key = rings.add(ring.take().unwrap(), |_: &Numbered, _: &[u8]| {}).unwrap();
            rung.join().unwrap();
            key
        });
        let start = Instant::now();
        assert_eq!(rings.poll(LONG).unwrap(), 0);
        assert!(start.elapsed() < LONG / 2);
        ring = rings.remove(key);
    }
}

#[test]
fn rings_give_a_ring_by_its_key_for_its_stats_and_its_policy() {
    let programs = [load(4096), load(4096), load(4096)];
    let seen = Mutex::new(Vec::new());
    let mut rings = Rings::new().unwrap();
    let mut others = Rings::new().unwrap();
    let [a, b, c] = [0, 1, 2].map(|which| {
        let seen = &seen;
        let handler =
            move |event: &Numbered, _: &[u8]| seen.lock().unwrap().push((which, event.seq));
        rings.add(woken_by(&programs[which], WakeUp::Latency), handler).unwrap()
    });
    assert!(others.get(a).is_none() && others.get_mut(a).is_none());
    assert!(others.remove(a).is_none());

    rings.get_mut(b).unwrap().set_wake_up(WakeUp::Throughput).unwrap();
    let policies = [a, b, c].map(|key| rings.get(key).unwrap().wake_up());
    assert_eq!(policies, [WakeUp::Latency, WakeUp::Throughput, WakeUp::Latency]);
    let all = |rings: &mut Rings<'_>| {
        while rings.poll(Duration::from_millis(20)).unwrap() > 0 {}
        let mut seen = std::mem::take(&mut *seen.lock().unwrap());
        seen.sort_unstable();
        seen
    };
    for (which, programs) in programs.iter().enumerate() {
        produce(programs, 0, 0, 1 + which as u64);
    }
    assert_eq!(all(&mut rings), [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]);
    assert_eq!([a, b, c].map(|key| rings.get(key).unwrap().stats().unwrap().delivered), [1, 2, 3]);

    // Out of turn, and with a record that is leaked: it was read, and what comes after it
    // wakes the reader.
    produce(&programs[0], 0, 1, 1);
    std::mem::forget(rings.get_mut(a).unwrap().next().unwrap().unwrap());
    assert_eq!(rings.poll(Duration::ZERO).unwrap(), 0);
    produce(&programs[0], 0, 2, 1);
    assert_eq!(all(&mut rings), [(0, 2)]);

    // What is removed is read by whoever has it, and the others go on.
    let mut ring = rings.remove(b).unwrap();
    assert!(rings.remove(b).is_none() && rings.get(b).is_none());
    for programs in &programs {
        produce(programs, 0, 9, 1);
    }
    assert_eq!(all(&mut rings), [(0, 9), (2, 9)]);
    assert_eq!((rings.len(), ring.wake_up()), (2, WakeUp::Throughput));
    assert!(ring.wait(LONG).unwrap());
    assert_eq!(ring.next().unwrap().unwrap().seq, 9);
    rings.add(ring, |_: &Numbered, _: &[u8]| {}).unwrap();
    produce(&programs[1], 0, 10, 1);
    assert_eq!(rings.poll(LONG).unwrap(), 1);
}

/// Producers on two CPUs, each into both rings of other policies.
#[test]
fn rings_deliver_or_count_everything_under_load() {
    const EACH: u64 = 200_000;
    let test = "rings_deliver_or_count_everything_under_load";
    let Some(cpus) = two_cpus(test) else { return };
    let programs = [load(64 << 10), load(256 << 10)];
    let accounts = [Mutex::new(Account::default()), Mutex::new(Account::default())];
    let mut rings = Rings::new().unwrap();
    let policies = [WakeUp::Latency, WakeUp::Throughput];
    for ((programs, account), policy) in programs.iter().zip(&accounts).zip(policies) {
        let handler = move |event: &Numbered, _: &[u8]| account.lock().unwrap().see(event);
        rings.add(woken_by(programs, policy), handler).unwrap();
    }
    let waker = rings.waker().unwrap();
    let lost = thread::scope(|scope| {
        let producers = scope.spawn(|| {
            let lost = on_cpus(&cpus, |producer, _| {
                let mut lost = [0; 2];
                for first in (0..EACH).step_by(100) {
                    for (programs, lost) in programs.iter().zip(&mut lost) {
                        *lost += produce(programs, producer as u64, first, 100);
                    }
                    thread::sleep(Duration::from_micros(first % 7 * 10));
                }
                lost
            });
            waker.wake();
            lost
        });
        while rings.poll(None).unwrap() > 0 {}
        producers.join().unwrap()
    });
    for (which, (account, (_, stats))) in accounts.iter().zip(rings.stats()).enumerate() {
        let (account, stats) = (account.lock().unwrap(), stats.unwrap());
        println!("{stats:?}");
        assert_eq!((stats.produced(), stats.accounted()), (2 * EACH, 2 * EACH));
        assert_eq!(account.gaps(EACH), [0, 1].map(|producer| lost[producer][which]));
        assert_eq!(account.received(), stats.delivered);
    }
}

/// A ring that gets into another `Rings` by way of `get_mut` takes the waker of neither along.
#[test]
fn rings_wake_their_own_reader_whatever_became_of_their_rings() {
    let ring = |name| RingBuf::<u64>::create(name, 1 << 16).unwrap();
    let (mut one, mut other) = (Rings::new().unwrap(), Rings::new().unwrap());
    let in_one = one.add(ring("first"), |_, _| {}).unwrap();
    let wakes = |rings: &mut Rings<'_>| {
        let start = Instant::now();
        rings.waker().unwrap().wake();
        assert_eq!(rings.poll(LONG).unwrap(), 0);
        assert!(start.elapsed() < LONG / 2);
    };
    let taken = std::mem::replace(one.get_mut(in_one).unwrap(), ring("second"));
    let in_other = other.add(taken, |_, _| {}).unwrap();
    wakes(&mut one);
    wakes(&mut other);
    let taken = std::mem::replace(other.get_mut(in_other).unwrap(), ring("third"));
    one.add(taken, |_, _| {}).unwrap();
    wakes(&mut one);
    wakes(&mut other);
}
