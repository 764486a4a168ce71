//! The walk against a kernel that fails on demand (`sys::fake`).

use super::*;
use crate::MapKind;
use crate::sys::fake::{FakeMap, Fault};

fn explain(map: &&FakeMap, op: Op, errno: Errno) -> Error {
    let map = map.shape().name;
    if errno.is_transient() {
        Error::Busy { map, op, errno }
    } else {
        Error::Sys { map, op, errno }
    }
}

/// The keys in the order of the walk, and the error that ended it.
fn walk(map: &FakeMap, op: BatchOp, batch: u32) -> (Vec<u32>, Option<Error>) {
    let mut cursor = Cursor::new(map, op, Some(batch), Buffers::default(), explain);
    let mut keys = Vec::new();
    while let Some(chunk) = cursor.next_chunk() {
        match chunk {
            Ok(chunk) => {
                assert!(chunk.count > 0, "an empty chunk is no chunk");
                for (key, value) in chunk.keys.chunks(4).zip(chunk.values.chunks(8)) {
                    let key = u32::from_ne_bytes(key.try_into().unwrap());
                    let value = u64::from_ne_bytes(value.try_into().unwrap());
                    assert_eq!(u64::from(key), value, "a key with another key's value");
                    keys.push(key);
                }
            }
            Err(error) => {
                assert!(cursor.next_chunk().is_none(), "a walk goes on after its error");
                return (keys, Some(error));
            }
        }
    }
    (keys, None)
}

fn complete(map: &FakeMap, batch: u32, n: u32) {
    let (keys, error) = walk(map, BatchOp::Lookup, batch);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(keys, (0..n).collect::<Vec<_>>(), "batch of {batch}");
}

#[test]
fn g1_every_batch_size_finds_all_entries() {
    for batch in [1, 2, 3, 5, 7, 64, 99, 100, 101, 1000, u32::MAX] {
        for per_bucket in [1, 2, 5, 100] {
            complete(&FakeMap::new(MapKind::Hash, 100, per_bucket), batch, 100);
        }
    }
    complete(&FakeMap::new(MapKind::Hash, 0, 1), 10, 0);
}

/// I3: each error number at each command is an error, or is retried; what was
/// read before it is delivered once.
#[test]
fn g2_an_error_is_never_taken_for_the_end() {
    let errnos = [1, 4, 5, 11, 12, 13, 14, 16, 22, 35, 95, 110, 524].map(Errno);
    for command in 0..12 {
        for errno in errnos {
            for fault in [Fault::Before(errno), Fault::Untouched(errno), Fault::After(errno, 1)] {
                let map = FakeMap::new(MapKind::Hash, 20, 2).with_fault(command, fault);
                let (keys, error) = walk(&map, BatchOp::Lookup, 4);
                let expected: Vec<u32> = (0..20).collect();
                assert_eq!(keys, expected[..keys.len()], "{fault:?} at {command}");
                // A fault that lies behind the end never happens.
                let reached = map.commands.get() > command;
                match error {
                    None => assert_eq!(keys.len(), 20, "{fault:?} at {command} lost entries"),
                    Some(error) => {
                        assert!(reached && !errno.is_transient());
                        assert_eq!(error.errno(), Some(errno));
                    }
                }
                let falls_back = command == 0 && matches!(errno.0, 22 | 95 | 524);
                if reached && !errno.is_transient() && !falls_back {
                    assert!(keys.len() < 20, "{fault:?} at {command} was swallowed");
                }
            }
        }
    }
}

#[test]
fn g2_a_lock_that_is_never_free_is_an_error_in_the_end() {
    let mut map = FakeMap::new(MapKind::Hash, 20, 2);
    for command in 2..2000 {
        map = map.with_fault(command, Fault::Before(Errno::BUSY));
    }
    let (keys, error) = walk(&map, BatchOp::Lookup, 4);
    assert_eq!(keys, (0..8).collect::<Vec<_>>());
    assert!(matches!(error, Some(Error::Busy { errno: Errno::BUSY, .. })), "{error:?}");
}

