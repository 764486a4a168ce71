//! Full maps: `Error::Full` and nothing else changed; maps that evict: never an
//! error, and how many keys survive.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use bpf_atlas::{CreateFlags, Error, Hash, LruHash, LruPerCpuHash, PerCpu, PerCpuHash};

mod support;
use support::{allowed_cpus, pin_to, skipped};

const MAX: u32 = 1000;

/// Fills a map to its last entry and goes on.
macro_rules! fill {
    ($map:expr, $value:expr) => {
        let map = $map.unwrap();
        let value = $value;
        for key in 0..MAX {
            assert!(map.insert(key, &value(key)).unwrap(), "entry {key} finds room");
        }
        let content = || map.iter().map(Result::unwrap).collect::<BTreeMap<_, _>>();
        let before = content();
        assert_eq!(before.len(), MAX as usize);

        // One more key, in every way.
        let refused = |error: Error| {
            let Error::Full { map: name, max_entries: MAX } = error else { panic!("{error:?}") };
            assert_eq!((name.as_str(), error.is_full()), ("full", true));
            assert_eq!(error.errno().map(|errno| errno.0), Some(libc::E2BIG));
            let said = error.to_string();
            assert!(said.contains("`full` is full") && said.contains("1000 entries"), "{said}");
            assert!(said.contains("raise max_entries"), "{said}");
        };
        refused(map.update(MAX, &value(MAX)).unwrap_err());
        refused(map.insert(MAX, &value(MAX)).unwrap_err());
        refused(map.update_all([(MAX, value(MAX))]).unwrap_err());
        assert!(!map.replace(MAX, &value(MAX)).unwrap(), "a key that is not there: no room needed");
        assert_eq!(map.lookup(MAX).unwrap(), None);
        assert_eq!(content(), before, "a refused entry changed something");

        // What is there can still be written.
        assert!(!map.insert(5, &value(6)).unwrap());
        map.update(5, &value(6)).unwrap();
        assert!(map.replace(6, &value(7)).unwrap());
        assert_eq!(map.update_all((0..MAX).map(|key| (key, value(key + 1)))).unwrap(), 1000);
        let shifted: BTreeMap<_, _> = (0..MAX).map(|key| (key, value(key + 1))).collect();
        assert_eq!(content(), shifted);

        // A key that goes makes room for one, and for one only.
        assert!(map.delete(0).unwrap());
        map.update(MAX, &value(MAX)).unwrap();
        refused(map.update(MAX + 1, &value(0)).unwrap_err());

        // A batch stops at the first key without room; what was before is there.
        assert_eq!(map.clear().unwrap(), MAX as usize);
        let error = map.update_all((0..MAX + 100).map(|key| (key, value(key)))).unwrap_err();
        println!("{error}");
        assert!(error.is_full(), "{error:?}");
        let Error::Partial { done: 1000, source, .. } = &error else { panic!("{error:?}") };
        assert!(matches!(**source, Error::Full { max_entries: MAX, .. }), "{source:?}");
        assert_eq!(error.errno().map(|errno| errno.0), Some(libc::E2BIG));
        assert_eq!(content(), before);

        // Half-way in a batch, behind keys that are there already.
        let entries = (0..500).chain([MAX]).chain(500..MAX).map(|key| (key, value(key + 1)));
        let error = map.update_all(entries).unwrap_err();
        assert!(matches!(error, Error::Partial { done: 500, .. }) && error.is_full(), "{error:?}");
        let half: BTreeMap<_, _> =
            (0..MAX).map(|key| (key, value(if key < 500 { key + 1 } else { key }))).collect();
        assert_eq!(content(), half);
    };
}

fn plain(key: u32) -> u64 {
    u64::from(key) << 20 | 1
}

fn spread(key: u32) -> PerCpu<u64> {
    PerCpu::splat(plain(key))
}

#[test]
fn g2_a_full_hash_refuses_one_key_and_changes_nothing() {
    fill!(Hash::<u32, u64>::create("full", MAX), plain);
}

#[test]
fn g2_a_full_hash_without_preallocation_refuses_one_key_and_changes_nothing() {
    fill!(Hash::<u32, u64>::create_with("full", MAX, CreateFlags::NO_PREALLOC), plain);
}

#[test]
fn g2_a_full_per_cpu_hash_refuses_one_key_and_changes_nothing() {
    fill!(PerCpuHash::<u32, u64>::create("full", MAX), spread);
    fill!(PerCpuHash::<u32, u64>::create_with("full", MAX, CreateFlags::NO_PREALLOC), spread);
}

