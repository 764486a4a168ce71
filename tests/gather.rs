//! A gather in the kernel gives what a walk gives: on random maps, for every kind and
//! type of value, and with a threshold.
#![forbid(unsafe_code)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;

use bpf_atlas::{
    Accumulate, Array, Error, GatherMode, GatherWay, Gatherable, Gatherer, Hash, LruHash, PerCpu,
    PerCpuArray, PerCpuHash, Pod,
};
use support::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Pod, Accumulate)]
#[repr(C)]
struct Flow {
    packets: u64,
    #[accumulate(max)]
    largest: u32,
    #[accumulate(min)]
    ttl: u8,
    _pad: [u8; 3],
    sizes: [u16; 4],
    #[accumulate(max)]
    deepest: i64,
    inner: Inner,
}

#[derive(Clone, Copy, Debug, PartialEq, Pod, Accumulate)]
#[repr(C)]
struct Inner {
    errors: i32,
    #[accumulate(first)]
    user: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod)]
#[repr(C)]
struct Key {
    address: [u8; 16],
    port: u16,
    kind: u16,
}

fn flow(random: &mut Random) -> Flow {
    let small = random.below(8);
    Flow {
        packets: random.next(),
        largest: random.next() as u32,
        // Often not set.
        ttl: if small < 3 { 0 } else { random.next() as u8 },
        _pad: [0; 3],
        sizes: [(); 4].map(|()| random.next() as u16),
        deepest: random.next() as i64,
        inner: Inner {
            errors: random.next() as i32,
            user: if small < 4 { 0 } else { random.next() as u32 },
        },
    }
}

fn key(random: &mut Random) -> Key {
    let address = [(); 16].map(|()| random.next() as u8);
    Key { address, port: random.next() as u16, kind: random.below(3) as u16 }
}

/// One value a key: there is one way.
const PLAIN: &[GatherWay] = &[GatherWay::Lookups];
/// All ways to come by the values of the other CPUs.
const PER_CPU: &[GatherWay] = &[GatherWay::Lookups, GatherWay::Addresses, GatherWay::Copies];

/// Whether the kernel has what it takes.
fn has(way: GatherWay) -> bool {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let has = way != GatherWay::Addresses || symbols.contains(" bpf_rdonly_cast");
    if !has {
        println!("skipped: {way:?} takes bpf_rdonly_cast, of Linux 6.2");
    }
    has
}

/// Gathers in the kernel, as it comes and in each way, and compares with what is `expected`.
fn gives<M>(map: M, ways: &[GatherWay], expected: &BTreeMap<M::Key, M::Total>)
where
    M: Gatherable + Clone,
    M::Key: Ord + Debug,
    M::Total: PartialEq + Debug,
{
    let forced = ways.iter().filter(|&&way| has(way)).map(|&way| {
        let gatherer = Gatherer::sampling(map.clone()).forced(way);
        assert_eq!((gatherer.mode(), gatherer.way()), (GatherMode::Kernel, Some(way)));
        gatherer
    });
    for mut gatherer in forced.chain([Gatherer::sampling(map.clone())]) {
        let way = gatherer.way().unwrap();
        assert_eq!(gatherer.mode(), GatherMode::Kernel);
        for _ in 0..2 {
            let gathered = gatherer.gather().unwrap();
            assert_eq!(gathered.len(), expected.len(), "{way:?}");
            let found: BTreeMap<_, _> = gathered.iter().map(|one| (one.key, one.value)).collect();
            for (key, value) in expected {
                assert_eq!(found.get(key), Some(value), "{key:?}, {way:?}");
            }
        }
        assert_eq!(gatherer.way(), Some(way), "it goes on as it began");
    }
}

#[test]
fn gather_gives_what_a_walk_gives_of_random_hashes() {
    let mut random = Random(9);
    for entries in [0, 1, 2, 100, 5000] {
        let map = Hash::<Key, Flow>::create("flows", 5000).unwrap();
        let per_cpu = PerCpuHash::<Key, Flow>::create("flows", 5000).unwrap();
        for _ in 0..entries {
            let key = key(&mut random);
            map.update(key, flow(&mut random)).unwrap();
            let mut values = PerCpu::splat(flow(&mut random));
            for cpu in 0..values.len() {
                values[cpu] = flow(&mut random);
            }
            per_cpu.update(key, &values).unwrap();
        }
        gives(&map, PLAIN, &map.iter().map(Result::unwrap).collect());
        gives(&per_cpu, PER_CPU, &per_cpu.sums().map(Result::unwrap).collect());
    }
}

