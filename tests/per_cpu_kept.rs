//! Values of all CPUs that a walk has yielded are the user's: to keep, to change, to send away,
//! whatever the walk, the map and the other values do.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::mpsc;
use std::thread;

use bpf_atlas::{PerCpu, PerCpuArray, PerCpuHash, Pod};

const ENTRIES: u32 = 1000;

/// Values that lie in the batch of their walk, with and without gaps between CPUs, and one that
/// is small enough not to.
trait Value: Pod + PartialEq + Debug {
    fn of(key: u32, cpu: usize) -> Self;
}

impl Value for u64 {
    fn of(key: u32, cpu: usize) -> Self {
        u64::from(key) * 1000 + cpu as u64
    }
}

impl Value for [u64; 9] {
    fn of(key: u32, cpu: usize) -> Self {
        std::array::from_fn(|at| u64::of(key, cpu) << 8 | at as u64)
    }
}

impl Value for [u8; 61] {
    fn of(key: u32, cpu: usize) -> Self {
        std::array::from_fn(|at| (key as u8).wrapping_mul(31) ^ (cpu as u8) << 4 ^ at as u8)
    }
}

impl Value for u128 {
    fn of(key: u32, cpu: usize) -> Self {
        u128::from(key) << 100 | cpu as u128
    }
}

/// Aligned as no buffer of a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C, align(64))]
struct Line([u64; 8]);

impl Value for Line {
    fn of(key: u32, cpu: usize) -> Self {
        Self(std::array::from_fn(|at| u64::of(key, cpu) << 8 | at as u64))
    }
}

fn on_all_cpus<V: Value>(key: u32) -> PerCpu<V> {
    let cpus = PerCpu::splat(0_u8).len();
    (0..cpus).map(|cpu| V::of(key, cpu)).collect()
}

fn map<V: Value>(batch: u32) -> PerCpuHash<u32, V> {
    let map =
        PerCpuHash::<u32, V>::create("kept", ENTRIES).unwrap().with_batch_size(batch).unwrap();
    map.update_all((0..ENTRIES).map(|key| (key, on_all_cpus::<V>(key)))).unwrap();
    map
}

fn all_sizes(test: impl Fn(u32)) {
    [16, 100, 999, 1000, 4096].into_iter().for_each(test);
}

fn kept_values_stay_as_they_were<V: Value>() {
    all_sizes(|batch| {
        let map = map::<V>(batch);
        let first: HashMap<u32, PerCpu<V>> = map.iter().map(Result::unwrap).collect();
        // Other walks, other values, and none of the map at all.
        map.update_all((0..ENTRIES).map(|key| (key, on_all_cpus::<V>(key + 7)))).unwrap();
        let mut second: HashMap<u32, PerCpu<V>> = map.iter().map(Result::unwrap).collect();
        map.clear().unwrap();
        drop(map);
        for (key, value) in &first {
            assert_eq!(*value, on_all_cpus(*key), "batches of {batch}");
        }
        // Changing one changes that one.
        for (_, value) in second.iter_mut().filter(|(key, _)| *key % 2 == 0) {
            value.fill(V::of(0, 0));
        }
        for (key, value) in &second {
            let expected = on_all_cpus(key + 7);
            assert_eq!(*value == expected, *key % 2 == 1, "batches of {batch}");
        }
        assert_eq!((first.len(), second.len()), (1000, 1000));
    });
}

#[test]
fn i5_values_that_are_kept_stay_as_they_were() {
    kept_values_stay_as_they_were::<u64>();
    kept_values_stay_as_they_were::<[u64; 9]>();
    kept_values_stay_as_they_were::<[u8; 61]>();
    kept_values_stay_as_they_were::<u128>();
    kept_values_stay_as_they_were::<Line>();
}

#[test]
fn i5_a_few_that_are_kept_do_not_disturb_the_walk() {
    all_sizes(|batch| {
        let map = map::<[u64; 9]>(batch);
        let mut kept = Vec::new();
        for _ in 0..3 {
            let mut seen = 0;
            for entry in map.iter() {
                let (key, value) = entry.unwrap();
                assert_eq!(value, on_all_cpus(key));
                seen += 1;
                if key % 97 == 0 {
                    kept.push((key, value));
                }
            }
            assert_eq!(seen, ENTRIES);
        }
        assert_eq!(kept.len(), 3 * 11);
        assert!(kept.iter().all(|(key, value)| *value == on_all_cpus(*key)));
    });
}

