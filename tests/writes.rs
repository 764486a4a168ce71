//! Writes do what they say: compared with a model, at the edges of batches, and
//! drains that take each entry out exactly once (G7).
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::thread;

use bpf_atlas::{Array, Error, Hash, LruHash, LruPerCpuHash, PerCpu, PerCpuArray, PerCpuHash};

mod support;
use support::Once;
use support::random::Random;

fn cpus() -> usize {
    PerCpu::splat(0_u64).len()
}

/// A value that differs from CPU to CPU.
fn spread(value: u64) -> PerCpu<u64> {
    (0..cpus() as u64).map(|cpu| value ^ cpu << 56).collect()
}

/// Thousands of random operations on a map and on a `HashMap`, which must agree
/// on each answer and, again and again, on the whole content.
macro_rules! compare_with_model {
    ($map:expr, $value:expr) => {
        let map = $map.unwrap();
        for seed in [1, 2, 3] {
            map.clear().unwrap();
            let mut random = Random(seed);
            let mut model = HashMap::new();
            for step in 0..3000_u64 {
                let key = random.below(200) as u32;
                let value = $value(step);
                match random.below(100) {
                    0..15 => {
                        map.update(key, &value).unwrap();
                        model.insert(key, value);
                    }
                    15..30 => {
                        let inserted = !model.contains_key(&key);
                        assert_eq!(map.insert(key, &value).unwrap(), inserted);
                        model.entry(key).or_insert(value);
                    }
                    30..40 => {
                        let there = model.contains_key(&key);
                        assert_eq!(map.replace(key, &value).unwrap(), there);
                        model.entry(key).and_modify(|old| *old = value);
                    }
                    40..50 => {
                        assert_eq!(map.delete(key).unwrap(), model.remove(&key).is_some());
                    }
                    50..60 => assert_eq!(map.take(key).unwrap(), model.remove(&key)),
                    60..70 => assert_eq!(map.lookup(key).unwrap(), model.get(&key).cloned()),
                    70..75 => {
                        assert_eq!(map.contains_key(key).unwrap(), model.contains_key(&key));
                    }
                    75..82 => {
                        // With repeated keys: the later one wins.
                        let n = random.below(80);
                        let entries: Vec<_> = (0..n)
                            .map(|n| (random.below(200) as u32, $value(step << 8 | n)))
                            .collect();
                        assert_eq!(map.update_all(entries.clone()).unwrap(), entries.len());
                        model.extend(entries);
                    }
                    82..89 => {
                        // With keys that are not there, and some named twice.
                        let n = random.below(80);
                        let keys: Vec<_> = (0..n).map(|_| random.below(200) as u32).collect();
                        let deleted = keys.iter().filter(|key| model.remove(key).is_some()).count();
                        assert_eq!(map.delete_all(&keys).unwrap(), deleted);
                    }
                    89..94 => {
                        // What a drain yields is gone, the rest is put back.
                        let taken = random.below(100) as usize;
                        for entry in map.drain().take(taken) {
                            let (key, value) = entry.unwrap();
                            assert_eq!(model.remove(&key), Some(value));
                        }
                    }
                    94 => {
                        assert_eq!(map.clear().unwrap(), model.len());
                        model.clear();
                    }
                    _ => {
                        let found: HashMap<_, _> = map.iter().map(Result::unwrap).collect();
                        assert_eq!(found, model);
                        assert_eq!(map.count().unwrap(), model.len());
                    }
                }
            }
            let found: HashMap<_, _> = map.iter().map(Result::unwrap).collect();
            assert_eq!(found, model);
        }
    };
}

#[test]
fn a_hash_agrees_with_a_model() {
    compare_with_model!(Hash::<u32, u64>::create("model", 200), |value| value);
    let map = Hash::<u32, u64>::create("model", 200).unwrap().with_batch_size(3);
    compare_with_model!(map, |value| value);
}

#[test]
fn an_lru_hash_with_room_agrees_with_a_model() {
    compare_with_model!(LruHash::<u32, u64>::create("model", 20_000), |value| value);
}

#[test]
fn a_per_cpu_hash_agrees_with_a_model() {
    compare_with_model!(PerCpuHash::<u32, u64>::create("model", 200), spread);
    let map = PerCpuHash::<u32, u64>::create("model", 200).unwrap().with_batch_size(3);
    compare_with_model!(map, spread);
}

#[test]
fn an_lru_per_cpu_hash_with_room_agrees_with_a_model() {
    compare_with_model!(LruPerCpuHash::<u32, u64>::create("model", 20_000), spread);
}

