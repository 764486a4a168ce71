//! G6: data that is there is never slept on, a busy record is never spun on,
//! and a wait takes as long as it was told.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/ring.rs"]
mod ring_programs;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;
use programs::{Programs, await_for, two_cpus};
use ring_programs::{load, produce, produce_with, read_all, reader};
use support::{pin_to, sleeps};

const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
/// Longer than any test waits when all is well.
const LONG: Duration = Duration::from_secs(20);

/// The time that this thread has spent on a CPU.
fn cpu_time() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap())
}

/// What `f` gives, how long it took and how much CPU time of this thread.
fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration, Duration) {
    let (start, cpu) = (Instant::now(), cpu_time());
    let result = f();
    (result, start.elapsed(), cpu_time() - cpu)
}

/// Calls `f` after a while, in another thread, and `wait` in this one meanwhile.
fn meanwhile<T>(f: impl FnOnce() + Send, wait: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            f();
        });
        wait()
    })
}

#[test]
fn g6_i18_data_that_is_there_is_not_slept_on() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    for flags in [0, NO_WAKEUP, FORCE_WAKEUP] {
        for timeout in [Some(Duration::ZERO), Some(LONG), Some(Duration::MAX), None] {
            produce_with(&programs, 0, 0, 1, flags);
            let (ready, took, _) = timed(|| ring.wait(timeout).unwrap());
            assert!(ready && took < LONG / 2, "{timeout:?}, flags {flags}: {took:?}");
            assert_eq!(read_all(&mut ring), [0]);
        }
    }
}

#[test]
fn g6_i18_a_wait_ends_when_a_record_comes_however_long_it_was_to_be() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    let timeouts = [
        Some(LONG),
        // More than a timespec, an Instant or poll's milliseconds hold.
        Some(Duration::from_millis(1 << 32)),
        Some(Duration::from_secs(i64::MAX as u64 / 2)),
        Some(Duration::from_secs(i64::MAX as u64 - 1_000_000_000)),
        Some(Duration::from_secs(u64::MAX)),
        Some(Duration::MAX),
        None,
    ];
    for (seq, timeout) in timeouts.into_iter().enumerate() {
        let (ready, took, _) = meanwhile(
            || assert_eq!(produce(&programs, 0, seq as u64, 1), 0),
            || timed(|| ring.wait(timeout).unwrap()),
        );
        assert!(ready && took < LONG / 2, "{timeout:?}: {ready} after {took:?}");
        assert_eq!(read_all(&mut ring), [seq as u32]);
    }
}

#[test]
fn g6_a_wait_without_data_takes_its_time_and_no_less() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    for micros in [0, 1, 100, 900, 1500, 30_000] {
        let timeout = Duration::from_micros(micros);
        let (ready, took, _) = timed(|| ring.wait(timeout).unwrap());
        assert!(!ready);
        assert!(took >= timeout, "{timeout:?}: back after {took:?}");
        assert!(took < timeout + Duration::from_secs(5), "{timeout:?}: {took:?}");
    }
}

/// What was submitted with `BPF_RB_NO_WAKEUP` while a reader sleeps wakes it
/// not, but the reader looks before it gives up.
#[test]
fn g6_i18_data_that_wakes_no_one_is_seen_at_the_end_of_the_wait() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    let timeout = Duration::from_millis(400);
    let (ready, took, _) = meanwhile(
        || assert_eq!(produce_with(&programs, 0, 0, 3, NO_WAKEUP), 0),
        || timed(|| ring.wait(timeout).unwrap()),
    );
    println!("data without a wake-up: seen after {took:?} of {timeout:?}");
    assert!(ready, "data was there when the wait ended");
    assert_eq!(read_all(&mut ring), [0, 1, 2]);
}

/// A submission behind one without a wake-up wakes no one either, since the
/// kernel takes the reader for busy. Even a wait without an end finds both.
#[test]
fn g6_i18_a_wait_without_end_does_not_sleep_on_data_that_wakes_no_one() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    for second in [NO_WAKEUP, 0] {
        let (ready, took, _) = meanwhile(
            || {
                produce_with(&programs, 0, 0, 1, NO_WAKEUP);
                produce_with(&programs, 0, 1, 1, second);
            },
            || timed(|| ring.wait(None).unwrap()),
        );
        assert!(ready && took < LONG / 2, "{took:?}");
        assert_eq!(read_all(&mut ring), [0, 1]);
    }
}

/// Every order of two submissions with any wake-up: all records come, and no
/// wait outlasts its timeout.
#[test]
fn g6_i18_no_mix_of_wake_ups_hides_a_record() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    let timeout = Duration::from_millis(250);
    let flags = [0, NO_WAKEUP, FORCE_WAKEUP];
    for first in flags {
        for second in flags {
            let (mut seen, start) = (Vec::new(), Instant::now());
            meanwhile(
                || {
                    produce_with(&programs, 0, 0, 1, first);
                    produce_with(&programs, 0, 1, 1, second);
                },
                || {
                    while seen.len() < 2 && start.elapsed() < 4 * timeout {
                        if ring.wait(timeout).unwrap() {
                            seen.extend(read_all(&mut ring));
                        }
                    }
                },
            );
            println!("flags {first}, then {second}: both seen after {:?}", start.elapsed());
            assert_eq!(seen, [0, 1], "flags {first} and {second}");
        }
    }
}

