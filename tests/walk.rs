//! A walk is complete and exact (G1): every kind, batch size, key and value
//! size, and every way to ask.

use std::thread;

use bpf_atlas::{
    Array, CreateFlags, Hash, LruHash, LruPerCpuHash, PerCpu, PerCpuArray, PerCpuHash, Snapshot,
};

#[path = "support/raw.rs"]
mod raw;
mod support;
use support::Once;

const N: u32 = 100_000;
const BATCHES: [u32; 8] = [1, 2, 3, 64, 1000, 4096, 65_536, 200_000];

/// Spreads the keys over all numbers; odd, so none falls on another.
const FACTOR: u32 = 2_654_435_761;
const INVERSE: u32 = 244_002_641;
const _: () = assert!(FACTOR.wrapping_mul(INVERSE) == 1);

fn key(index: u32) -> u32 {
    index.wrapping_mul(FACTOR)
}

fn index(key: u32) -> u32 {
    key.wrapping_mul(INVERSE)
}

/// The value of an entry, on CPU 0. Its index can be told from it.
fn value(index: u32) -> u64 {
    (u64::from(index) << 32) | u64::from(key(index))
}

fn cpus() -> u64 {
    PerCpu::splat(0_u64).len() as u64
}

/// A different value on each CPU.
fn values(index: u32) -> PerCpu<u64> {
    (0..cpus()).map(|cpu| value(index).wrapping_add(cpu)).collect()
}

fn sum_of_cpus(index: u32) -> u64 {
    values(index).iter().fold(0, |sum, value| sum.wrapping_add(*value))
}

fn total(n: u32, value: impl Fn(u32) -> u64) -> u64 {
    (0..n).fold(0, |sum, index| sum.wrapping_add(value(index)))
}

/// Asks a map of plain values in every way there is.
macro_rules! walk_plain {
    ($map:expr) => {{
        let map = $map;
        let mut once = Once::of(N);
        for entry in map.iter() {
            let (key, found) = entry.unwrap();
            assert_eq!(found, value(index(key)));
            once.see(index(key));
        }
        once.all();

        let mut once = Once::of(N);
        for entry in map {
            let (key, found) = entry.unwrap();
            assert_eq!(found, value(index(key)));
            once.see(index(key));
        }
        once.all();

        let mut once = Once::of(N);
        map.keys().for_each(|key| once.see(index(key.unwrap())));
        once.all();

        let mut once = Once::of(N);
        for found in map.values() {
            let found = found.unwrap();
            let index = (found >> 32) as u32;
            assert_eq!(found, value(index));
            once.see(index);
        }
        once.all();

        let mut once = Once::of(N);
        let walked = map.for_each(|key, found| {
            assert_eq!(found, value(index(key)));
            once.see(index(key));
        });
        assert_eq!(walked.unwrap(), N as usize);
        once.all();

        assert_eq!(map.sum().unwrap(), total(N, value));
        assert_eq!(map.count().unwrap(), N as usize);
        check_snapshot(&map.snapshot().unwrap(), value);
    }};
}

/// The same for a map with values of each CPU.
macro_rules! walk_per_cpu {
    ($map:expr) => {{
        let map = $map;
        let mut once = Once::of(N);
        for entry in map.iter() {
            let (key, found) = entry.unwrap();
            assert_eq!(found, values(index(key)));
            once.see(index(key));
        }
        once.all();

        let mut once = Once::of(N);
        for entry in map {
            let (key, found) = entry.unwrap();
            assert_eq!(found, values(index(key)));
            once.see(index(key));
        }
        once.all();

        let mut once = Once::of(N);
        map.keys().for_each(|key| once.see(index(key.unwrap())));
        once.all();

        let mut once = Once::of(N);
        for found in map.values() {
            let found = found.unwrap();
            let index = (found[0] >> 32) as u32;
            assert_eq!(found, values(index));
            once.see(index);
        }
        once.all();

        let mut once = Once::of(N);
        let walked = map.for_each(|key, found| {
            assert_eq!(*found, values(index(key)));
            once.see(index(key));
        });
        assert_eq!(walked.unwrap(), N as usize);
        once.all();

        let mut once = Once::of(N);
        for entry in map.sums() {
            let (key, found) = entry.unwrap();
            assert_eq!(found, sum_of_cpus(index(key)));
            once.see(index(key));
        }
        once.all();

        assert_eq!(map.sum().unwrap(), total(N, sum_of_cpus));
        assert_eq!(map.count().unwrap(), N as usize);
        check_snapshot(&map.snapshot().unwrap(), sum_of_cpus);
    }};
}

fn check_snapshot(snapshot: &Snapshot<u32, u64>, value: impl Fn(u32) -> u64) {
    let mut once = Once::of(N);
    for &(key, found) in snapshot.entries() {
        assert_eq!(found, value(index(key)));
        once.see(index(key));
    }
    once.all();
    assert_eq!(snapshot.len(), N as usize);
    assert!(snapshot.taken_at().elapsed().is_ok() && !snapshot.elapsed().is_zero());
}