/// Free elements that each CPU may keep to itself: what an LRU map can be short
/// of its `max_entries` (128 on all kernels; less in a small map since 6.12.107).
const KEPT_BY_A_CPU: u32 = 128;

/// Puts `n` keys into a map, from the given CPUs in turn; how many survive. The
/// newest does, always.
fn survivors(map: &LruHash<u32, u64>, keys: u32, cpus: &[usize]) -> u32 {
    for key in 0..keys {
        if key == 0 || cpus.len() > 1 {
            pin_to(cpus[key as usize % cpus.len()]);
        }
        map.update(key, plain(key)).unwrap();
        assert_eq!(map.lookup(key).unwrap(), Some(plain(key)), "the newest key is there");
    }
    let mut found = 0;
    for entry in map {
        let (key, value) = entry.unwrap();
        assert_eq!(value, plain(key));
        found += 1;
    }
    found
}

#[test]
fn an_lru_hash_evicts_and_never_refuses() {
    // Affinity is the thread's; it goes with it.
    std::thread::spawn(|| {
        let cpus = allowed_cpus();
        for n in [1, 10, 512, 1000, 10_000, 100_000] {
            let map = LruHash::create("lru", n).unwrap();
            let found = survivors(&map, n, &cpus[..1]);
            println!("{found} of {n} keys survive, inserted on one CPU");
            assert!((n.saturating_sub(KEPT_BY_A_CPU).max(1)..=n).contains(&found), "{found}");
            // And ten times as many.
            let more = survivors(&map, 2 * n, &cpus[..1]);
            assert!((n.saturating_sub(KEPT_BY_A_CPU).max(1)..=n).contains(&more), "{more}");
        }
    })
    .join()
    .unwrap();
}

#[test]
fn an_lru_hash_filled_from_two_cpus_keeps_less() {
    std::thread::spawn(|| {
        let cpus = allowed_cpus();
        let [first, second, ..] = cpus[..] else {
            return skipped("an_lru_hash_filled_from_two_cpus_keeps_less", "one CPU");
        };
        for n in [10, 1000, 10_000] {
            let map = LruHash::create("lru", n).unwrap();
            let found = survivors(&map, n, &[first, second]);
            println!("{found} of {n} keys survive, inserted on two CPUs in turn");
            let least = n.saturating_sub(2 * KEPT_BY_A_CPU).max(1);
            assert!((least..=n).contains(&found), "{found}");
        }
    })
    .join()
    .unwrap();
}

#[test]
fn an_lru_hash_with_a_list_for_each_cpu_gives_each_its_share() {
    std::thread::spawn(|| {
        let possible = PerCpu::splat(0_u8).len() as u32;
        let create = |n| LruHash::create_with("shares", n, CreateFlags::NO_COMMON_LRU).unwrap();
        // Rounded so that each CPU gets a whole share.
        let map: LruHash<u32, u64> = create(5);
        assert_eq!(map.max_entries(), 5_u32.next_multiple_of(possible));
        for n in [100_u32, 1000, 10_000] {
            let share = n.div_ceil(possible);
            let found = survivors(&create(n), n, &allowed_cpus()[..1]);
            println!("{found} of {n} keys survive on one of {possible} CPUs");
            // A CPU that has none left frees 4 at once.
            assert!((share.saturating_sub(4).max(1)..=share).contains(&found), "{found}");
        }
    })
    .join()
    .unwrap();
}

#[test]
fn lru_maps_take_batches_beyond_their_capacity() {
    let map = LruHash::<u32, u64>::create("lru", 1000).unwrap();
    let n = 20_000;
    assert_eq!(map.update_all((0..n).map(|key| (key, plain(key)))).unwrap(), n as usize);
    let count = map.count().unwrap();
    assert!(count > 0 && count <= 1000, "{count}");
    assert!(map.iter().map(Result::unwrap).all(|(key, value)| value == plain(key)));

    let map = LruPerCpuHash::<u32, u64>::create("lru", 1000).unwrap();
    assert_eq!(map.update_all((0..n).map(|key| (key, spread(key)))).unwrap(), n as usize);
    let count = map.count().unwrap();
    assert!(count > 0 && count <= 1000, "{count}");
    assert!(map.iter().map(Result::unwrap).all(|(key, value)| value == spread(key)));
}
