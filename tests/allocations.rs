//! What allocates, and how often: reading is done with memory at hand.

// An allocator that counts is an unsafe trait's.
#![allow(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/ring.rs"]
mod ring_programs;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bpf_atlas::{
    Array, CreateFlags, Hash, LruHash, LruPerCpuHash, PerCpu, PerCpuArray, PerCpuHash, Snapshot,
};
use ring_programs::{load, produce, reader};

/// The system's allocator, and a count for each thread: tests do not see each other.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has nothing left to count with.
    ALLOCATIONS.try_with(|count| count.set(count.get() + 1)).ok();
}

// SAFETY: every method hands on to the system's allocator what it was given; the count is a
// `Cell` that takes no memory from an allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many allocations `f` makes on this thread.
fn allocations(f: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

/// `f` makes none but the first time.
#[track_caller]
fn none_after_the_first(what: &str, mut f: impl FnMut()) {
    f();
    for _ in 0..3 {
        assert_eq!(allocations(&mut f), 0, "{what}");
    }
}

const ENTRIES: u32 = 10_000;

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert!(allocations(|| drop(std::hint::black_box(vec![0_u8; 10].into_boxed_slice()))) > 0);
}

macro_rules! walks_of {
    ($map:expr) => {
        let map = $map;
        let mut snapshot = Snapshot::new();
        none_after_the_first("sum", || assert_eq!(map.sum().unwrap(), expected(1)));
        none_after_the_first("count", || assert_eq!(map.count().unwrap(), ENTRIES as usize));
        none_after_the_first("for_each", || {
            let mut sum = 0;
            map.for_each(|_, value| sum += value).unwrap();
            assert_eq!(sum, expected(1));
        });
        none_after_the_first("snapshot_into", || {
            map.snapshot_into(&mut snapshot).unwrap();
            assert_eq!(snapshot.entries().iter().map(|one| one.1).sum::<u64>(), expected(1));
        });
        none_after_the_first("iter", || {
            assert_eq!(map.iter().map(|entry| entry.unwrap().1).sum::<u64>(), expected(1));
        });
        none_after_the_first("values", || assert_eq!(map.values().count(), ENTRIES as usize));
    };
}

macro_rules! per_cpu_walks_of {
    ($map:expr) => {
        let map = $map;
        let cpus = PerCpu::splat(0).len() as u64;
        let mut snapshot = Snapshot::new();
        none_after_the_first("sum", || assert_eq!(map.sum().unwrap(), expected(cpus)));
        none_after_the_first("sums", || {
            assert_eq!(map.sums().map(|entry| entry.unwrap().1).sum::<u64>(), expected(cpus));
        });
        none_after_the_first("for_each", || {
            let mut sum = 0;
            map.for_each(|_, value| sum += value.sum()).unwrap();
            assert_eq!(sum, expected(cpus));
        });
        none_after_the_first("snapshot_into", || {
            map.snapshot_into(&mut snapshot).unwrap();
            assert_eq!(snapshot.entries().iter().map(|one| one.1).sum::<u64>(), expected(cpus));
        });
        none_after_the_first("iter", || {
            assert_eq!(map.iter().map(|entry| entry.unwrap().1.sum()).sum::<u64>(), expected(cpus));
        });
        none_after_the_first("values", || assert_eq!(map.values().count(), ENTRIES as usize));
    };
}

/// The values are the numbers below `ENTRIES`, on each of `cpus`.
fn expected(cpus: u64) -> u64 {
    (0..u64::from(ENTRIES)).sum::<u64>() * cpus
}

fn entries() -> impl Iterator<Item = (u32, u64)> {
    (0..ENTRIES).map(|key| (key, u64::from(key)))
}

fn per_cpu_entries() -> impl Iterator<Item = (u32, PerCpu<u64>)> {
    entries().map(|(key, value)| (key, PerCpu::splat(value)))
}