/// Keys and values of every size that is copied in another way.
#[test]
fn gather_copies_keys_and_values_of_every_size() {
    fn of<K: Pod + Ord + Debug, V: Accumulate + PartialEq + Debug>(
        keys: impl Fn(u64) -> K,
        values: impl Fn(u64) -> V,
    ) {
        let map = Hash::<K, V>::create("sizes", 300).unwrap();
        let lru = LruHash::<K, V>::create("sizes", 4096).unwrap();
        let per_cpu = PerCpuHash::<K, V>::create("sizes", 300).unwrap();
        for n in 0..200 {
            map.update(keys(n), values(n)).unwrap();
            lru.update(keys(n), values(n)).unwrap();
            per_cpu.update(keys(n), &PerCpu::splat(values(n))).unwrap();
        }
        gives(&map, PLAIN, &map.iter().map(Result::unwrap).collect());
        gives(&lru, PLAIN, &lru.iter().map(Result::unwrap).collect());
        gives(&per_cpu, PER_CPU, &per_cpu.sums().map(Result::unwrap).collect());
    }
    of(|n| n as u8, |n| n as u8);
    of(|n| n as u16, |n| n as i8);
    of(|n| [n as u8; 3], |n| n as u16);
    of(|n| n as u32, |n| [n as u8; 5]);
    of(|n| [n as u8; 7], |n| -(n as i64));
    of(|n| n, |n| [n as u32; 3]);
    of(|n| [n as u16; 7], |n| [n as i16; 7]);
    of(|n| [n; 8], |n| [n; 20]);
}

#[test]
fn gather_is_exact_of_arrays() {
    let mut random = Random(4);
    let array = Array::<Flow>::create("slots", 700).unwrap();
    let per_cpu = PerCpuArray::<Flow>::create("slots", 700).unwrap();
    for index in 0..700 {
        array.update(index, flow(&mut random)).unwrap();
        let mut values = PerCpu::splat(flow(&mut random));
        for cpu in 0..values.len() {
            values[cpu] = flow(&mut random);
        }
        per_cpu.update(index, &values).unwrap();
    }
    for (mode, expected, gathered) in [
        (
            Gatherer::new(&array).mode(),
            array.iter().map(Result::unwrap).collect::<Vec<_>>(),
            Gatherer::new(&array).gather().unwrap().to_vec(),
        ),
        (
            Gatherer::new(&per_cpu).mode(),
            per_cpu.sums().map(Result::unwrap).collect(),
            Gatherer::new(&per_cpu).gather().unwrap().to_vec(),
        ),
    ] {
        assert_eq!(mode, GatherMode::Kernel);
        // In the order of the indices.
        let gathered: Vec<_> = gathered.iter().map(|one| (one.key, one.value)).collect();
        for (found, expected) in gathered.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
        assert_eq!(gathered.len(), expected.len());
    }
    gives(&array, PLAIN, &array.iter().map(Result::unwrap).collect());
    gives(&per_cpu, PER_CPU, &per_cpu.sums().map(Result::unwrap).collect());
}

