//! Maps that are full: beyond their limit, or by letting go of what nobody uses.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{CreateFlags, GatherMode, GatherWay, Gatherer, Hash, LruPerCpuHash, PerCpu};

const MAX: u32 = 10;

/// A map with more entries than it has room for, if the race is won within some seconds.
fn beyond_its_limit() -> Option<Hash<u32, u64>> {
    let map = Hash::create_with("full", MAX, CreateFlags::NO_PREALLOC).unwrap();
    for key in 2..=MAX {
        map.update(key, u64::from(key)).unwrap();
    }
    // Odd: the other one may insert, too; 0: it is over.
    let (turn, inserted) = (AtomicU32::new(2), AtomicU32::new(0));
    let end = Instant::now() + Duration::from_secs(10);
    let is_won = thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = 2;
            loop {
                match turn.load(Ordering::Acquire) {
                    0 => break,
                    now if now % 2 == 1 && now != last => {
                        inserted.store(u32::from(map.insert(1, 1).is_ok()), Ordering::Relaxed);
                        last = now;
                        turn.store(now + 1, Ordering::Release);
                    }
                    _ => std::hint::spin_loop(),
                }
            }
        });
        let mut is_won = false;
        while !is_won && Instant::now() < end {
            let now = turn.load(Ordering::Acquire) + 1;
            turn.store(now, Ordering::Release);
            let mine = map.insert(0, 0).is_ok();
            while turn.load(Ordering::Acquire) == now {
                thread::yield_now();
            }
            is_won = mine && inserted.load(Ordering::Relaxed) == 1;
            if !is_won {
                map.delete(0).unwrap();
                map.delete(1).unwrap();
            }
        }
        turn.store(0, Ordering::Release);
        is_won
    });
    is_won.then_some(map)
}

#[test]
fn gather_finds_room_for_all_that_a_hash_without_preallocation_has() {
    let Some(map) = beyond_its_limit() else {
        println!("skipped: two CPUs never inserted at once");
        return;
    };
    assert_eq!(map.count().unwrap(), MAX as usize + 1);
    let mut gatherer = Gatherer::sampling(&map);
    let mut keys: Vec<_> = gatherer.gather().unwrap().iter().map(|one| one.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, (0..=MAX).collect::<Vec<_>>());
}

/// How many of 200 keys that are always in use an LRU lets go for others, when it is gathered
/// now and then.
fn let_go(way: Option<GatherWay>) -> usize {
    const USED: u32 = 200;
    let map = LruPerCpuHash::<u32, u64>::create("lru", 2000).unwrap();
    let mut gatherer = Gatherer::sampling(&map);
    if let Some(way) = way {
        gatherer = gatherer.forced(way);
    }
    let one = PerCpu::splat(1);
    let mut gone = 0;
    for round in 0..100 {
        for key in 0..USED {
            gone += usize::from(round > 0 && !map.contains_key(key).unwrap());
            map.update(key, &one).unwrap();
        }
        for key in 0..400 {
            map.update(USED + 400 * round + key, &one).unwrap();
        }
        gatherer.gather().unwrap();
    }
    gone
}

#[test]
fn gather_does_not_tell_an_lru_that_all_is_in_use() {
    let map = LruPerCpuHash::<u32, u64>::create("lru", 10).unwrap();
    if let GatherMode::Walk(why) = Gatherer::sampling(&map).forced(GatherWay::Lookups).mode() {
        println!("skipped: {why}");
        return;
    }
    let ways = [None, Some(GatherWay::Copies), Some(GatherWay::Lookups)];
    let [by_itself, by_copies, by_lookups] = ways.map(let_go);
    println!("{by_itself} by itself, {by_copies} by copies, {by_lookups} by lookups");
    // An LRU is roughly one; and lookups would tell it so.
    assert!(by_itself < 100 && by_copies < 100 && by_lookups > 1000);
}