fn plain_entries() -> impl Iterator<Item = (u32, u64)> {
    (0..N).map(|index| (key(index), value(index)))
}

fn per_cpu_entries() -> impl Iterator<Item = (u32, PerCpu<u64>)> {
    (0..N).map(|index| (key(index), values(index)))
}

#[test]
fn g1_a_hash_is_walked_whole_with_every_batch_size() {
    let map = Hash::<u32, u64>::create("walk", N).unwrap();
    assert_eq!(map.update_all(plain_entries()).unwrap(), N as usize);
    for batch in BATCHES {
        walk_plain!(&map.clone().with_batch_size(batch).unwrap());
    }
    walk_plain!(&map);
}

#[test]
fn g1_a_hash_without_preallocation_is_walked_whole() {
    let map = Hash::<u32, u64>::create_with("walk", N, CreateFlags::NO_PREALLOC).unwrap();
    assert_eq!(map.update_all(plain_entries()).unwrap(), N as usize);
    for batch in [1, 4096, 200_000] {
        walk_plain!(&map.clone().with_batch_size(batch).unwrap());
    }
}

#[test]
fn g1_an_lru_hash_is_walked_whole_with_every_batch_size() {
    // Room enough that nothing is evicted.
    let map = LruHash::<u32, u64>::create("walk", 2 * N).unwrap();
    assert_eq!(map.update_all(plain_entries()).unwrap(), N as usize);
    for batch in BATCHES {
        walk_plain!(&map.clone().with_batch_size(batch).unwrap());
    }
}

#[test]
fn g1_a_per_cpu_hash_is_walked_whole_with_every_batch_size() {
    let map = PerCpuHash::<u32, u64>::create("walk", N).unwrap();
    assert_eq!(map.update_all(per_cpu_entries()).unwrap(), N as usize);
    for batch in BATCHES {
        walk_per_cpu!(&map.clone().with_batch_size(batch).unwrap());
    }
}

#[test]
fn g1_a_per_cpu_hash_without_preallocation_is_walked_whole() {
    let map = PerCpuHash::<u32, u64>::create_with("walk", N, CreateFlags::NO_PREALLOC).unwrap();
    assert_eq!(map.update_all(per_cpu_entries()).unwrap(), N as usize);
    for batch in [1, 4096] {
        walk_per_cpu!(&map.clone().with_batch_size(batch).unwrap());
    }
}

#[test]
fn g1_an_lru_per_cpu_hash_is_walked_whole_with_every_batch_size() {
    let map = LruPerCpuHash::<u32, u64>::create("walk", 2 * N).unwrap();
    assert_eq!(map.update_all(per_cpu_entries()).unwrap(), N as usize);
    for batch in BATCHES {
        walk_per_cpu!(&map.clone().with_batch_size(batch).unwrap());
    }
}

#[test]
fn g1_arrays_are_walked_in_order_with_every_batch_size() {
    for n in [1, 2, N] {
        let array = Array::<u64>::create("walk", n).unwrap();
        assert_eq!(array.sum().unwrap(), 0);
        assert_eq!(array.update_all((0..n).map(|i| (i, value(i)))).unwrap(), n as usize);
        let spread = PerCpuArray::<u64>::create("walk", n).unwrap();
        let entries = (0..n).map(|i| (i, values(i)));
        assert_eq!(spread.update_all(entries).unwrap(), n as usize);
        for batch in BATCHES {
            let array = array.clone().with_batch_size(batch).unwrap();
            let expected = || (0..n).map(|i| (i, value(i)));
            assert!(array.iter().map(Result::unwrap).eq(expected()));
            assert_eq!(array.sum().unwrap(), total(n, value));
            let spread = spread.clone().with_batch_size(batch).unwrap();
            let sums = || (0..n).map(|i| (i, sum_of_cpus(i)));
            assert!(spread.sums().map(Result::unwrap).eq(sums()));
            assert_eq!(spread.sum().unwrap(), total(n, sum_of_cpus));
            if n == N && ![1, 4096].contains(&batch) {
                continue;
            }

            assert!((&array).into_iter().map(Result::unwrap).eq(expected()));
            assert!(array.values().map(Result::unwrap).eq((0..n).map(value)));
            let mut next = expected();
            let each = |index, found| assert_eq!(Some((index, found)), next.next());
            assert_eq!(array.for_each(each).unwrap(), n as usize);
            assert_eq!(array.count().unwrap(), n as usize);
            assert!(array.snapshot().unwrap().into_iter().eq(expected()));

            let expected = || (0..n).map(|i| (i, values(i)));
            assert!(spread.iter().map(Result::unwrap).eq(expected()));
            assert!((&spread).into_iter().map(Result::unwrap).eq(expected()));
            assert!(spread.values().map(Result::unwrap).eq((0..n).map(values)));
            let mut next = expected();
            let each =
                |index, found: &PerCpu<_>| assert_eq!(Some((index, found.clone())), next.next());
            assert_eq!(spread.for_each(each).unwrap(), n as usize);
            assert_eq!(spread.count().unwrap(), n as usize);
            assert!(spread.snapshot().unwrap().into_iter().eq(sums()));
        }
    }
}