#[test]
fn an_array_agrees_with_a_model() {
    let array = Array::<u64>::create("model", 50).unwrap();
    let spread_array = PerCpuArray::<u64>::create("model", 50).unwrap();
    let mut model = vec![0; 50];
    let mut random = Random(4);
    for step in 0..3000_u64 {
        let index = random.below(50) as u32;
        match random.below(4) {
            0 => {
                array.update(index, step).unwrap();
                spread_array.update(index, &spread(step)).unwrap();
                model[index as usize] = step;
            }
            1 => {
                let n = random.below(50) as u32;
                let entries: Vec<_> =
                    (0..n).map(|n| (random.below(50) as u32, step << 8 | u64::from(n))).collect();
                assert_eq!(array.update_all(entries.clone()).unwrap(), entries.len());
                let spread_entries = entries.iter().map(|&(index, value)| (index, spread(value)));
                assert_eq!(spread_array.update_all(spread_entries).unwrap(), entries.len());
                entries.into_iter().for_each(|(index, value)| model[index as usize] = value);
            }
            2 => {
                // Elements that were never written are zero on all CPUs.
                let expected = model[index as usize];
                assert_eq!(array.lookup(index).unwrap(), expected);
                let found = spread_array.lookup(index).unwrap();
                assert!(found == spread(expected) || (expected == 0 && found == PerCpu::splat(0)));
            }
            _ => assert!(array.values().map(Result::unwrap).eq(model.iter().copied())),
        }
    }
}

#[test]
fn batches_of_writes_are_whole_at_their_edges() {
    let map = Hash::<u32, u64>::create("edges", 4000).unwrap();
    let spread_map = PerCpuHash::<u32, u64>::create("edges", 4000).unwrap();
    for n in [0, 1, 1023, 1024, 1025, 2048, 3000] {
        let n_entries = n as usize;
        assert_eq!(map.update_all((0..n).map(|key| (key, u64::from(key)))).unwrap(), n_entries);
        assert_eq!(map.count().unwrap(), n_entries);
        assert_eq!(map.sum().unwrap(), (0..n).map(u64::from).sum::<u64>());
        assert_eq!(map.delete_all(0..n).unwrap(), n_entries);
        assert_eq!(map.count().unwrap(), 0);

        let entries = (0..n).map(|key| (key, spread(key.into())));
        assert_eq!(spread_map.update_all(entries).unwrap(), n_entries);
        assert!(spread_map.iter().map(Result::unwrap).all(|(k, v)| v == spread(k.into())));
        assert_eq!(spread_map.clear().unwrap(), n_entries);
    }
    // Missing keys at the start, at the end, at the edge of a batch, in a row.
    for missing in
        [vec![0], vec![2999], vec![1023, 1024], (500..2500).collect(), (0..3000).collect()]
    {
        map.update_all((0..3000).map(|key| (key, 1))).unwrap();
        for key in &missing {
            assert!(map.delete(key).unwrap());
        }
        assert_eq!(map.delete_all(0..3000).unwrap(), 3000 - missing.len());
        assert_eq!(map.count().unwrap(), 0);
    }
}

#[test]
#[expect(clippy::needless_borrows_for_generic_args, reason = "both forms are tested")]
fn keys_and_values_are_taken_by_value_and_by_reference() {
    let map = Hash::<u32, u64>::create("borrow", 10).unwrap();
    let (key, value) = (7, 8);
    map.update(key, value).unwrap();
    map.update(&key, &value).unwrap();
    map.update(key, &value).unwrap();
    assert!(!map.insert(&key, 9).unwrap() && map.replace(key, &value).unwrap());
    assert_eq!(map.lookup(7).unwrap(), map.lookup(&7).unwrap());
    assert_eq!(map.lookup_walked(7).unwrap(), Some(8));
    assert_eq!(map.lookup_walked(&8).unwrap(), None);
    assert!(map.contains_key(7).unwrap() && !map.contains_key(&8).unwrap());
    assert_eq!(map.take(&7).unwrap(), Some(8));
    let owned = vec![(1, 2), (3, 4)];
    assert_eq!(map.update_all(owned.iter().map(|(key, value)| (key, value))).unwrap(), 2);
    assert_eq!(map.update_all(owned).unwrap(), 2);
    assert_eq!(map.delete_all(&[1, 2]).unwrap(), 1);
    assert_eq!(map.delete_all([3]).unwrap(), 1);

    let spread_map = PerCpuHash::<u32, u64>::create("borrow", 10).unwrap();
    let entries = HashMap::from([(1, spread(1)), (2, spread(2))]);
    assert_eq!(spread_map.update_all(&entries).unwrap(), 2);
    assert_eq!(spread_map.lookup(1).unwrap(), spread_map.lookup(&1).unwrap());
    let array = Array::<u64>::create("borrow", 2).unwrap();
    array.update(0, &5).unwrap();
    array.update(1, 6).unwrap();
    assert_eq!(array.sum().unwrap(), 11);
}

#[test]
fn g7_each_of_5_million_entries_is_drained_once() {
    const N: u32 = 5_000_000;
    let map = Hash::<u32, u64>::create("drain", N).unwrap();
    let value = |key: u32| u64::from(key) * 3 + 1;
    assert_eq!(map.update_all((0..N).map(|key| (key, value(key)))).unwrap(), N as usize);
    let mut once = Once::of(N);
    for entry in map.drain() {
        let (key, found) = entry.unwrap();
        assert_eq!(found, value(key));
        once.see(key);
    }
    once.all();
    assert_eq!(map.count().unwrap(), 0);
}

