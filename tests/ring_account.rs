//! G6, at length: ten million records of many sizes from every CPU, rings from a page
//! to 16 MiB, and readers of every kind. Delivered + lost = produced, each record once,
//! whole, and in the order of its producer.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, path::Path};

use bpf_atlas::{Array, PerCpuArray, Pod, RingBuf, RingTotals, WakeUp};
use programs::{Programs, on_cpus, resize};
use support::random::Random;
use support::{Pins, allowed_cpus, child, role};

#[derive(Clone, Copy, Debug, Pod)]
#[repr(C)]
struct Mixed {
    producer: u32,
    seq: u32,
    check: u64,
}

/// Records of one run of a producer.
const RUN: u64 = 250;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Mixed {
    /// Asserts that every byte is as the program wrote it.
    fn is_whole(&self, tail: &[u8]) {
        let number = mix(u64::from(self.producer) << 32 | u64::from(self.seq));
        assert_eq!(self.check, number, "{self:?}");
        let mut words = (number as u32 % 64) as usize;
        if number >> 62 != 0 {
            words %= 8;
        }
        let cut = if words == 0 { 0 } else { self.seq as usize % 8 };
        assert_eq!(tail.len(), words * 8 - cut, "{self:?}");
        for (at, bytes) in tail.chunks(8).enumerate() {
            let word = number.wrapping_add(at as u64).to_ne_bytes();
            assert_eq!(bytes, &word[..bytes.len()], "{self:?}, word {at}");
        }
    }
}

/// What came of each producer.
#[derive(Debug)]
struct Account {
    next: Vec<u32>,
    gaps: u64,
    received: Arc<AtomicU64>,
}

impl Account {
    fn new(producers: usize) -> Self {
        Self { next: vec![0; producers], gaps: 0, received: Arc::default() }
    }

    fn see(&mut self, event: &Mixed, tail: &[u8]) {
        event.is_whole(tail);
        let next = &mut self.next[event.producer as usize];
        assert!(event.seq >= *next, "out of order or twice: {event:?}, expected {next}");
        self.gaps += u64::from(event.seq - *next);
        *next = event.seq + 1;
        self.received.fetch_add(1, Ordering::Relaxed);
    }
}

fn load(bytes: u32) -> Programs {
    Programs::load_with("mixed", |object| resize(object, "events", bytes))
}

fn reader(programs: &Programs) -> RingBuf<Mixed> {
    let ring = RingBuf::open(programs.map("events")).unwrap().with_tail();
    let ring = ring.with_lost(programs.map("events_lost")).unwrap();
    ring.with_wake(programs.map("events_wake")).unwrap()
}

/// Produces on every CPU, `each` records a CPU; how many were lost. Most of the time a
/// producer waits for the reader, which has `received` so many, but not always.
fn produce_everywhere(
    programs: &Programs,
    cpus: &[usize],
    each: u64,
    left: &AtomicUsize,
    received: impl Fn() -> u64 + Sync,
) -> u64 {
    let lost = on_cpus(cpus, |producer, _| {
        let (mut lost, mut random) = (0, Random(producer as u64));
        for first in (0..each).step_by(RUN as usize) {
            let mut args = [producer as u64, first, RUN.min(each - first), 0];
            assert_eq!(programs.call("produce", &mut args), 0);
            lost += args[3];
            let (start, before) = (Instant::now(), received());
            let patience = Duration::from_micros(random.below(3) * 500);
            while start.elapsed() < patience && received() < before + RUN {
                thread::sleep(Duration::from_micros(20));
            }
        }
        left.fetch_sub(1, Ordering::AcqRel);
        lost
    });
    lost.into_iter().sum()
}

/// How a reader reads, given the ring, the account and its turn.
type Read = fn(&mut RingBuf<Mixed>, &mut Account, u64);

fn drains(ring: &mut RingBuf<Mixed>, account: &mut Account, _: u64) {
    ring.wait(Duration::from_millis(1)).unwrap();
    ring.drain_records(|event, tail| account.see(event, tail)).unwrap();
}

fn takes_one_by_one(ring: &mut RingBuf<Mixed>, account: &mut Account, _: u64) {
    while let Some(record) = ring.next().unwrap() {
        account.see(&record, record.tail());
    }
    ring.wait(Duration::from_millis(1)).unwrap();
}

fn sleeps(ring: &mut RingBuf<Mixed>, account: &mut Account, turn: u64) {
    drains(ring, account, turn);
    thread::sleep(Duration::from_micros(200 + turn % 3 * 700));
}