#[test]
fn g1_a_mapped_array_holds_what_the_array_holds() {
    for n in [1, 2, N] {
        let array = Array::<u64>::create_with("walk", n, CreateFlags::MMAPABLE).unwrap();
        let mapped = array.mapped().unwrap();
        assert_eq!((mapped.len(), mapped.sum()), (n as usize, 0));
        array.update_all((0..n).map(|i| (i, value(i)))).unwrap();
        assert!(mapped.iter().eq((0..n).map(value)));
        assert_eq!(mapped.iter().len(), n as usize);
        assert_eq!(mapped.sum(), total(n, value));
        for index in 0..n {
            assert_eq!(mapped.load(index).unwrap(), value(index));
            mapped.store(index, value(index) + 1).unwrap();
        }
        // What was stored is in the array; the kernel's walk sees it.
        assert!(array.values().map(Result::unwrap).eq((0..n).map(|i| value(i) + 1)));
        assert_eq!(mapped.take(n - 1).unwrap(), value(n - 1) + 1);
        assert_eq!(array.lookup(n - 1).unwrap(), 0);
    }
    // Values of every size lie 8 bytes apart.
    let array = Array::<u16>::create_with("walk", 3, CreateFlags::MMAPABLE).unwrap();
    array.update_all([(0, 7), (1, 8), (2, 9)]).unwrap();
    drop(array.mapped().unwrap());
    let mapped = array.mapped().unwrap();
    drop(array);
    assert!(mapped.iter().eq([7, 8, 9]), "the mapping holds the memory by itself");
}

#[test]
fn g1_a_batch_of_one_goes_through_enospc() {
    let map = Hash::<u32, u64>::create("walk", 1024).unwrap();
    map.update_all((0..1024).map(|i| (key(i), value(i)))).unwrap();

    // What the kernel does: a bucket that does not fit is refused whole.
    let (mut once, mut refused, mut from, mut count) = (Once::of(1024), 0, None, 1);
    loop {
        let answer = raw::lookup_batch(&map, from, count);
        if answer.errno == libc::ENOSPC {
            assert!(answer.entries.is_empty());
            (refused, count) = (refused + 1, count + 1);
            continue;
        }
        answer.entries.iter().for_each(|&(key, _)| once.see(index(key)));
        if answer.errno == libc::ENOENT {
            break;
        }
        assert_eq!(answer.errno, 0);
        (from, count) = (Some(answer.next), 1);
    }
    once.all();
    assert!(refused > 0, "no bucket of 1,024 keys holds two");
    println!("ENOSPC {refused} times with batches of one");

    // What the walk makes of it.
    let map = map.with_batch_size(1).unwrap();
    let mut once = Once::of(1024);
    for entry in &map {
        let (key, found) = entry.unwrap();
        assert_eq!(found, value(index(key)));
        once.see(index(key));
    }
    once.all();
    assert_eq!(map.sum().unwrap(), total(1024, value));
}

#[test]
fn a_walk_outlives_its_handle_and_moves_between_threads() {
    let map = Hash::<u32, u64>::create("walk", N).unwrap();
    map.update_all(plain_entries()).unwrap();
    let mut walk = map.iter();
    let keys = map.keys();
    let values = map.values();
    let mut once = Once::of(N);
    for _ in 0..10 {
        once.see(index(walk.next().unwrap().unwrap().0));
    }
    drop(map);
    let walked = thread::spawn(move || {
        for entry in walk.by_ref().take(50_000) {
            once.see(index(entry.unwrap().0));
        }
        (walk, once)
    });
    assert_eq!(thread::spawn(move || keys.map(Result::unwrap).count()).join().unwrap(), N as usize);
    let (walk, mut once) = walked.join().unwrap();
    walk.for_each(|entry| once.see(index(entry.unwrap().0)));
    once.all();
    assert_eq!(values.map(Result::unwrap).fold(0, u64::wrapping_add), total(N, value));
}

#[test]
fn a_walk_that_was_dropped_half_way_leaves_no_trace() {
    let map = Hash::<u32, u64>::create("walk", N).unwrap();
    map.update_all(plain_entries()).unwrap();
    for (taken, batch) in [(1, 1), (2, 64), (5000, 4096), (99_999, 200_000), (0, 3)] {
        let map = map.clone().with_batch_size(batch).unwrap();
        assert_eq!(map.iter().take(taken).map(Result::unwrap).count(), taken);
        let mut once = Once::of(N);
        map.for_each(|key, _| once.see(index(key))).unwrap();
        once.all();
    }
    // Two at a time share nothing but the map.
    let (mut once, mut other) = (Once::of(N), Once::of(N));
    let small = map.clone().with_batch_size(7).unwrap();
    for (a, b) in map.iter().zip(&small) {
        once.see(index(a.unwrap().0));
        other.see(index(b.unwrap().0));
    }
    once.all();
    other.all();
}