#[test]
fn g7_two_drains_at_once_share_the_entries() {
    const N: u32 = 50_000;
    for batch in [1, 64, 4096, 100_000] {
        let map = Hash::<u32, u64>::create("drain", N).unwrap().with_batch_size(batch).unwrap();
        map.update_all((0..N).map(|key| (key, u64::from(key)))).unwrap();
        let drains = [map.drain(), map.drain()];
        let drained = drains
            .map(|drain| thread::spawn(|| drain.map(Result::unwrap).collect::<Vec<(u32, u64)>>()));
        let mut once = Once::of(N);
        for (key, value) in drained.into_iter().flat_map(|thread| thread.join().unwrap()) {
            assert_eq!(value, u64::from(key));
            once.see(key);
        }
        once.all();
        assert_eq!(map.count().unwrap(), 0);
    }
}

#[test]
fn g7_what_a_drain_did_not_yield_is_put_back() {
    let map = PerCpuHash::<u32, u64>::create("drain", 1000).unwrap();
    for batch in [1, 7, 4096] {
        let map = map.clone().with_batch_size(batch).unwrap();
        for taken in [0, 1, 500, 999, 1000] {
            map.update_all((0..1000).map(|key| (key, spread(key.into())))).unwrap();
            let mut once = Once::of(1000);
            for entry in map.drain().take(taken) {
                once.see(entry.unwrap().0);
            }
            assert_eq!(map.count().unwrap(), 1000 - taken);
            for entry in &map {
                let (key, value) = entry.unwrap();
                assert_eq!(value, spread(key.into()));
                once.see(key);
            }
            once.all();
        }
    }

    // By name, which tells how many, or what went wrong.
    let map = Hash::<u32, u64>::create("drain", 100).unwrap();
    map.update_all((0..100).map(|key| (key, 1))).unwrap();
    let mut drain = map.drain();
    let (first, _) = drain.next().unwrap().unwrap();
    assert_eq!(map.count().unwrap(), 0, "the whole batch has left the map");
    assert_eq!(drain.put_back().unwrap(), 99);
    assert_eq!(map.count().unwrap(), 99);

    // A key that has come anew is not overwritten, and all others are tried.
    let mut drain = map.drain();
    let (taken, _) = drain.next().unwrap().unwrap();
    // One that this drain holds still: the order is the kernel's.
    let anew = (0..100).find(|key| ![first, taken].contains(key)).unwrap();
    map.update(anew, 2).unwrap();
    let error = drain.put_back().unwrap_err();
    let Error::Partial { done: 97, source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.errno().map(|errno| errno.0), Some(libc::EEXIST));
    println!("{error}");
    assert_eq!(map.lookup(anew).unwrap(), Some(2));
    assert_eq!(map.count().unwrap(), 98);
}

/// Values of `V` bytes on each CPU come back byte for byte in their slots.
fn round_trip<const V: usize>() {
    let hash = PerCpuHash::<u32, [u8; V]>::create("slots", 10).unwrap();
    let lru = LruPerCpuHash::<u32, [u8; V]>::create("slots", 100).unwrap();
    let array = PerCpuArray::<[u8; V]>::create("slots", 10).unwrap();
    let value = |key: u32| -> PerCpu<[u8; V]> {
        let byte = |cpu, at| (cpu * 64 + at * 2 + key as usize) as u8 | 1;
        (0..cpus()).map(|cpu| std::array::from_fn(|at| byte(cpu, at))).collect()
    };
    for key in 0..10 {
        hash.update(key, &value(key)).unwrap();
        lru.update(key, &value(key)).unwrap();
        array.update(key, &value(key)).unwrap();
    }
    for key in 0..10 {
        assert_eq!(hash.lookup(key).unwrap(), Some(value(key)));
        assert_eq!(lru.lookup(key).unwrap(), Some(value(key)));
        assert_eq!(array.lookup(key).unwrap(), value(key));
        let sum = value(key).sum();
        assert_eq!(hash.sum_of(key).unwrap(), Some(sum));
        assert_eq!(array.sum_of(key).unwrap(), sum);
    }
    assert!(hash.iter().map(Result::unwrap).all(|(key, found)| found == value(key)));
    assert!(array.iter().map(Result::unwrap).eq((0..10).map(|key| (key, value(key)))));
    assert_eq!(hash.take(3).unwrap(), Some(value(3)));
    assert_eq!(hash.lookup(3).unwrap(), None);
    let mut drained = hash.drain().map(Result::unwrap);
    assert!(drained.all(|(key, found)| found == value(key)));

    // One slot alone.
    for cpu in 0..cpus() {
        let one = PerCpu::on_cpu(cpu, [0xff; V]);
        array.update(0, &one).unwrap();
        let found = array.lookup(0).unwrap();
        for (slot, bytes) in found.iter().enumerate() {
            assert_eq!(*bytes, [if slot == cpu { 0xff } else { 0 }; V]);
        }
    }
}

macro_rules! round_trips {
    ($($size:literal)*) => { $(round_trip::<$size>();)* };
}

#[test]
fn per_cpu_values_of_1_to_24_bytes_come_back_in_their_slots() {
    round_trips!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24);
}