#[test]
fn walks_of_hashes_use_the_memory_of_the_walk_before() {
    let map = Hash::<u32, u64>::create("alloc", ENTRIES).unwrap();
    map.update_all(entries()).unwrap();
    walks_of!(&map);
    none_after_the_first("keys", || assert_eq!(map.keys().count(), ENTRIES as usize));
    // Room for all, whatever the kernel evicts early.
    let map = LruHash::<u32, u64>::create("alloc_lru", 4 * ENTRIES).unwrap();
    map.update_all(entries()).unwrap();
    walks_of!(&map);
}

#[test]
fn walks_of_arrays_use_the_memory_of_the_walk_before() {
    let map = Array::<u64>::create("alloc", ENTRIES).unwrap();
    map.update_all(entries()).unwrap();
    walks_of!(&map);
}

#[test]
fn walks_of_per_cpu_maps_use_the_memory_of_the_walk_before() {
    let map = PerCpuHash::<u32, u64>::create("alloc", ENTRIES).unwrap();
    map.update_all(per_cpu_entries()).unwrap();
    per_cpu_walks_of!(&map);
    let map = LruPerCpuHash::<u32, u64>::create("alloc_lru", 4 * ENTRIES).unwrap();
    map.update_all(per_cpu_entries()).unwrap();
    per_cpu_walks_of!(&map);
    let map = PerCpuArray::<u64>::create("alloc_array", ENTRIES).unwrap();
    map.update_all(per_cpu_entries()).unwrap();
    per_cpu_walks_of!(&map);
}

/// Values on many CPUs lie in the batch that they came with, here for their size.
#[test]
fn walks_of_large_per_cpu_values_allocate_at_most_once_a_batch() {
    type Large = [u64; 16];
    let map = PerCpuHash::<u32, Large>::create("alloc_large", ENTRIES).unwrap();
    let map = map.with_batch_size(1000).unwrap();
    let values = per_cpu_entries()
        .map(|(key, value)| (key, value.iter().map(|v| [*v; 16]).collect::<PerCpu<Large>>()));
    map.update_all(values).unwrap();
    let sum = |value: &PerCpu<Large>| value.iter().map(|words| words[15]).sum::<u64>();
    let expected = expected(PerCpu::splat(0).len() as u64);
    none_after_the_first("iter", || {
        assert_eq!(map.iter().map(|entry| sum(&entry.unwrap().1)).sum::<u64>(), expected);
    });
    none_after_the_first("for_each", || {
        let mut all = 0;
        map.for_each(|_, value| all += sum(value)).unwrap();
        assert_eq!(all, expected);
    });
    // Kept, each batch keeps its memory, and the next one has memory of its own.
    let mut kept = Vec::with_capacity(ENTRIES as usize);
    let made = allocations(|| kept.extend(map.iter().map(|entry| entry.unwrap().1)));
    assert!((1..=12).contains(&made), "{made}");
    assert_eq!(kept.iter().map(sum).sum::<u64>(), expected);
    // A clone has its own.
    assert_eq!(allocations(|| assert_eq!(sum(&kept[0].clone()), sum(&kept[0]))), 1);
}

#[test]
fn a_walk_inside_a_walk_allocates_for_itself_alone() {
    let map = Hash::<u32, u64>::create("alloc", ENTRIES).unwrap();
    map.update_all(entries()).unwrap();
    let once = |map: &Hash<u32, u64>| map.sum().unwrap();
    once(&map);
    let made = allocations(|| {
        let mut first = true;
        map.for_each(|_, _| {
            if std::mem::take(&mut first) {
                assert_eq!(once(&map), expected(1));
            }
        })
        .unwrap();
    });
    // Keys, values and the two cursors of the inner walk.
    assert!((1..=4).contains(&made), "{made}");
}