/// Runs `test` while a program on another CPU holds a reserved record, number
/// 0, busy; the record is submitted when `test` stores 1 in word 2.
fn while_busy<T>(
    name: &str,
    programs: &Programs,
    discard: bool,
    test: impl FnOnce() -> T + Send,
) -> Option<T>
where
    T: Send,
{
    let [here, there] = two_cpus(name)?;
    let control = programs.control();
    control.store(1, 0).unwrap();
    control.store(2, 0).unwrap();
    let result = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            pin_to(there);
            let most = Duration::from_secs(4).as_nanos() as u64;
            programs.call("hold", &mut [0, 0, most, u64::from(discard)])
        });
        let tester = scope.spawn(|| {
            pin_to(here);
            await_for("a busy record", || control.load(1).unwrap() == 1);
            test()
        });
        let result = tester.join();
        // Also after a failure, so that the program need not wait in vain.
        control.store(2, 1).unwrap();
        assert_eq!(holder.join().unwrap(), 0, "the program waited in vain");
        result
    });
    Some(result.unwrap())
}

#[test]
fn g6_i18_a_busy_record_is_waited_for_without_spinning() {
    let test = "g6_i18_a_busy_record_is_waited_for_without_spinning";
    let programs = load(4096);
    let mut ring = reader(&programs);
    let waited = while_busy(test, &programs, false, || {
        assert!(ring.waiting() > 0 && ring.next().unwrap().is_none());
        assert_eq!(ring.drain(|_| {}).unwrap(), 0);
        let before = sleeps();
        let waited = timed(|| ring.wait(Duration::from_millis(600)).unwrap());
        (waited, sleeps() - before)
    });
    let Some(((ready, took, cpu), sleeps)) = waited else { return };
    println!("waited {took:?} for a busy record, {cpu:?} of it on the CPU, in {sleeps} sleeps");
    assert!(!ready, "it was not committed yet");
    assert!(took >= Duration::from_millis(600));
    assert!(cpu < took / 4, "{cpu:?} of {took:?} on the CPU");
    // On a CPU that others use, who spins has little of it as well, but never sleeps.
    assert!(sleeps > 5, "{sleeps} sleeps");
}

#[test]
fn g6_i18_a_busy_record_is_seen_as_soon_as_it_is_submitted() {
    let test = "g6_i18_a_busy_record_is_seen_as_soon_as_it_is_submitted";
    let programs = load(4096);
    let mut ring = reader(&programs);
    let control = programs.control();
    let seen = while_busy(test, &programs, false, || {
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(150));
                control.store(2, 1).unwrap();
            });
            let (ready, took, _) = timed(|| ring.wait(LONG).unwrap());
            assert!(ready && took < Duration::from_secs(3), "{ready} after {took:?}");
            assert_eq!(read_all(&mut ring), [0]);
            took
        })
    });
    println!("a record that was busy for 150 ms: seen after {seen:?}");
}

/// Records behind a busy one wait for it, then come in order; one that is given
/// up in the end is passed over.
#[test]
fn g6_i18_records_behind_a_busy_one_come_in_order_when_it_is_done() {
    let test = "g6_i18_records_behind_a_busy_one_come_in_order_when_it_is_done";
    let programs = load(4096);
    let mut ring = reader(&programs);
    for discard in [false, true] {
        let done = while_busy(test, &programs, discard, || {
            assert_eq!(produce(&programs, 1, 1, 5), 0);
            assert!(ring.next().unwrap().is_none(), "the busy one is first");
            assert!(!ring.wait(Duration::from_millis(20)).unwrap());
        });
        if done.is_none() {
            return;
        }
        assert!(ring.wait(LONG).unwrap());
        assert_eq!(read_all(&mut ring), (u32::from(discard)..6).collect::<Vec<_>>());
    }
}

/// Signals that are handled interrupt `ppoll`; the wait goes on.
#[test]
fn g6_a_signal_during_a_wait_is_not_an_error() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    let came = Arc::new(AtomicBool::new(false));
    let handler = signal_hook::flag::register(signal_hook::consts::SIGUSR1, came.clone()).unwrap();

    // This thread gets the signal every 5 ms.
    let event = SigEvent::new(SigevNotify::SigevThreadId {
        signal: Signal::SIGUSR1,
        thread_id: gettid().as_raw(),
        si_value: 0,
    });
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event).unwrap();
    let period = Duration::from_millis(5).into();
    timer.set(Expiration::Interval(period), TimerSetTimeFlags::empty()).unwrap();

    let timeout = Duration::from_millis(200);
    let (ready, took, cpu) = timed(|| ring.wait(timeout).unwrap());
    assert!(!ready && took >= timeout, "{ready} after {took:?}");
    assert!(came.load(Ordering::Acquire), "no signal came, so nothing was shown");
    println!("a wait of {timeout:?} under signals: {took:?}, {cpu:?} on the CPU");

    let ready =
        meanwhile(|| assert_eq!(produce(&programs, 0, 7, 1), 0), || ring.wait(None).unwrap());
    assert!(ready);
    assert_eq!(read_all(&mut ring), [7]);
    drop(timer);
    signal_hook::low_level::unregister(handler);
}

/// The descriptor tells `poll` and `epoll` of others what `wait` is told.
#[test]
fn g6_the_descriptor_is_readable_while_records_are_there() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;

    let programs = load(4096);
    let mut ring = reader(&programs);
    let readable = |ring: &bpf_atlas::RingBuf<_>| {
        let mut fds = [PollFd::new(ring.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    };
    assert!(!readable(&ring));
    produce(&programs, 0, 0, 2);
    assert!(readable(&ring));
    assert_eq!(ring.next().unwrap().unwrap().seq, 0);
    assert!(readable(&ring));
    assert_eq!(read_all(&mut ring), [1]);
    assert!(!readable(&ring));
    produce(&programs, 0, 2, 100);
    assert_eq!(ring.drain(|_| {}).unwrap(), 100);
    assert!(!readable(&ring), "all that was drained was given back");
}