#[test]
fn a_batch_without_progress_does_not_loop_for_ever() {
    let mut map = FakeMap::new(MapKind::Hash, 20, 2);
    for command in 1..2000 {
        map = map.with_fault(command, Fault::Nothing);
    }
    let (keys, error) = walk(&map, BatchOp::Lookup, 4);
    assert_eq!(keys.len(), 4);
    assert!(error.is_some());
}

#[test]
fn a_drain_takes_each_entry_out_once_across_transient_errors() {
    for command in 0..6 {
        for fault in [Fault::Before(Errno::NOMEM), Fault::After(Errno::DEADLK, 1)] {
            let map = FakeMap::new(MapKind::Hash, 20, 2).with_fault(command, fault);
            let (keys, error) = walk(&map, BatchOp::LookupAndDelete, 4);
            assert!(error.is_none());
            assert_eq!(keys, (0..20).collect::<Vec<_>>());
            assert!(map.buckets.borrow().iter().all(Vec::is_empty));
        }
    }
}

/// The user holds values of the batch before, whose memory is the user's then.
#[test]
fn a_batch_of_which_values_were_taken_is_followed_by_the_next() {
    let maps = [
        FakeMap::new(MapKind::Hash, 100, 3),
        FakeMap::new(MapKind::Hash, 100, 3).without_batches(),
        FakeMap::new(MapKind::Array, 100, 1).without_batches(),
    ];
    for map in &maps {
        for keep_every in [1, 3, 7, 1000] {
            let mut cursor =
                Cursor::new(map, BatchOp::Lookup, Some(8), Buffers::default(), explain);
            let (mut kept, mut seen) = (Vec::new(), 0);
            while let Some(chunk) = cursor.next_chunk() {
                let count = chunk.unwrap().count;
                for at in 0..count {
                    let (key, buffer) = cursor.entry_mut(at, 4);
                    let key = u32::from_ne_bytes(key.try_into().unwrap());
                    let value = buffer.split::<u64>(at * 8, 1);
                    assert_eq!(value.as_slice(), [u64::from(key)]);
                    if key % keep_every == 0 {
                        kept.push((key, value));
                    }
                    seen += 1;
                }
            }
            assert_eq!((seen, kept.len()), (100, 100_usize.div_ceil(keep_every as usize)));
            assert!(kept.iter().all(|(key, value)| value.as_slice() == [u64::from(*key)]));
        }
    }
}

#[test]
fn an_old_kernel_is_walked_by_key() {
    complete(&FakeMap::new(MapKind::Hash, 50, 3).without_batches(), 7, 50);
    complete(&FakeMap::new(MapKind::Array, 50, 50).without_batches(), 7, 50);
    let map = FakeMap::new(MapKind::Hash, 50, 3).without_batches();
    let (mut keys, error) = walk(&map, BatchOp::LookupAndDelete, 7);
    keys.sort_unstable();
    assert!(error.is_none());
    assert_eq!(keys, (0..50).collect::<Vec<_>>());
}

#[test]
fn an_old_kernel_that_starts_over_gives_no_key_twice() {
    let mut map = FakeMap::new(MapKind::Hash, 50, 3).without_batches();
    // Now and then the key that the walk stands on goes: the kernel starts over.
    map.churn = Some(|map, step| {
        if step == 20 || step == 40 {
            map.buckets.borrow_mut()[2].remove(0);
        }
    });
    let (keys, error) = walk(&map, BatchOp::Lookup, 7);
    assert!(error.is_none());
    let unique: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len());
    assert!(keys.len() >= 48);
}

#[test]
fn an_old_kernel_that_starts_over_for_ever_is_interrupted() {
    let mut map = FakeMap::new(MapKind::Hash, 50, 50).without_batches();
    map.churn = Some(|map, step| {
        // The walk never gets past the first keys: they are replaced by others.
        let key = (1000 + step as u32).to_ne_bytes().to_vec();
        let value = (1000 + step as u64).to_ne_bytes().to_vec();
        let mut buckets = map.buckets.borrow_mut();
        buckets[0].remove(0);
        buckets[0].insert(0, (key, value));
    });
    let (keys, error) = walk(&map, BatchOp::Lookup, 7);
    assert!(matches!(error, Some(Error::WalkInterrupted { .. })), "{error:?}");
    assert!(!keys.is_empty());
}
