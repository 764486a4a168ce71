//! Rings in a tokio runtime: everything arrives once, whoever cancels what.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/ring.rs"]
mod ring_programs;
mod support;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{AsyncRingBuf, Error, RingBuf, WakeUp};
use futures_core::Stream;
use programs::Programs;
use ring_programs::{Account, Numbered, load, produce, produce_with, reader};
use tokio::runtime::Builder;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

fn run<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn woken_by(programs: &Programs, policy: WakeUp) -> RingBuf<Numbered> {
    let mut ring = reader(programs).with_wake(programs.map("events_wake")).unwrap();
    ring.set_wake_up(policy).unwrap();
    ring
}

/// Calls `f` after a while, in another thread.
fn later(f: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(60));
        f();
    })
}

#[test]
fn tokio_recv_waits_for_an_event_and_is_woken_by_it() {
    for policy in [WakeUp::Latency, WakeUp::Throughput, WakeUp::Manual] {
        let programs = load(4096);
        let ring = woken_by(&programs, policy);
        thread::scope(|scope| {
            scope.spawn(|| {
                for seq in 0..3 {
                    thread::sleep(Duration::from_millis(30));
                    produce(&programs, 0, seq, 1);
                }
            });
            run(async {
                let mut ring = AsyncRingBuf::new(ring).unwrap();
                let start = Instant::now();
                for seq in 0..3 {
                    let record = timeout(LONG, ring.recv()).await.unwrap().unwrap();
                    assert!(record.is_whole() && record.seq == seq, "{record:?}");
                }
                assert!(start.elapsed() < LONG / 2, "{policy:?}");
                assert!(timeout(Duration::from_millis(20), ring.recv()).await.is_err());
                assert_eq!(ring.get_ref().delivered(), 3);
            });
        });
    }
}

/// Data that wakes nobody is seen all the same.
#[test]
fn tokio_recv_does_not_sleep_on_data_that_wakes_no_one() {
    let programs = std::sync::Arc::new(load(4096));
    let ring = reader(&programs);
    run(async {
        let mut ring = AsyncRingBuf::new(ring).unwrap();
        let other = programs.clone();
        let thread = later(move || {
            produce_with(&other, 0, 0, 1, 1);
            produce_with(&other, 0, 1, 1, 0);
        });
        for seq in 0..2 {
            let record = timeout(LONG / 2, ring.recv()).await.unwrap().unwrap();
            assert_eq!(record.seq, seq);
        }
        thread.join().unwrap();
    });
}

#[test]
fn tokio_a_record_of_the_wrong_size_is_an_error_and_the_next_one_comes() {
    let programs = load(4096);
    let ring = reader(&programs);
    for (seq, size) in [(0, 24), (1, 100), (2, 24)] {
        assert_eq!(programs.call("produce_sized", &mut [0, seq, size]), 0);
    }
    run(async {
        let mut ring = AsyncRingBuf::new(ring).unwrap();
        assert_eq!(ring.recv().await.unwrap().seq, 0);
        let error = ring.recv().await.unwrap_err();
        assert!(matches!(error, Error::RecordSize { found: 100, .. }), "{error}");
        assert_eq!(ring.recv().await.unwrap().seq, 2);
        let ring = ring.into_inner();
        assert_eq!((ring.delivered(), ring.refused()), (2, 1));
    });
}

#[test]
fn tokio_a_ring_is_a_stream_of_copies() {
    let programs = load(4096);
    let ring = reader(&programs);
    produce(&programs, 0, 0, 100);
    run(async {
        let mut ring = pin!(AsyncRingBuf::new(ring).unwrap());
        for seq in 0..100 {
            let event = poll_fn(|context| ring.as_mut().poll_next(context)).await;
            assert_eq!(event.unwrap().unwrap().seq, seq);
        }
        let next = poll_fn(|context| match ring.as_mut().poll_next(context) {
            Poll::Pending => Poll::Ready(None),
            Poll::Ready(event) => Poll::Ready(Some(event)),
        });
        assert!(next.await.is_none(), "it has no end, only nothing yet");
    });
}

/// Four rings in one `select!`, each future dropped as soon as another is ready, a
/// million times, also before it is ready at all.
#[test]
fn tokio_a_million_cancelled_futures_of_four_rings_lose_nothing() {
    const EACH: u64 = 250_000;
    let programs: Vec<_> = (0..4).map(|_| load(64 << 10)).collect();
    let policies = [WakeUp::Latency, WakeUp::Throughput, WakeUp::Latency, WakeUp::Throughput];
    let rings: Vec<_> = programs
        .iter()
        .zip(policies)
        .map(|(programs, policy)| woken_by(programs, policy))
        .collect();
    let (done, received) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut accounts = [(); 4].map(|()| Account::default());
    let mut cancelled = 0_u64;
    let lost = thread::scope(|scope| {
        let (programs, done, received) = (&programs, &done, &received);
        let producer = scope.spawn(move || {
            let _done = support::RaiseOnDrop(done);
            let mut lost = [0; 4];
            for first in (0..EACH).step_by(100) {
                for (programs, lost) in programs.iter().zip(&mut lost) {
                    *lost += produce(programs, 0, first, 100);
                }
                // Far behind what is produced, or most of it would be lost.
                while !done.load(Ordering::Acquire)
                    && 4 * first
                        > received.load(Ordering::Relaxed) + lost.iter().sum::<u64>() + 2000
                {
                    thread::yield_now();
                }
            }
            lost
        });
        // Also after a failure, or the producer would wait for ever.
        let _done = support::RaiseOnDrop(done);
        run(async {
            let mut rings = rings.into_iter().map(|ring| AsyncRingBuf::new(ring).unwrap());
            let [mut a, mut b, mut c, mut d] = [(); 4].map(|()| rings.next().unwrap());
            loop {
                let last = done.load(Ordering::Acquire);
                // Polled once and dropped, whatever it says.
                {
                    let mut early = pin!(d.readable());
                    let _ = poll_fn(|context| Poll::Ready(early.as_mut().poll(context))).await;
                }
                let quiet = tokio::time::sleep(Duration::from_millis(30));
                // Those that are not the first are dropped where they are.
                let quiet = tokio::select! {
                    record = a.recv() => { accounts[0].see(&record.unwrap()); false }
                    record = b.recv() => { accounts[1].see(&record.unwrap()); false }
                    record = c.recv() => { accounts[2].see(&record.unwrap()); false }
                    record = d.recv() => { accounts[3].see(&record.unwrap()); false }
                    () = quiet => true,
                };
                received.fetch_add(u64::from(!quiet), Ordering::Relaxed);
                cancelled += 4;
                if quiet && last {
                    break;
                }
            }
        });
        producer.join().unwrap()
    });
    for (account, lost) in accounts.iter().zip(lost) {
        assert_eq!(account.received() + lost, EACH);
        assert_eq!(account.gaps(EACH)[0], lost);
    }
    println!("{cancelled} futures cancelled, lost in the kernel: {lost:?}");
    assert!(cancelled >= 1_000_000);
}
