//! G5: the counting macros of `bpf_atlas.h`. Programs on two CPUs come to each
//! new key at the same moment, which is where the naive way loses counts.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::collections::HashMap;

use bpf_atlas::{Hash, LruHash, LruPerCpuHash, PerCpuArray, PerCpuHash, Pod};
use programs::{Health, Programs, on_cpus, resize, two_cpus};
use support::allowed_cpus;

#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C)]
struct Flow {
    packets: u64,
    bytes: u64,
    opener: u64,
}

/// New keys in a race; each is counted once by each of two CPUs.
const KEYS: u64 = 40_000;
/// Keys of one program run: it is not interrupted, so keep it short.
const RUN: u64 = 2_000;

/// Counts the keys `first..first + keys` on each CPU, `n` a key.
fn count(programs: &Programs, program: &str, cpus: &[usize], first: u64, keys: u64, n: u64) {
    let in_step = u64::from(cpus.len() > 1);
    on_cpus(cpus, |_, _| {
        for start in (first..first + keys).step_by(RUN as usize) {
            let run = RUN.min(first + keys - start);
            programs.call(program, &mut [start, run, n, in_step]);
        }
    });
}

fn counts(programs: &Programs, name: &str) -> HashMap<u32, u64> {
    let map = programs.map(name);
    let entries = match name {
        "lru" => LruHash::<u32, u64>::open(&map).unwrap().snapshot(),
        "percpu" | "percpu_alloc" => PerCpuHash::<u32, u64>::open(&map).unwrap().snapshot(),
        "percpu_lru" => LruPerCpuHash::<u32, u64>::open(&map).unwrap().snapshot(),
        "percpu_array" => PerCpuArray::<u64>::open(&map).unwrap().snapshot(),
        _ => Hash::<u32, u64>::open(&map).unwrap().snapshot(),
    };
    entries.unwrap().into_iter().collect()
}

/// Every key was counted `n` by each of two CPUs, and nothing was refused.
fn exact(test: &str, map: &str) {
    let Some(cpus) = two_cpus(test) else { return };
    let programs = Programs::load("counting");
    let n = 3;
    count(&programs, &format!("count_{map}"), &cpus, 0, KEYS, n);
    let counts = counts(&programs, map);
    let wrong: Vec<_> = (0..KEYS as u32).filter(|key| counts.get(key) != Some(&(2 * n))).collect();
    assert!(wrong.is_empty(), "{} keys of {KEYS} are wrong: {:?} …", wrong.len(), &wrong[..1]);
    assert_eq!(counts.values().sum::<u64>(), 2 * n * KEYS);
    assert_eq!(programs.health(), Health::default());
}

#[test]
fn g5_cpus_that_race_on_a_new_key_lose_nothing_in_a_hash() {
    exact("g5_cpus_that_race_on_a_new_key_lose_nothing_in_a_hash", "hash");
}

#[test]
fn g5_cpus_that_race_on_a_new_key_lose_nothing_in_a_hash_without_preallocation() {
    exact(
        "g5_cpus_that_race_on_a_new_key_lose_nothing_in_a_hash_without_preallocation",
        "no_prealloc",
    );
}

#[test]
fn g5_cpus_that_race_on_a_new_key_lose_nothing_in_an_lru_hash_with_room() {
    exact("g5_cpus_that_race_on_a_new_key_lose_nothing_in_an_lru_hash_with_room", "lru");
}

#[test]
fn g5_cpus_that_race_on_a_new_key_lose_nothing_in_a_per_cpu_hash() {
    exact("g5_cpus_that_race_on_a_new_key_lose_nothing_in_a_per_cpu_hash", "percpu");
}

#[test]
fn g5_cpus_that_race_on_a_new_key_lose_nothing_in_an_lru_per_cpu_hash_with_room() {
    exact(
        "g5_cpus_that_race_on_a_new_key_lose_nothing_in_an_lru_per_cpu_hash_with_room",
        "percpu_lru",
    );
}

#[test]
fn g5_per_cpu_array_counts_are_exact() {
    exact("g5_per_cpu_array_counts_are_exact", "percpu_array");
}

/// The control: what the macros are for. Were this to lose nothing, the tests
/// above would show nothing.
#[test]
fn g5_control_a_miss_followed_by_bpf_any_loses_counts() {
    let Some(cpus) = two_cpus("g5_control_a_miss_followed_by_bpf_any_loses_counts") else { return };
    let programs = Programs::load("counting");
    for round in 0..50 {
        count(&programs, "count_naive", &cpus, round * 1000, 1000, 1);
        let counted: u64 = counts(&programs, "naive").values().sum();
        let made = 2 * (round + 1) * 1000;
        assert!(counted <= made);
        if counted < made {
            println!("the naive way lost {} of {made}", made - counted);
            return;
        }
    }
    panic!("the CPUs never raced: 100,000 counts without a loss");
}

