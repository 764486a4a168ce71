//! G7: what `drain` promises for entries that are finished, and what happens to
//! counters that are alive.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{Accumulate, Hash, LruHash, PerCpu, PerCpuHash, Result};
use programs::{Programs, await_for, on_cpus, resize, two_cpus, while_on_each_cpu};
use support::{allowed_cpus, pin_to};

/// Programs on every CPU insert `keys` entries in all, each once, while this
/// thread drains; each must come out exactly once, with its value.
fn finished_entries_come_out_once(
    program: &str,
    keys: u64,
    mut drain: impl FnMut(&Programs, &mut dyn FnMut(u64, u64)),
) {
    let programs = Programs::load("drain");
    let cpus = allowed_cpus();
    let each = keys / cpus.len() as u64;
    let left = AtomicUsize::new(cpus.len());
    let mut seen = vec![false; (each * cpus.len() as u64) as usize];
    let (mut drained, mut drains) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            on_cpus(&cpus, |place, _| {
                let (mut next, end) = (place as u64 * each, (place as u64 + 1) * each);
                while next < end {
                    let mut fill = [next, (end - next).min(10_000), 0];
                    programs.call(program, &mut fill);
                    next += fill[2];
                    if fill[2] == 0 {
                        thread::yield_now();
                    }
                }
                left.fetch_sub(1, Ordering::AcqRel);
            });
        });
        let mut last = false;
        while !last {
            // What is inserted after this look is drained by the next round.
            last = left.load(Ordering::Acquire) == 0;
            drains += 1;
            drain(&programs, &mut |key, value| {
                assert_eq!(value, key.wrapping_mul(0x9e37_79b9_7f4a_7c15), "of key {key}");
                assert!(!seen[key as usize], "key {key} came out twice");
                seen[key as usize] = true;
                drained += 1;
            });
        }
    });
    println!("{program}: {drained} entries in {drains} drains");
    assert_eq!(drained, seen.len(), "some entries never came out");
}

fn drain_hash(programs: &Programs, map: &str, entry: &mut dyn FnMut(u64, u64)) {
    for drained in Hash::<u64, u64>::open(programs.map(map)).unwrap().drain() {
        let (key, value) = drained.unwrap();
        entry(key, value);
    }
}

#[test]
fn g7_each_of_five_million_finished_entries_is_drained_exactly_once() {
    finished_entries_come_out_once("fill_hash", 5_000_000, |programs, entry| {
        drain_hash(programs, "hash", entry);
    });
}

#[test]
fn g7_finished_entries_without_preallocation_are_drained_exactly_once() {
    finished_entries_come_out_once("fill_no_prealloc", 1_000_000, |programs, entry| {
        drain_hash(programs, "no_prealloc", entry);
    });
}

#[test]
fn g7_finished_per_cpu_entries_are_drained_exactly_once() {
    finished_entries_come_out_once("fill_percpu", 500_000, |programs, entry| {
        for drained in PerCpuHash::<u64, u64>::open(programs.map("percpu")).unwrap().drain() {
            let (key, values) = drained.unwrap();
            entry(key, values.sum());
        }
    });
}

/// Live counters lose what is under way when their element is taken: one
/// increment of each running program, at most, for each entry drained.
#[test]
fn g7_drained_live_counters_lose_at_most_the_increments_under_way() {
    let programs = Programs::load_with("drain", |object| resize(object, "hash", 64));
    let counters = Hash::<u64, u64>::open(programs.map("hash")).unwrap();
    let (mut drained, mut entries) = (0, 0);
    let mut drain = || {
        for entry in counters.drain() {
            let (key, count) = entry.unwrap();
            assert!(key < 64);
            drained += count;
            entries += 1;
        }
    };
    const RUNS: u64 = 2000;
    let ((), runs) = while_on_each_cpu(
        |_| {
            programs.repeat("count_live", &mut [0, 0], RUNS as u32);
            RUNS
        },
        || {
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                drain();
            }
        },
    );
    drain();
    let refused = programs.health();
    let counted = runs.iter().sum::<u64>() - refused.refused();
    let lost = counted.checked_sub(drained).expect("more came out than was counted");
    println!(
        "{counted} counted, {entries} entries drained, {lost} increments lost: {:.3} %; \
         refused {refused:?}",
        lost as f64 * 100.0 / counted as f64
    );
    assert!(lost <= entries * runs.len() as u64);
}

/// What the test below needs of a map.
trait Counters: Sync {
    fn set(&self, key: u64, value: u64);
    fn drain_all(&self) -> Vec<(u64, u64)>;
    fn all(&self) -> Vec<(u64, u64)>;
}

