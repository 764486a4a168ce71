//! G6: delivered + lost = produced, exactly, in order and whole, whatever the
//! reader does.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/ring.rs"]
mod ring_programs;
mod support;

use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bpf_atlas::{Error, OpenError, RingBuf};
use programs::{on_cpus, two_cpus};
use ring_programs::{Account, Numbered, load, produce, read_all, reader};

/// Records of one run of a producer.
const RUN: u64 = 200;

/// Two producers, each on its CPU, produce `each` records while `read` is
/// called over and over; then everything must add up.
fn adds_up(
    test: &str,
    bytes: u32,
    each: u64,
    mut read: impl FnMut(&mut RingBuf<Numbered>, &mut Account),
) -> Option<u64> {
    let cpus = two_cpus(test)?;
    let programs = load(bytes);
    let mut ring = reader(&programs);
    let mut account = Account::default();
    let left = AtomicUsize::new(2);
    let lost: Vec<u64> = thread::scope(|scope| {
        let producers = scope.spawn(|| {
            on_cpus(&cpus, |producer, _| {
                let mut lost = 0;
                for first in (0..each).step_by(RUN as usize) {
                    lost += produce(&programs, producer as u64, first, RUN);
                    // The reader has no CPU of its own.
                    thread::yield_now();
                }
                left.fetch_sub(1, Ordering::AcqRel);
                lost
            })
        });
        while left.load(Ordering::Acquire) > 0 {
            read(&mut ring, &mut account);
        }
        producers.join().unwrap()
    });
    while let Some(record) = ring.next().unwrap() {
        account.see(&record);
    }
    is_settled(&ring, &account, each, &lost);
    Some(account.received())
}

/// Delivered + lost = produced, for the ring and for each producer.
fn is_settled(ring: &RingBuf<Numbered>, account: &Account, each: u64, lost: &[u64]) {
    assert_eq!(ring.waiting(), 0);
    let totals = ring.totals().unwrap();
    println!(
        "{} bytes: {} produced, {} delivered, {} lost",
        ring.capacity(),
        2 * each,
        ring.delivered(),
        totals.lost
    );
    assert_eq!(account.gaps(each), lost, "gaps in the numbers of each producer");
    assert_eq!(ring.lost().unwrap(), lost.iter().sum::<u64>());
    assert_eq!(totals.submitted, account.received());
    assert_eq!(ring.delivered(), account.received());
    assert_eq!(ring.delivered() + totals.lost, 2 * each);
    assert_eq!(ring.refused(), 0);
}

/// Reads like one who has other things to do.
fn read_slowly(ring: &mut RingBuf<Numbered>, account: &mut Account) {
    for _ in 0..512 {
        let Some(record) = ring.next().unwrap() else { break };
        account.see(&record);
    }
    thread::sleep(Duration::from_micros(300));
}

#[test]
fn g6_of_a_million_records_each_is_delivered_or_counted_as_lost_by_next() {
    let test = "g6_of_a_million_records_each_is_delivered_or_counted_as_lost_by_next";
    let delivered = adds_up(test, 64 << 10, 500_000, read_slowly);
    assert!(delivered.is_none_or(|delivered| delivered > 1000));
}

#[test]
fn g6_of_a_million_records_each_is_delivered_or_counted_as_lost_by_drain() {
    let test = "g6_of_a_million_records_each_is_delivered_or_counted_as_lost_by_drain";
    let delivered = adds_up(test, 64 << 10, 500_000, |ring, account| {
        ring.drain(|record| account.see(record)).unwrap();
        thread::sleep(Duration::from_micros(300));
    });
    assert!(delivered.is_none_or(|delivered| delivered > 1000));
}

#[test]
fn g6_i16_rings_from_one_page_to_a_megabyte_add_up() {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap();
    let mut bytes = page as u32;
    while bytes <= 1 << 20 {
        adds_up("g6_i16_rings_from_one_page_to_a_megabyte_add_up", bytes, 40_000, read_slowly);
        bytes *= 2;
    }
}

/// A leaked record is consumed when the next one is asked for, and until then
/// no producer writes over it.
#[test]
fn g6_leaked_records_come_once_and_whole() {
    let mut turn = 0;
    adds_up("g6_leaked_records_come_once_and_whole", 64 << 10, 200_000, |ring, account| {
        if let Some(record) = ring.next().unwrap() {
            turn += 1;
            if turn % 3 > 0 {
                account.see(&record);
                forget(record);
            } else {
                thread::yield_now();
                account.see(&record);
            }
        }
        if turn % 50 == 0 {
            // A drain behind a leaked record, too, and a wait.
            ring.drain(|record| account.see(record)).unwrap();
            ring.wait(Duration::ZERO).unwrap();
        }
    });
}

/// Unwinds without the message of a panic.
fn give_up() -> ! {
    resume_unwind(Box::new("given up"))
}