#[test]
fn g5_lookup_or_init_stores_one_init_and_gives_all_cpus_its_element() {
    let test = "g5_lookup_or_init_stores_one_init_and_gives_all_cpus_its_element";
    let Some(cpus) = two_cpus(test) else { return };
    let programs = Programs::load("counting");
    count(&programs, "count_flows", &cpus, 0, KEYS, 1500);
    let flows = Hash::<u32, Flow>::open(programs.map("flows")).unwrap();
    let mut opened = HashMap::new();
    let found = flows.for_each(|_, flow| {
        assert_eq!((flow.packets, flow.bytes), (2, 3000));
        *opened.entry(flow.opener).or_insert(0) += 1;
    });
    assert_eq!(found.unwrap(), KEYS as usize);
    println!("flows opened, by CPU + 1: {opened:?}");
    assert!(opened.keys().all(|&opener| cpus.contains(&(opener as usize - 1))));
    assert_eq!(programs.health(), Health::default());
}

/// `room` entries, `keys` distinct keys, each counted `times` times: what found
/// no room is counted, call by call.
fn refused(program: &str, map: &str, room: u32, keys: u64) {
    let programs = Programs::load_with("counting", |object| resize(object, map, room));
    let times = 3;
    for _ in 0..times {
        count(&programs, program, &allowed_cpus()[..1], 0, keys, 1);
    }
    let room = u64::from(room);
    let refused = Health { full: times * (keys - room), ..Health::default() };
    assert_eq!(programs.health(), refused);
    let counts = counts(&programs, map);
    assert_eq!(counts.len() as u64, room);
    assert!(counts.values().all(|&count| count == times));
}

#[test]
fn g5_a_full_hash_counts_every_call_it_refused() {
    refused("count_hash", "hash", 1000, 5000);
    refused("count_hash", "hash", 1, 50);
}

#[test]
fn g5_a_full_hash_without_preallocation_counts_every_call_it_refused() {
    refused("count_no_prealloc", "no_prealloc", 1000, 5000);
}

#[test]
fn g5_a_full_per_cpu_hash_counts_every_call_it_refused() {
    refused("count_percpu", "percpu", 1000, 5000);
}

#[test]
fn g5_an_index_beyond_a_per_cpu_array_is_counted_as_refused() {
    refused("count_percpu_array", "percpu_array", 1000, 5000);
}

/// An LPM trie says `ENOSPC` where a hash says `E2BIG`.
#[test]
fn g5_a_full_trie_counts_every_call_it_refused() {
    let programs = Programs::load_with("counting", |object| resize(object, "trie", 16));
    for _ in 0..2 {
        programs.repeat("count_trie", &mut [0, 0, 1, 0], 100);
    }
    assert_eq!(programs.health(), Health { full: 2 * 84, ..Health::default() });
}

/// CPUs that race for the last elements: counted and refused make all calls,
/// and a key is either in the map with all its counts or was always refused.
#[test]
fn g5_counted_and_refused_make_all_calls_when_cpus_race_for_the_last_room() {
    let test = "g5_counted_and_refused_make_all_calls_when_cpus_race_for_the_last_room";
    let Some(cpus) = two_cpus(test) else { return };
    for map in ["hash", "percpu"] {
        let programs = Programs::load_with("counting", |object| resize(object, map, 3000));
        count(&programs, &format!("count_{map}"), &cpus, 0, 10_000, 1);
        let counts = counts(&programs, map);
        assert_eq!(counts.len(), 3000, "{map}");
        assert!(counts.values().all(|&count| count == 2), "{map}");
        assert_eq!(programs.health(), Health { full: 14_000, ..Health::default() }, "{map}");
    }
}

/// Without preallocation the allocator may run dry in the middle of a program:
/// then it is memory that is counted as missing.
#[test]
fn g5_a_burst_that_outruns_the_allocator_is_counted() {
    let programs = Programs::load("counting");
    let keys = 50_000;
    let cpu = &allowed_cpus()[..1];
    on_cpus(cpu, |_, _| programs.call("count_percpu_alloc", &mut [0, keys, 1, 0]));
    let (counts, health) = (counts(&programs, "percpu_alloc"), programs.health());
    println!("a burst of {keys} new keys: {} counted, {health:?}", counts.len());
    assert!(counts.values().all(|&count| count == 1));
    assert_eq!(counts.len() as u64 + health.no_memory, keys);
    assert_eq!(health, Health { no_memory: health.no_memory, ..Health::default() });
}

#[test]
fn g5_counters_wrap() {
    let programs = Programs::load("counting");
    let cpu = &allowed_cpus()[..1];
    count(&programs, "count_hash", cpu, 7, 1, u64::MAX);
    count(&programs, "count_hash", cpu, 7, 1, 5);
    assert_eq!(counts(&programs, "hash"), HashMap::from([(7, 4)]));
}