macro_rules! counters {
    ($($kind:ident, |$count:ident| $value:expr;)*) => {$(
        impl Counters for $kind<u64, u64> {
            fn set(&self, key: u64, $count: u64) {
                self.update(key, $value).unwrap();
            }

            fn drain_all(&self) -> Vec<(u64, u64)> {
                let entries = self.drain().map(|entry| entry.map(|(key, v)| (key, total(v))));
                entries.collect::<Result<_>>().unwrap()
            }

            fn all(&self) -> Vec<(u64, u64)> {
                let entries = self.iter().map(|entry| entry.map(|(key, v)| (key, total(v))));
                entries.collect::<Result<_>>().unwrap()
            }
        }
    )*};
}

/// The sum over the CPUs, where a value has more than one.
trait Total {
    fn total(self) -> u64;
}

impl Total for u64 {
    fn total(self) -> u64 {
        self
    }
}

impl<V: Accumulate + Into<u64>> Total for PerCpu<V> {
    fn total(self) -> u64 {
        self.sum().into()
    }
}

fn total(value: impl Total) -> u64 {
    value.total()
}

counters! {
    Hash, |count| count;
    LruHash, |count| count;
    PerCpuHash, |count| &PerCpu::on_cpu(0, count);
}

const UNDER_WAY: u64 = 1_000_000;

/// A program has looked up key 1 and is about to add a million to it. Then user
/// space drains the map and others insert their keys. Then the program adds.
/// Which keys show the million?
fn where_the_increment_goes(
    test: &str,
    program: &str,
    room: u32,
    open: impl Fn(&Programs) -> Box<dyn Counters>,
) -> Option<Vec<u64>> {
    let [here, there] = two_cpus(test)?;
    let map = program.strip_prefix("hold_").unwrap();
    let programs = Programs::load_with("drain", |object| resize(object, map, room));
    let (control, counters) = (programs.control(), open(&programs));
    counters.set(1, 7);
    let entries = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            pin_to(there);
            programs.repeat(program, &mut [1, UNDER_WAY], 1)
        });
        // A thread of its own, so that the test's is not pinned for good.
        let other = scope.spawn(|| {
            pin_to(here);
            await_for("the program to look up key 1", || control.load(1).unwrap() == 1);
            assert_eq!(counters.drain_all(), [(1, 7)], "the increment is not in yet");
            for key in 100..100 + u64::from(room) {
                counters.set(key, 0);
            }
            control.store(2, 1).unwrap();
        });
        other.join().unwrap();
        assert_eq!(holder.join().unwrap(), 0, "the program waited in vain");
        counters.all()
    });
    assert!(entries.iter().all(|&(key, _)| key >= 100), "key 1 is gone: {entries:?}");
    assert!(entries.iter().all(|&(_, n)| n == 0 || n == UNDER_WAY), "{entries:?}");
    Some(entries.into_iter().filter(|entry| entry.1 != 0).map(|entry| entry.0).collect())
}

#[test]
fn g7_the_increment_under_way_lands_on_the_key_that_reuses_the_drained_element() {
    let test = "g7_the_increment_under_way_lands_on_the_key_that_reuses_the_drained_element";
    let hit = where_the_increment_goes(test, "hold_hash", 4, |programs| {
        Box::new(Hash::<u64, u64>::open(programs.map("hash")).unwrap())
    });
    // All four elements are in use again, so one of them is that of key 1.
    let Some(hit) = hit else { return };
    println!("hash: the increment of key 1 landed on key {hit:?}");
    assert_eq!(hit.len(), 1);
}

#[test]
fn g7_the_increment_under_way_lands_on_another_key_of_a_per_cpu_hash_as_well() {
    let test = "g7_the_increment_under_way_lands_on_another_key_of_a_per_cpu_hash_as_well";
    let hit = where_the_increment_goes(test, "hold_percpu", 4, |programs| {
        Box::new(PerCpuHash::<u64, u64>::open(programs.map("percpu")).unwrap())
    });
    let Some(hit) = hit else { return };
    println!("per-CPU hash: the increment of key 1 landed on key {hit:?}");
    assert_eq!(hit.len(), 1);
}

/// Where elements are allocated or evicted, their reuse is the allocator's
/// affair: the increment is lost to key 1 for certain, and another key may have it.
#[test]
fn g7_the_increment_under_way_is_lost_to_its_key_whatever_allocates_the_elements() {
    let test = "g7_the_increment_under_way_is_lost_to_its_key_whatever_allocates_the_elements";
    for (program, open) in [
        (
            "hold_no_prealloc",
            (|programs| Box::new(Hash::open(programs.map("no_prealloc")).unwrap()))
                as fn(&Programs) -> Box<dyn Counters>,
        ),
        ("hold_lru", |programs| Box::new(LruHash::open(programs.map("lru")).unwrap())),
        ("hold_percpu_alloc", |programs| {
            Box::new(PerCpuHash::open(programs.map("percpu_alloc")).unwrap())
        }),
    ] {
        let Some(hit) = where_the_increment_goes(test, program, 64, open) else { return };
        println!("{program}: the increment of key 1 landed on {hit:?}");
        assert!(hit.len() <= 1);
    }
}