#[test]
fn single_operations_allocate_nothing_but_large_values_of_all_cpus() {
    let map = Hash::<u32, u64>::create("alloc", 16).unwrap();
    let array = Array::<u64>::create("alloc_array", 16).unwrap();
    let per_cpu = PerCpuHash::<u32, u64>::create("alloc_cpus", 16).unwrap();
    let per_cpu_array = PerCpuArray::<u64>::create("alloc_cpu_array", 16).unwrap();
    let seven = PerCpu::splat(7_u64);
    per_cpu.update(1, &seven).unwrap();
    let made = allocations(|| {
        map.update(1, 7).unwrap();
        assert_eq!(map.lookup(1).unwrap(), Some(7));
        assert_eq!(map.lookup(2).unwrap(), None);
        assert!(map.contains_key(1).unwrap() && !map.insert(1, 8).unwrap());
        assert_eq!(map.take(1).unwrap(), Some(7));
        assert!(!map.delete(1).unwrap());
        array.update(3, 9).unwrap();
        assert_eq!(array.lookup(3).unwrap(), 9);
        per_cpu.update(2, &seven).unwrap();
        assert_eq!(per_cpu.sum_of(2).unwrap(), Some(seven.sum()));
        assert!(per_cpu.delete(2).unwrap());
        per_cpu_array.update(2, &seven).unwrap();
        assert_eq!(per_cpu_array.sum_of(2).unwrap(), seven.sum());
    });
    assert_eq!(made, 0);
    // As documented: the slice of values itself, where it is large.
    let few = u64::from(seven.len() > 4);
    assert_eq!(allocations(|| assert_eq!(per_cpu.lookup(1).unwrap().unwrap(), seven)), few);
    assert_eq!(allocations(|| assert_eq!(per_cpu_array.lookup(2).unwrap(), seven)), few);
    let large = PerCpuArray::<[u64; 16]>::create("alloc_large", 1).unwrap();
    assert_eq!(allocations(|| assert_eq!(large.lookup(0).unwrap()[0], [0; 16])), 1);
}

#[test]
fn many_updates_allocate_their_buffers_alone() {
    let map = PerCpuHash::<u32, u64>::create("alloc", ENTRIES).unwrap();
    let value = PerCpu::splat(3_u64);
    let made = allocations(|| {
        assert_eq!(map.update_all((0..ENTRIES).map(|key| (key, &value))).unwrap(), 10_000);
    });
    // Two buffers that double until a batch fits.
    assert!(made < 30, "{made}");
    let made = allocations(|| assert_eq!(map.delete_all(0..ENTRIES).unwrap(), 10_000));
    assert_eq!(made, 1);
}

#[test]
fn mapped_arrays_and_rings_allocate_nothing() {
    let array = Array::<u64>::create_with("alloc", 100, CreateFlags::MMAPABLE).unwrap();
    let mapped = array.mapped().unwrap();
    let made = allocations(|| {
        mapped.store(3, 4).unwrap();
        assert_eq!((mapped.sum(), mapped.iter().sum(), mapped.load(3).unwrap()), (4, 4, 4));
        assert_eq!(mapped.take(3).unwrap(), 4);
    });
    assert_eq!(made, 0);

    let programs = load(64 << 10);
    let mut ring = reader(&programs);
    let mut seq = 0;
    for _ in 0..3 {
        assert_eq!(produce(&programs, 0, seq, 1000), 0);
        assert_eq!(produce(&programs, 0, seq + 1000, 1000), 0);
        let (mut one_by_one, mut drained) = (0, 0);
        let made = allocations(|| {
            for _ in 0..1000 {
                let record = ring.next().unwrap().expect("2,000 were submitted");
                one_by_one += u64::from(record.is_whole());
            }
            ring.drain(|record| drained += u64::from(record.is_whole())).unwrap();
        });
        assert_eq!((one_by_one, drained, made), (1000, 1000, 0));
        seq += 2000;
    }
}

#[cfg(feature = "gather")]
#[test]
fn a_gatherer_allocates_nothing() {
    use bpf_atlas::{GatherMode, Gatherer};

    let map = PerCpuArray::<u64>::create("alloc", ENTRIES).unwrap();
    map.update_all(per_cpu_entries()).unwrap();
    let mut gatherer = Gatherer::new(&map);
    if let GatherMode::Walk(why) = gatherer.mode() {
        return support::skipped("a_gatherer_allocates_nothing", &why);
    }
    none_after_the_first("gather", || assert_eq!(gatherer.gather().unwrap().len(), 10_000));
}