#[test]
fn g6_a_panic_in_the_closure_of_drain_consumes_that_record_and_no_other() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs);
    assert_eq!(produce(&programs, 0, 0, 300), 0);
    let mut seen = Vec::new();
    // Also where a drain gives memory back, which is every 64 records.
    for end in [0, 10, 63, 64, 65, 191, 299] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            ring.drain(|record| {
                assert!(record.is_whole());
                seen.push(record.seq);
                if record.seq == end {
                    give_up();
                }
            })
        }));
        panicked.unwrap_err();
        assert_eq!(seen, (0..=end).collect::<Vec<_>>());
        assert_eq!(ring.waiting(), (299 - end) as usize * 32);
    }
    assert_eq!(ring.delivered(), 300);
    assert_eq!(produce(&programs, 0, 300, 5), 0);
    assert_eq!(read_all(&mut ring), [300, 301, 302, 303, 304]);
}

#[test]
fn g6_a_panic_while_a_record_is_held_consumes_that_record_and_no_other() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs);
    produce(&programs, 0, 0, 10);
    assert_eq!(ring.next().unwrap().unwrap().seq, 0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let record = ring.next().unwrap().unwrap();
        assert_eq!(record.seq, 1);
        give_up();
    }));
    panicked.unwrap_err();
    assert_eq!(read_all(&mut ring), (2..10).collect::<Vec<_>>());
    assert_eq!((ring.delivered(), ring.lost().unwrap()), (10, 0));
}

/// What was produced meanwhile is for the next drain, or it might never end.
#[test]
fn g6_a_drain_ends_with_what_was_there_when_it_began() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs);
    produce(&programs, 0, 0, 100);
    let mut next = 100;
    let drained = ring.drain(|_| {
        produce(&programs, 0, next, 1);
        next += 1;
        assert!(next < 1000, "a drain without end");
    });
    assert_eq!(drained.unwrap(), 100);
    assert_eq!(ring.drain(|_| {}).unwrap(), 100);
    assert_eq!(ring.drain(|_| {}).unwrap(), 0);
}

/// A full ring loses what comes and keeps what it has; once read, it goes on.
#[test]
fn g6_a_full_ring_keeps_what_it_has() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    // 4096 bytes hold 127 records of 24 bytes and their headers.
    assert_eq!(produce(&programs, 0, 0, 1000), 1000 - 127);
    assert_eq!(ring.lost().unwrap(), 1000 - 127);
    assert_eq!(read_all(&mut ring), (0..127).collect::<Vec<_>>());
    assert_eq!(produce(&programs, 0, 1000, 127), 0);
    // One read is room for one.
    assert_eq!(ring.next().unwrap().unwrap().seq, 1000);
    assert_eq!(produce(&programs, 0, 1127, 2), 1);
    assert_eq!(read_all(&mut ring), (1001..=1127).collect::<Vec<_>>());
    assert_eq!((ring.delivered(), ring.lost().unwrap()), (255, 874));
}

/// Producers that find the ring full must not find room in a record that is
/// still being looked at: held, leaked, or in the closure of a drain.
#[test]
fn g6_no_producer_writes_over_a_record_that_is_looked_at() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    assert_eq!(produce(&programs, 0, 0, 127), 0);
    let record = ring.next().unwrap().unwrap();
    let before = *record;
    assert_eq!(produce(&programs, 0, 1000, 10), 10, "there is no room");
    assert_eq!(*record, before);
    forget(record);
    assert_eq!(produce(&programs, 0, 1000, 10), 10, "a leaked record is not consumed yet");
    let mut count = 0;
    let drained = ring.drain(|record| {
        let before = *record;
        assert!(record.is_whole());
        produce(&programs, 0, 1000, 200);
        assert_eq!(*record, before);
        count += 1;
    });
    assert_eq!((drained.unwrap(), count), (126, 126));
    assert!(read_all(&mut ring).iter().all(|&seq| seq >= 1000));
}

#[test]
fn g6_a_ring_without_its_totals_says_so() {
    let programs = load(4096);
    let ring = RingBuf::<Numbered>::open(programs.map("events")).unwrap();
    assert!(matches!(ring.lost(), Err(Error::Unsupported { .. })));
    let wrong = ring.with_lost(programs.map("control")).unwrap_err();
    assert!(matches!(wrong, OpenError::Kind { .. }), "{wrong}");
}

#[test]
fn g6_only_a_ring_is_opened_as_one() {
    let programs = load(4096);
    let error = RingBuf::<Numbered>::open(programs.map("events_lost")).unwrap_err();
    assert!(matches!(error, OpenError::Kind { wanted: "RingBuf", .. }), "{error}");
    for bytes in [0, 1, 2048, 6000, 12288, u32::MAX] {
        let error = RingBuf::<Numbered>::create("ring", bytes).unwrap_err();
        assert!(matches!(error, OpenError::InvalidArgument { .. }), "{error}");
    }
    let ring = RingBuf::<Numbered>::create("ring", 1 << 16).unwrap();
    assert_eq!((ring.capacity(), ring.waiting()), (1 << 16, 0));
}

#[test]
fn g6_readers_move_between_threads() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    produce(&programs, 0, 0, 5);
    assert_eq!(ring.next().unwrap().unwrap().seq, 0);
    let ring = thread::spawn(move || {
        assert_eq!(ring.next().unwrap().unwrap().seq, 1);
        ring
    });
    let mut ring = ring.join().unwrap();
    assert_eq!(read_all(&mut ring), [2, 3, 4]);
}
