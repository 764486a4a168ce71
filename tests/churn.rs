//! A walk under churn (G1): whatever others insert, delete and replace, each
//! key that stays is found exactly once, none twice, and each value is one that
//! was written to its key. And what single lookups and walks by key do (G10).
#![forbid(unsafe_code)]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{CreateFlags, Error, Hash, LruHash, LruPerCpuHash, PerCpu, PerCpuHash};
use libbpf_rs::{MapCore, MapHandle, MapType};

mod support;
use support::RaiseOnDrop;
#[path = "support/stamp.rs"]
mod stamp;
use stamp::Stamp;

/// How often each key came in a walk, and whose the values were.
struct Census {
    seen: Vec<u8>,
    stayers: u32,
}

impl Census {
    /// Of keys from 0, the first of which stay.
    fn new(stayers: u32, keys: u32) -> Self {
        Self { seen: vec![0; keys as usize], stayers }
    }

    fn see(&mut self, key: u32, value: &Stamp) {
        self.seen[key as usize] += 1;
        assert!(value.is_of(key), "key {key} came with a value never written to it: {value:?}");
    }

    /// After a walk: each stayer once, none twice. How many of the others came.
    fn check(&mut self) -> usize {
        let (stayers, others) = self.seen.split_at(self.stayers as usize);
        let missed = stayers.iter().filter(|&&times| times == 0).count();
        let twice = self.seen.iter().filter(|&&times| times > 1).count();
        assert_eq!((missed, twice), (0, 0), "keys missed, keys that came twice");
        let came = others.iter().filter(|&&times| times == 1).count();
        self.seen.fill(0);
        came
    }
}