#[test]
fn gather_leaves_out_what_is_below_a_threshold() {
    let mut random = Random(6);
    let map = PerCpuHash::<u32, Flow>::create("flows", 2000).unwrap();
    for key in 0..2000_u32 {
        map.update(key, &PerCpu::splat(flow(&mut random))).unwrap();
    }
    let all: BTreeMap<_, _> = map.sums().map(Result::unwrap).collect();
    type Field = (&'static str, fn(&Flow) -> i128);
    let fields: [Field; 5] = [
        ("packets", |flow| flow.packets.into()),
        ("largest", |flow| flow.largest.into()),
        ("ttl", |flow| flow.ttl.into()),
        ("deepest", |flow| flow.deepest.into()),
        ("inner.errors", |flow| flow.inner.errors.into()),
    ];
    let ways = PER_CPU.iter().filter(|&&way| has(way));
    for ((name, field), way) in ways.flat_map(|&way| fields.map(|field| (field, way))) {
        let mut gatherer = Gatherer::sampling(&map).forced(way).at_least(name).unwrap();
        assert_eq!((gatherer.mode(), gatherer.way()), (GatherMode::Kernel, Some(way)));
        let mut values: Vec<_> = all.values().map(field).collect();
        values.sort_unstable();
        let bounds = [i128::MIN, -1, 0, values[0], values[1000], values[1999], values[1999] + 1];
        for least in bounds.into_iter().chain([i128::MAX, i64::MAX.into(), u64::MAX.into()]) {
            let gathered = gatherer.gather_at_least(least).unwrap();
            let found: BTreeMap<_, _> = gathered.iter().map(|one| (one.key, one.value)).collect();
            let expected =
                all.iter().filter(|(_, flow)| field(flow) >= least).map(|(&k, &v)| (k, v));
            assert!(found == expected.collect(), "{name} >= {least}: {} found", found.len());
        }
        assert_eq!(gatherer.gather().unwrap().len(), 2000, "{name}");
    }
    for wrong in ["none", "inner", "sizes", "", "packets.x"] {
        let error = Gatherer::sampling(&map).at_least(wrong).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    }
    let error = Gatherer::sampling(&map).gather_at_least(1).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
}

/// What the program cannot add up is walked, and gives the same.
#[test]
fn gather_walks_where_the_program_cannot_add_up() {
    #[derive(Clone, Copy, Debug, PartialEq, Pod, Accumulate)]
    #[repr(C)]
    struct Named {
        count: u64,
        #[accumulate(first)]
        comm: [u8; 16],
    }
    let map = PerCpuHash::<u32, Named>::create("named", 100).unwrap();
    for key in 0..100_u32 {
        map.update(key, &PerCpu::splat(Named { count: key.into(), comm: [7; 16] })).unwrap();
    }
    let mut gatherer = Gatherer::sampling(&map).at_least("count").unwrap();
    assert!(matches!(gatherer.mode(), GatherMode::Walk(why) if why.contains("add up")));
    let cpus = PerCpu::splat(0_u8).len() as i128;
    assert_eq!(gatherer.gather_at_least(50 * cpus).unwrap().len(), 50);
    let expected: BTreeMap<_, _> =
        map.sums().map(Result::unwrap).map(|(k, v)| (k, v.count)).collect();
    let gathered = gatherer.gather().unwrap().iter();
    assert_eq!(
        gathered.map(|one| (one.key, one.value.count)).collect::<BTreeMap<_, _>>(),
        expected
    );

    // One value a key: there is nothing to add up.
    let map = Hash::<u32, Named>::create("named", 100).unwrap();
    map.update(3, Named { count: 5, comm: [1; 16] }).unwrap();
    gives(&map, PLAIN, &map.iter().map(Result::unwrap).collect());
}

/// An iterator pauses after a million elements, and goes on from there.
#[test]
fn gather_by_copies_goes_on_after_a_million() {
    let entries = 2_100_000_u32;
    let map = PerCpuHash::<u32, u8>::create("many", entries).unwrap();
    map.update_all((0..entries).map(|key| (key, PerCpu::splat(key as u8)))).unwrap();
    let cpus = PerCpu::splat(0_u8).len() as u8;
    let mut gatherer = Gatherer::sampling(&map).forced(GatherWay::Copies);
    assert_eq!(gatherer.mode(), GatherMode::Kernel);
    let gathered = gatherer.gather().unwrap();
    assert_eq!(gathered.len(), entries as usize);
    let mut seen = vec![false; entries as usize];
    for one in gathered {
        assert_eq!(one.value, (one.key as u8).wrapping_mul(cpus));
        assert!(!std::mem::replace(&mut seen[one.key as usize], true), "{} twice", one.key);
    }
}

/// Of an empty bucket the program costs more than a batch does.
#[test]
fn gather_walks_a_hash_that_was_nearly_empty() {
    let map = PerCpuHash::<u32, u64>::create("sparse", 10_000).unwrap();
    let cpus = PerCpu::splat(0_u8).len() as u64;
    let insert = |keys: std::ops::Range<u32>| {
        map.update_all(keys.map(|key| (key, PerCpu::splat(key.into())))).unwrap();
    };
    insert(0..10);
    let mut gatherer = Gatherer::sampling(&map).at_least("").unwrap();
    let check = |gatherer: &mut Gatherer<_>, entries: u32| {
        let gathered = gatherer.gather().unwrap();
        let mut found: Vec<_> = gathered.iter().map(|one| (one.key, one.value)).collect();
        found.sort_unstable();
        let expected = (0..entries).map(|key| (key, u64::from(key) * cpus));
        assert_eq!(found, expected.collect::<Vec<_>>());
    };
    assert_eq!(gatherer.mode(), GatherMode::Kernel, "nothing is known of it yet");
    check(&mut gatherer, 10);
    let said = gatherer.mode().to_string();
    assert!(said.contains("nearly empty: it had 10 of 10000"), "{said}");
    check(&mut gatherer, 10);
    assert_eq!(gatherer.gather_at_least((5 * cpus).into()).unwrap().len(), 5);
    // The walk sees that it fills, and the program takes over again.
    insert(10..1000);
    check(&mut gatherer, 1000);
    assert_eq!(gatherer.mode(), GatherMode::Kernel);
    check(&mut gatherer, 1000);
    // An array is never empty.
    let array = Array::<u64>::create("slots", 10_000).unwrap();
    let mut gatherer = Gatherer::new(&array);
    assert_eq!(gatherer.gather().unwrap().len(), 10_000);
    assert_eq!(gatherer.mode(), GatherMode::Kernel);
}

/// While keys come and go it may miss and repeat, but what it gives was there.
#[test]
fn gather_of_a_hash_that_changes_is_a_sample_of_it() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let map = Hash::<u32, u64>::create("busy", 4000).unwrap();
    let value = |key: u32| u64::from(key) * 0x9e37_79b9;
    for key in 0..2000 {
        map.update(key, value(key)).unwrap();
    }
    let done = AtomicBool::new(false);
    let (mut missed, mut twice, mut gathers) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                for key in 2000..4000 {
                    map.update(key, value(key)).unwrap();
                    map.update(key - 2000, value(key - 2000)).unwrap();
                    map.delete(key).unwrap();
                }
            }
        });
        let _done = support::RaiseOnDrop(&done);
        let mut gatherer = Gatherer::sampling(&map);
        for _ in 0..300 {
            match gatherer.gather() {
                Ok(gathered) => {
                    let mut seen = vec![0; 4000];
                    for one in gathered {
                        assert_eq!(one.value, value(one.key));
                        seen[one.key as usize] += 1;
                    }
                    missed += seen[..2000].iter().filter(|&&n| n == 0).count();
                    twice += seen.iter().filter(|&&n| n > 1).count();
                    gathers += 1;
                }
                Err(Error::WalkInterrupted { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    });
    println!("{gathers} gathers of 2,000 steady keys: {missed} missed, {twice} given twice");
    assert!(gathers > 0);
}

/// Values in place while a program would count, and elements that come and go: what each way
/// adds up are values of one key.
#[test]
fn gather_of_a_per_cpu_hash_that_changes_mixes_no_keys() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let map = PerCpuHash::<u32, u64>::create("busy", 4000).unwrap();
    let cpus = PerCpu::splat(0_u8).len() as u64;
    let insert = |key: u32| map.update(key, &PerCpu::splat(u64::from(key) << 20)).unwrap();
    (0..2000).for_each(insert);
    for &way in PER_CPU.iter().filter(|&&way| has(way)) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    (2000..4000).for_each(insert);
                    (0..2000).for_each(insert);
                    for key in 2000..4000 {
                        map.delete(key).unwrap();
                    }
                }
            });
            let _done = support::RaiseOnDrop(&done);
            let mut gatherer = Gatherer::sampling(&map).forced(way);
            for _ in 0..100 {
                let Ok(gathered) = gatherer.gather() else { continue };
                // Those that are never deleted keep their elements, and their values.
                for one in gathered.iter().filter(|one| one.key < 2000) {
                    assert_eq!(one.value, (u64::from(one.key) << 20) * cpus, "{way:?}");
                }
            }
        });
    }
}

/// With `CAP_BPF` alone the program may add up, or not; the answer is the same.
#[test]
fn gather_without_privilege_walks_and_says_why() {
    const CAP_BPF: u32 = 39;
    let test = "gather_without_privilege_walks_and_says_why";
    if support::role().is_some() {
        let map = PerCpuHash::<u32, u64>::create("counts", 10).unwrap();
        map.update(3, &PerCpu::splat(5)).unwrap();
        let mut gatherer = Gatherer::sampling(&map);
        println!("{}", gatherer.mode());
        let cpus = PerCpu::splat(0_u8).len() as u64;
        let gathered = gatherer.gather().unwrap();
        assert_eq!(
            gathered.iter().map(|one| (one.key, one.value)).collect::<Vec<_>>(),
            [(3, 5 * cpus)]
        );
        return;
    }
    let Some(mut child) = support::child_with(&[CAP_BPF], test, "child") else { return };
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("in the kernel") || said.contains("by a walk ("), "{said}");
}