#[test]
fn i5_values_are_read_and_dropped_on_another_thread_while_the_walk_goes_on() {
    all_sizes(|batch| {
        let map = map::<[u8; 61]>(batch);
        let (send, receive) = mpsc::sync_channel(50);
        let reader = thread::spawn(move || {
            let mut seen = vec![0; ENTRIES as usize];
            for (key, value) in receive {
                let _: &PerCpu<[u8; 61]> = &value;
                assert_eq!(value, on_all_cpus(key));
                seen[key as usize] += 1;
            }
            seen
        });
        for _ in 0..4 {
            for entry in &map {
                send.send(entry.unwrap()).unwrap();
            }
        }
        drop(send);
        assert!(reader.join().unwrap().into_iter().all(|times| times == 4));
    });
}

/// Those that were yielded are taken out; the others go back as they were, out of the same
/// memory.
fn a_drain_ends_early<V: Value>() {
    all_sizes(|batch| {
        for taken in [0, 1, 10, 500, 1000] {
            let map = map::<V>(batch);
            let mut drain = map.drain();
            let out: Vec<_> = drain.by_ref().take(taken).map(Result::unwrap).collect();
            drain.put_back().unwrap();
            assert_eq!(map.count().unwrap(), ENTRIES as usize - taken);
            let left: HashMap<u32, PerCpu<V>> = map.iter().map(Result::unwrap).collect();
            for (key, value) in out.iter().map(|(key, value)| (key, value)).chain(&left) {
                assert_eq!(*value, on_all_cpus(*key), "batches of {batch}, {taken} taken");
            }
            assert!(out.iter().all(|(key, _)| !left.contains_key(key)));
        }
    });
}

#[test]
fn i5_a_drain_that_ends_early_puts_back_what_it_has_not_yielded() {
    a_drain_ends_early::<u64>();
    a_drain_ends_early::<[u64; 9]>();
    a_drain_ends_early::<[u8; 61]>();
    a_drain_ends_early::<u128>();
    a_drain_ends_early::<Line>();
}

#[test]
fn i5_two_walks_at_once_share_nothing() {
    let map = map::<[u64; 9]>(64);
    for (one, other) in map.iter().zip(map.clone().iter()) {
        let ((key, mut value), other) = (one.unwrap(), other.unwrap());
        value.reverse();
        assert_eq!((key, on_all_cpus(key)), other);
    }
}

#[test]
fn i5_for_each_and_values_give_what_iter_gives() {
    let array =
        PerCpuArray::<[u8; 61]>::create("kept", ENTRIES).unwrap().with_batch_size(64).unwrap();
    array.update_all((0..ENTRIES).map(|key| (key, on_all_cpus::<[u8; 61]>(key)))).unwrap();
    let mut seen = 0;
    array
        .for_each(|key, value| {
            assert_eq!(*value, on_all_cpus(key));
            seen += 1;
        })
        .unwrap();
    assert_eq!(seen, ENTRIES);
    for (key, value) in (0..).zip(array.values()) {
        assert_eq!(value.unwrap(), on_all_cpus(key));
        assert_eq!(array.lookup(key).unwrap(), on_all_cpus(key));
    }
}

#[test]
fn i5_a_value_is_a_slice_whatever_memory_it_lies_in() {
    let map = map::<[u64; 9]>(64);
    let (key, of_walk) = map.iter().next().unwrap().unwrap();
    let boxed = on_all_cpus::<[u64; 9]>(key);
    assert_eq!(of_walk, boxed);
    assert_eq!(of_walk.clone(), boxed);
    assert_eq!(format!("{of_walk:?}"), format!("{boxed:?}"));
    assert_eq!(of_walk.sum(), boxed.sum());
    let set: std::collections::HashSet<_> = [of_walk.clone(), of_walk, boxed.clone()].into();
    assert_eq!(set.len(), 1);
    let mut values = boxed.clone().into_iter();
    assert_eq!((values.len(), values.next_back()), (boxed.len(), boxed.last().copied()));
    assert!(values.eq(boxed[..boxed.len() - 1].iter().copied()));
}
