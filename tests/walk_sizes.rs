//! A walk is complete and exact (G1) with keys and values of every size, with
//! no entries, and where sums overflow.
#![forbid(unsafe_code)]

use bpf_atlas::{Array, Hash, LruHash, LruPerCpuHash, PerCpu, PerCpuArray, PerCpuHash};

mod support;
use support::Once;

fn cpus() -> usize {
    PerCpu::splat(0_u64).len()
}

/// Entries with keys of `K` and values of `V` bytes in every kind of hash.
fn walk_sizes<const K: usize, const V: usize>() {
    let n: u32 = if V > 1000 { 200 } else { 1000 };
    let n = if K == 1 { n.min(256) } else { n };
    let key = |index: u32| {
        let mut key = [index as u8 ^ 0x5a; K];
        key.iter_mut().zip(index.to_le_bytes()).for_each(|(to, from)| *to = from);
        key
    };
    let index = |key: [u8; K]| {
        let mut bytes = [0; 4];
        bytes.iter_mut().zip(key).for_each(|(to, from)| *to = from);
        u32::from_le_bytes(bytes)
    };
    let value = |index: u32, cpu: usize| {
        let mut value = [(index as u8).wrapping_mul(3) ^ cpu as u8; V];
        value.iter_mut().rev().zip(index.to_le_bytes()).for_each(|(to, from)| *to ^= from);
        value
    };
    let values = |index| (0..cpus()).map(|cpu| value(index, cpu)).collect::<PerCpu<_>>();

    macro_rules! check {
        ($map:expr, $value:expr) => {
            let map = $map.unwrap();
            let entries = (0..n).map(|index| (key(index), $value(index)));
            assert_eq!(map.update_all(entries).unwrap(), n as usize);
            for batch in [1, 3, 64, 4096] {
                let map = map.clone().with_batch_size(batch).unwrap();
                let mut once = Once::of(n);
                for entry in &map {
                    let (found, found_value) = entry.unwrap();
                    let index = index(found);
                    assert_eq!((found, found_value), (key(index), $value(index)), "{K}, {V}");
                    once.see(index);
                }
                once.all();
                assert_eq!(map.keys().map(Result::unwrap).count(), n as usize);
            }
            for index in [0, n / 2, n - 1] {
                assert_eq!(map.lookup(key(index)).unwrap(), Some($value(index)));
            }
        };
    }
    check!(Hash::<[u8; K], [u8; V]>::create("sizes", n), |index| value(index, 0));
    check!(LruHash::<[u8; K], [u8; V]>::create("sizes", 8 * n), |index| value(index, 0));
    check!(PerCpuHash::<[u8; K], [u8; V]>::create("sizes", n), values);
    check!(LruPerCpuHash::<[u8; K], [u8; V]>::create("sizes", 8 * n), values);

    macro_rules! check_array {
        ($map:expr, $value:expr) => {
            let map = $map.unwrap();
            map.update_all((0..n).map(|index| (index, $value(index)))).unwrap();
            for batch in [1, 3, 4096] {
                let map = map.clone().with_batch_size(batch).unwrap();
                assert!(map.iter().map(Result::unwrap).eq((0..n).map(|i| (i, $value(i)))));
            }
        };
    }
    if K == 4 {
        check_array!(Array::<[u8; V]>::create("sizes", n), |index| value(index, 0));
        check_array!(PerCpuArray::<[u8; V]>::create("sizes", n), values);
    }
}

macro_rules! value_sizes {
    ($($test:ident: $key:literal;)*) => {$(
        #[test]
        fn $test() {
            walk_sizes::<$key, 1>();
            walk_sizes::<$key, 3>();
            walk_sizes::<$key, 4>();
            walk_sizes::<$key, 8>();
            walk_sizes::<$key, 12>();
            walk_sizes::<$key, 60>();
            walk_sizes::<$key, 4096>();
        }
    )*};
}

value_sizes! {
    g1_keys_of_1_byte_and_values_of_every_size: 1;
    g1_keys_of_2_bytes_and_values_of_every_size: 2;
    g1_keys_of_3_bytes_and_values_of_every_size: 3;
    g1_keys_of_4_bytes_and_values_of_every_size: 4;
    g1_keys_of_5_bytes_and_values_of_every_size: 5;
    g1_keys_of_16_bytes_and_values_of_every_size: 16;
    g1_keys_of_64_bytes_and_values_of_every_size: 64;
    g1_keys_of_511_bytes_and_values_of_every_size: 511;
}

#[test]
fn an_empty_map_has_no_entries_and_a_finished_walk_stays_finished() {
    let map = Hash::<u32, u64>::create("empty", 10).unwrap();
    for batch in [1, 4096] {
        let map = map.clone().with_batch_size(batch).unwrap();
        assert!(map.iter().next().is_none() && map.keys().next().is_none());
        assert_eq!((map.count().unwrap(), map.sum().unwrap()), (0, 0));
        assert_eq!(map.for_each(|_, _| panic!("an entry")).unwrap(), 0);
        assert!(map.snapshot().unwrap().is_empty());
    }
    let spread = LruPerCpuHash::<u32, u64>::create("empty", 10).unwrap();
    assert!(spread.iter().next().is_none() && spread.sums().next().is_none());
    assert_eq!(spread.sum().unwrap(), 0);

    let mut walk = map.iter();
    assert!(walk.next().is_none());
    map.update(1, 1).unwrap();
    assert!(walk.next().is_none(), "the walk has ended");
    assert_eq!(map.count().unwrap(), 1);

    let mut snapshot = map.snapshot().unwrap();
    assert_eq!(snapshot.entries(), [(1, 1)]);
    map.delete(1).unwrap();
    map.snapshot_into(&mut snapshot).unwrap();
    assert!(snapshot.is_empty(), "a reused snapshot forgets what it held");
}

#[test]
fn sums_wrap_as_counters_do() {
    let map = Hash::<u32, u64>::create("wrap", 4).unwrap();
    map.update_all([(0, u64::MAX), (1, 2)]).unwrap();
    assert_eq!(map.sum().unwrap(), 1);

    let spread = PerCpuHash::<u32, [u8; 3]>::create("wrap", 4).unwrap();
    let mut value = PerCpu::on_cpu(0, [u8::MAX, 1, 0]);
    value[0][2] = 5;
    spread.update(0, &value).unwrap();
    spread.update(1, &PerCpu::on_cpu(0, [3, 1, u8::MAX])).unwrap();
    assert_eq!(spread.sum().unwrap(), [2, 2, 4]);

    let array = PerCpuArray::<i64>::create("wrap", 1).unwrap();
    array.update(0, &PerCpu::splat(i64::MAX)).unwrap();
    let expected = i64::MAX.wrapping_mul(cpus() as i64);
    assert_eq!(array.sum_of(0).unwrap(), expected);
    assert_eq!(array.sum().unwrap(), expected);
    assert_eq!(array.lookup(0).unwrap().sum(), expected);
}