fn panics(ring: &mut RingBuf<Mixed>, account: &mut Account, turn: u64) {
    let mut left = turn % 200;
    let result = catch_unwind(AssertUnwindSafe(|| {
        ring.drain_records(|event, tail| {
            account.see(event, tail);
            if left == 0 {
                resume_unwind(Box::new("given up"));
            }
            left -= 1;
        })
    }));
    if let Ok(result) = result {
        result.unwrap();
        // And one that unwinds while a record is held.
        catch_unwind(AssertUnwindSafe(|| {
            if let Some(record) = ring.next().unwrap() {
                account.see(&record, record.tail());
                resume_unwind(Box::new("given up"));
            }
        }))
        .ok();
    }
}

fn leaks(ring: &mut RingBuf<Mixed>, account: &mut Account, turn: u64) {
    for at in 0..turn % 100 {
        let Some(record) = ring.next().unwrap() else { break };
        account.see(&record, record.tail());
        if at % 3 > 0 {
            forget(record);
        }
    }
    if turn % 7 == 0 {
        ring.drain_up_to(50, |event, tail| account.see(event, tail)).unwrap();
    }
}

fn changes_its_wake_up(ring: &mut RingBuf<Mixed>, account: &mut Account, turn: u64) {
    let policies = [WakeUp::Throughput, WakeUp::Latency, WakeUp::Manual, WakeUp::Throughput];
    ring.set_wake_up(policies[turn as usize % 4]).unwrap();
    for _ in 0..20 {
        drains(ring, account, turn);
    }
}

#[test]
fn g6_of_ten_million_records_each_is_delivered_once_or_counted_as_lost() {
    const ALL: u64 = 10_000_000;
    let readers: [(&str, Read); 6] = [
        ("drains", drains),
        ("takes one by one", takes_one_by_one),
        ("sleeps", sleeps),
        ("panics", panics),
        ("leaks", leaks),
        ("changes its wake-up", changes_its_wake_up),
    ];
    let sizes = [4 << 10, 64 << 10, 1 << 20, 16 << 20];
    let cpus: Vec<_> = allowed_cpus().into_iter().take(8).collect();
    let each = ALL.div_ceil((readers.len() * sizes.len() * cpus.len()) as u64);
    let mut all = 0;
    for bytes in sizes {
        if bytes < nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap() as u32
        {
            continue;
        }
        for (name, read) in readers {
            let programs = load(bytes);
            let mut ring = reader(&programs);
            let mut account = Account::new(cpus.len());
            let left = AtomicUsize::new(cpus.len());
            let lost = thread::scope(|scope| {
                let received = account.received.clone();
                let received = move || received.load(Ordering::Relaxed);
                let producers =
                    scope.spawn(|| produce_everywhere(&programs, &cpus, each, &left, received));
                let mut turn = 0;
                while left.load(Ordering::Acquire) > 0 {
                    read(&mut ring, &mut account, turn);
                    turn += 1;
                }
                producers.join().unwrap()
            });
            ring.drain_records(|event, tail| account.see(event, tail)).unwrap();
            let produced = each * cpus.len() as u64;
            let stats = ring.stats().unwrap();
            println!(
                "{bytes} bytes, a reader that {name}: {} delivered, {} lost of {produced}, high \
                 water {}",
                stats.delivered,
                stats.lost(),
                stats.high_water
            );
            assert_eq!((stats.produced(), stats.accounted()), (produced, produced), "{stats:?}");
            let received = account.received.load(Ordering::Relaxed);
            assert_eq!((stats.delivered, stats.lost()), (received, lost), "{stats:?}");
            let ends: u64 = account.next.iter().map(|next| each - u64::from(*next)).sum();
            assert_eq!(account.gaps + ends, lost, "gaps in the numbers of the producers");
            assert_eq!((stats.refused, stats.skipped, stats.waiting), (0, 0, 0));
            assert!(stats.high_water <= stats.capacity);
            assert!(received > 1000 && (bytes < 16 << 20 || lost < produced / 2));
            all += produced;
        }
    }
    println!("{all} records in all");
}

/// Skipped records are accounted for as such.
#[test]
fn g6_records_that_are_skipped_are_counted_as_skipped() {
    let programs = load(64 << 10);
    let mut ring = reader(&programs);
    let mut args = [0, 0, 100, 0];
    programs.call("produce", &mut args);
    let first = ring.next().unwrap().unwrap();
    assert_eq!(first.seq, 0);
    // Leaked: consumed by the call that comes next.
    forget(first);
    assert_eq!(ring.skip().unwrap(), 99);
    assert_eq!(ring.skip().unwrap(), 0);
    assert!(ring.next().unwrap().is_none());
    args = [0, 100, 5, 0];
    programs.call("produce", &mut args);
    assert_eq!(ring.next().unwrap().unwrap().seq, 100);
    let stats = ring.stats().unwrap();
    assert_eq!((stats.delivered, stats.skipped, stats.produced()), (2, 99, 105));
    assert!(stats.high_water > stats.waiting && stats.waiting > 0);
}