/// Runs `write` in two threads, round after round, and `walk` in this one for
/// `time`. `write` is given the number of its thread and of the round.
fn churn(name: &str, time: Duration, write: impl Fn(u32, u64) + Sync, mut walk: impl FnMut()) {
    let (stop, rounds, start) = (AtomicBool::new(false), AtomicU64::new(0), Barrier::new(3));
    let mut walks = 0;
    thread::scope(|scope| {
        let _stop = RaiseOnDrop(&stop);
        for number in 0..2 {
            let (stop, rounds, start, write) = (&stop, &rounds, &start, &write);
            scope.spawn(move || {
                // Should it panic, the walks are over too.
                let _stop = RaiseOnDrop(stop);
                start.wait();
                for round in 1.. {
                    write(number, round);
                    rounds.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        start.wait();
        let deadline = Instant::now() + time;
        while Instant::now() < deadline && !stop.load(Ordering::Relaxed) {
            walk();
            walks += 1;
        }
    });
    println!("{name}: {walks} walks, {} rounds of writing", rounds.into_inner());
    assert!(walks > 0);
}

/// Writes, if need be again and again: a machine under load may have no memory
/// at hand for a new element, and the error says that trying again helps.
fn patiently(write: impl Fn() -> bpf_atlas::Result<()>) {
    while let Err(error) = write() {
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        println!("{error}");
    }
}

/// Batch sizes in turn, so that a walk is one system call or thousands.
const BATCHES: [u32; 4] = [4096, 1, 64, 200_000];

macro_rules! others_come_and_go {
    ($map:expr, $stayers:expr, $others:expr, $time:expr, $value:expr, $check:expr) => {
        let (map, stayers, others) = ($map.unwrap(), $stayers, $others);
        for key in 0..stayers {
            map.update(key, &$value(key, 0)).unwrap();
        }
        let walkers = BATCHES.map(|batch| map.clone().with_batch_size(batch).unwrap());
        let mut walkers = walkers.iter().cycle();
        let mut census = Census::new(stayers, stayers + others);
        let mut came = 0;
        churn(
            &format!("{} others of {:?}", others, map.info().kind),
            Duration::from_millis($time),
            |thread, round| {
                let half = others / 2;
                let mine = stayers + thread * half..stayers + (thread + 1) * half;
                for key in mine.clone() {
                    patiently(|| map.update(key, &$value(key, round)));
                }
                for key in mine {
                    patiently(|| map.delete(key).map(|there| assert!(there)));
                }
            },
            || {
                for entry in walkers.next().unwrap() {
                    let (key, value) = entry.unwrap();
                    $check(&mut census, key, &value);
                }
                came += census.check();
            },
        );
        assert!(came > 0, "no walk met a key that comes and goes");
    };
}

macro_rules! stayers_are_replaced {
    ($map:expr, $stayers:expr, $value:expr, $check:expr) => {
        let (map, stayers) = ($map.unwrap(), $stayers);
        for key in 0..stayers {
            map.update(key, &$value(key, 0)).unwrap();
        }
        let walkers = BATCHES.map(|batch| map.clone().with_batch_size(batch).unwrap());
        let mut walkers = walkers.iter().cycle();
        let mut census = Census::new(stayers, stayers);
        churn(
            &format!("{} replaced in {:?}", stayers, map.info().kind),
            Duration::from_millis(1500),
            // The two go in opposite directions.
            |thread, round| {
                for key in 0..stayers {
                    let key = if thread == 0 { key } else { stayers - 1 - key };
                    map.update(key, &$value(key, 2 * round + u64::from(thread))).unwrap();
                }
            },
            || {
                for entry in walkers.next().unwrap() {
                    let (key, value) = entry.unwrap();
                    $check(&mut census, key, &value);
                }
                census.check();
            },
        );
    };
}

fn on_each_cpu(key: u32, version: u64) -> PerCpu<Stamp> {
    PerCpu::splat(Stamp::new(key, version))
}

fn see_on_each_cpu(census: &mut Census, key: u32, value: &PerCpu<Stamp>) {
    census.see(key, &value[0]);
    assert!(value.iter().all(|stamp| stamp.is_of(key)), "key {key}: {value:?}");
}

#[test]
fn g1_walk_is_complete_under_churn_of_50000_other_keys() {
    let map = Hash::create("churn", 110_000);
    others_come_and_go!(map, 50_000, 50_000, 5000, Stamp::new, Census::see);
}

#[test]
fn g1_walk_is_complete_under_churn_of_a_map_without_preallocation() {
    let map = Hash::create_with("churn", 5000, CreateFlags::NO_PREALLOC);
    others_come_and_go!(map, 1000, 1000, 2000, Stamp::new, Census::see);
}

#[test]
fn g1_walk_is_complete_under_churn_of_an_lru_map_with_room() {
    let map = LruHash::create("churn", 50_000);
    others_come_and_go!(map, 5000, 5000, 2000, Stamp::new, Census::see);
    let map = LruPerCpuHash::create("churn", 50_000);
    others_come_and_go!(map, 1000, 1000, 1000, on_each_cpu, see_on_each_cpu);
}

#[test]
fn g1_walk_is_complete_under_churn_of_a_per_cpu_map() {
    let map = PerCpuHash::create("churn", 12_000);
    others_come_and_go!(map, 5000, 5000, 2000, on_each_cpu, see_on_each_cpu);
    let map = PerCpuHash::create_with("churn", 5000, CreateFlags::NO_PREALLOC);
    others_come_and_go!(map, 500, 500, 1000, on_each_cpu, see_on_each_cpu);
}

#[test]
fn g1_walk_is_complete_while_the_keys_themselves_are_replaced() {
    stayers_are_replaced!(Hash::create("churn", 1000), 1000, Stamp::new, Census::see);
    let map = Hash::create_with("churn", 1000, CreateFlags::NO_PREALLOC);
    stayers_are_replaced!(map, 100, Stamp::new, Census::see);
    let map = LruHash::create("churn", 5000);
    stayers_are_replaced!(map, 100, Stamp::new, Census::see);
    // These are written in place.
    let map = PerCpuHash::create("churn", 1000);
    stayers_are_replaced!(map, 1000, on_each_cpu, see_on_each_cpu);
}

/// A hash that libbpf-rs made, so that both libraries read the same map.
fn shared_map(entries: u32) -> (MapHandle, Hash<u32, Stamp>) {
    let opts = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
        ..Default::default()
    };
    let theirs = MapHandle::create(MapType::Hash, Some("churn"), 4, 64, entries, &opts).unwrap();
    let ours = Hash::open(&theirs).unwrap();
    for key in 0..entries {
        ours.update(key, Stamp::new(key, 0)).unwrap();
    }
    (theirs, ours)
}

/// A walk by key while keys are replaced, with no race in it: between two
/// steps each key gets a new element, at the head of its bucket. The order of a
/// bucket turns round at every step, so the steps pass keys by or meet them
/// again. Our walk, at a bucket a step, does not care.
#[test]
fn g1_a_walk_by_key_misses_keys_that_are_replaced_and_ours_does_not() {
    const KEYS: u32 = 256;
    let (theirs, ours) = shared_map(KEYS);
    let mut version = 0;
    let mut replace_all = || {
        version += 1;
        for key in 0..KEYS {
            let key = if version % 2 == 0 { key } else { KEYS - 1 - key };
            assert!(ours.replace(key, Stamp::new(key, version)).unwrap());
        }
    };

    let mut seen = vec![0_u8; KEYS as usize];
    for key in theirs.keys().take(4 * KEYS as usize) {
        let key = u32::from_ne_bytes(key.try_into().unwrap());
        seen[key as usize] = seen[key as usize].saturating_add(1);
        replace_all();
    }
    let missed = seen.iter().filter(|&&times| times == 0).count();
    let twice = seen.iter().filter(|&&times| times > 1).count();
    println!("by key: {missed} of {KEYS} missed, {twice} met again");
    assert!(missed + twice > 0, "the walk by key is not disturbed");

    let mut census = Census::new(KEYS, KEYS);
    for entry in &ours.clone().with_batch_size(1).unwrap() {
        let (key, value) = entry.unwrap();
        census.see(key, &value);
        replace_all();
    }
    census.check();
}

/// The same as a race, for its rate: what a loop of keys and lookups over
/// libbpf-rs meets beside a writer.
#[test]
fn g1_the_rate_at_which_a_walk_by_key_misses_keys() {
    const KEYS: u32 = 100;
    let (theirs, ours) = shared_map(KEYS);
    let (mut walks, mut wrong, mut missed, mut twice, mut endless) = (0, 0, 0, 0, 0);
    let mut seen = vec![0_u8; KEYS as usize];
    churn(
        "walks by key",
        Duration::from_secs(1),
        |thread, round| {
            for key in 0..KEYS {
                ours.update(key, Stamp::new(key, 2 * round + u64::from(thread))).unwrap();
            }
        },
        || {
            seen.fill(0);
            let mut steps = 0;
            for key in theirs.keys().take(4 * KEYS as usize) {
                let key = u32::from_ne_bytes(key.try_into().unwrap());
                seen[key as usize] = seen[key as usize].saturating_add(1);
                steps += 1;
            }
            let gone = seen.iter().filter(|&&times| times == 0).count();
            let again = seen.iter().filter(|&&times| times > 1).count();
            walks += 1;
            missed += gone;
            twice += again;
            wrong += u32::from(gone + again > 0);
            endless += u32::from(steps == 4 * KEYS);
        },
    );
    println!(
        "by key: {wrong} of {walks} walks wrong: {missed} keys missed, {twice} met again, \
         {endless} walks did not end"
    );
}

/// What reads of eight keys found while they were being replaced.
#[derive(Default, Debug)]
struct Reads {
    whole: u64,
    missed: u64,
    of_another_key: u64,
    torn: u64,
}

impl Reads {
    fn note(&mut self, key: u32, value: Option<Stamp>) {
        match value {
            None => self.missed += 1,
            Some(value) if value.is_of(key) => self.whole += 1,
            Some(value) if value.is_whole() => self.of_another_key += 1,
            Some(_) => self.torn += 1,
        }
    }
}

macro_rules! lookups_race {
    ($map:expr) => {{
        const KEYS: u32 = 8;
        let map = $map.unwrap();
        for key in 0..KEYS {
            map.update(key, Stamp::new(key, 0)).unwrap();
        }
        let (mut single, mut walked) = (Reads::default(), Reads::default());
        let mut census = Census::new(KEYS, KEYS);
        churn(
            "replacing 8 keys",
            Duration::from_millis(1500),
            |thread, round| {
                for key in 0..KEYS {
                    map.update(key, Stamp::new(key, 2 * round + u64::from(thread))).unwrap();
                }
            },
            || {
                for key in 0..KEYS {
                    for _ in 0..8 {
                        single.note(key, map.lookup(key).unwrap());
                    }
                    walked.note(key, map.lookup_walked(key).unwrap());
                }
                for entry in &map {
                    let (key, value) = entry.unwrap();
                    census.see(key, &value);
                }
                census.check();
            },
        );
        println!("{:?}: lookup {single:?}; lookup_walked {walked:?}", map.info().kind);
        assert!(single.whole > 0 && walked.whole > 0);
        assert_eq!((walked.missed, walked.of_another_key, walked.torn), (0, 0, 0));
    }};
}

#[test]
fn g10_a_single_lookup_races_with_replacement_and_a_walked_one_does_not() {
    lookups_race!(Hash::<u32, Stamp>::create("race", 64));
    lookups_race!(Hash::<u32, Stamp>::create_with("race", 64, CreateFlags::NO_PREALLOC));
    lookups_race!(LruHash::<u32, Stamp>::create("race", 1024));
}