/// Where a child finds its maps.
const PIN: &str = "BPF_ATLAS_TEST_PIN";
/// In the log of a reader: it begins here.
const BEGINS: u64 = u64::MAX;

/// Reads until it is killed, and logs what it has seen before it is consumed. Word 0 of
/// the log is its length.
fn read_and_log(pin: &Path) -> ! {
    let log = Array::<u64>::open_pinned(pin.join("seen")).unwrap().mapped().unwrap();
    let mut ring = RingBuf::<Mixed>::open_pinned(pin.join("ring")).unwrap().with_tail();
    assert!(ring.lost().is_ok(), "the totals were pinned beside the ring");
    ring.set_wake_up(WakeUp::Throughput).unwrap();
    let mut len = log.load(0).unwrap();
    let mut push = |word| {
        len += 1;
        log.store(len as u32, word).unwrap();
        log.store(0, len).unwrap();
    };
    push(BEGINS);
    println!("ready now");
    loop {
        while let Some(record) = ring.next().unwrap() {
            record.is_whole(record.tail());
            push(u64::from(record.producer) << 32 | u64::from(record.seq));
        }
        ring.wait(None).unwrap();
    }
}

/// Readers that are killed at any moment, each followed by another on the pinned ring:
/// every record is seen or counted as lost, and only the one that a reader held when it
/// was killed may be seen again, by the next, as its first.
#[test]
fn g6_i17_readers_that_are_killed_over_and_over_lose_nothing() {
    let test = "g6_i17_readers_that_are_killed_over_and_over_lose_nothing";
    if role().is_some() {
        read_and_log(Path::new(&env::var_os(PIN).unwrap()));
    }
    const EACH: u64 = 150_000;
    let pins = Pins::new();
    let programs = load(64 << 10);
    let cpus: Vec<_> = allowed_cpus().into_iter().take(4).collect();
    reader(&programs).pin(pins.path("ring")).unwrap();
    let seen = Array::<u64>::open(programs.map("seen")).unwrap();
    seen.pin(pins.path("seen")).unwrap();
    let folder = pins.path("ring").parent().unwrap().to_owned();

    let left = AtomicUsize::new(cpus.len());
    let (lost, killed) = thread::scope(|scope| {
        let log = seen.mapped().unwrap();
        let received = move || log.load(0).unwrap();
        let (programs, cpus, left) = (&programs, &cpus, &left);
        let producers =
            scope.spawn(move || produce_everywhere(programs, cpus, EACH, left, received));
        let mut killed = 0;
        while left.load(Ordering::Acquire) > 0 || killed < 25 {
            let mut reading = child(test, "read");
            let mut reading = reading.env(PIN, &folder).stdout(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(reading.stdout.take().unwrap()).lines();
            let ready = lines.map_while(Result::ok).any(|line| line.ends_with("ready now"));
            assert!(ready, "the reader ended early: {}", reading.wait().unwrap());
            thread::sleep(Duration::from_millis(5 + killed % 7 * 6));
            reading.kill().unwrap();
            reading.wait().unwrap();
            killed += 1;
        }
        (producers.join().unwrap(), killed)
    });

    let log = seen.mapped().unwrap();
    let len = log.load(0).unwrap() as u32;
    let (mut unique, mut again) = (BTreeSet::new(), 0);
    let (mut next, mut last, mut first) = (vec![0; cpus.len()], BEGINS, false);
    for at in 1..=len {
        let word = log.load(at).unwrap();
        if word == BEGINS {
            first = true;
            continue;
        }
        if !unique.insert(word) {
            assert!(first && word == last, "{word:#x} came twice");
            again += 1;
        } else {
            let (producer, seq) = ((word >> 32) as usize, word as u32);
            assert!(seq >= next[producer], "out of order");
            next[producer] = seq + 1;
        }
        (last, first) = (word, false);
    }
    // What no reader was left to see.
    let mut rest = RingBuf::<Mixed>::open_pinned(pins.path("ring")).unwrap().with_tail();
    let mut held = 0;
    rest.drain_records(|event, tail| {
        event.is_whole(tail);
        let word = u64::from(event.producer) << 32 | u64::from(event.seq);
        if !unique.insert(word) {
            assert!(held == 0 && word == last, "{word:#x} came twice");
            again += 1;
        }
        held += 1;
    })
    .unwrap();
    let totals = PerCpuArray::<RingTotals>::open(programs.map("events_lost")).unwrap();
    let totals = totals.sum_of(0).unwrap();
    let produced = EACH * cpus.len() as u64;
    println!(
        "{killed} readers killed: {} seen, {again} of them again, {lost} lost of {produced}",
        unique.len()
    );
    assert_eq!((totals.produced(), totals.lost), (produced, lost));
    assert_eq!(unique.len() as u64 + lost, produced);
    assert!(again <= killed, "{again} seen again by {killed} readers");
    assert!(unique.len() > 1000);
}
