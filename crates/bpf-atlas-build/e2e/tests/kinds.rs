//! Every kind of map has a field; those that the library has a type for, typed.

#![forbid(unsafe_code)]

use bpf_atlas::{Array, Hash, LruHash, LruPerCpuHash, PerCpuArray, PerCpuHash, RawMap};
use bpf_atlas_build_e2e::kinds::{self, Maps, Prefix, Value, inner};

/// Does not compile unless the handles are of these types.
fn typed(maps: &Maps) {
    let _: &Hash<u32, Value> = &maps.hash;
    let _: &Array<Value> = &maps.array;
    let _: &PerCpuHash<u32, Value> = &maps.percpu_hash;
    let _: &PerCpuArray<Value> = &maps.percpu_array;
    let _: &LruHash<u32, Value> = &maps.lru_hash;
    let _: &LruPerCpuHash<u32, Value> = &maps.lru_percpu_hash;
}

/// All others, by their kind.
fn raw(maps: &Maps) -> Vec<(&'static str, &RawMap)> {
    vec![
        ("PROG_ARRAY", &maps.prog_array),
        ("PERF_EVENT_ARRAY", &maps.perf_event_array),
        ("STACK_TRACE", &maps.stack_trace),
        ("CGROUP_ARRAY", &maps.cgroup_array),
        ("LPM_TRIE", &maps.lpm_trie),
        ("ARRAY_OF_MAPS", &maps.array_of_maps),
        ("HASH_OF_MAPS", &maps.hash_of_maps),
        ("DEVMAP", &maps.devmap),
        ("SOCKMAP", &maps.sockmap),
        ("CPUMAP", &maps.cpumap),
        ("XSKMAP", &maps.xskmap),
        ("SOCKHASH", &maps.sockhash),
        ("REUSEPORT_SOCKARRAY", &maps.reuseport),
        ("QUEUE", &maps.queue),
        ("STACK", &maps.stack),
        ("SK_STORAGE", &maps.sk_storage),
        ("DEVMAP_HASH", &maps.devmap_hash),
        ("INODE_STORAGE", &maps.inode_storage),
        ("TASK_STORAGE", &maps.task_storage),
        ("BLOOM_FILTER", &maps.bloom),
        ("RINGBUF", &maps.untyped_ring),
        ("USER_RINGBUF", &maps.user_ring),
        ("CGRP_STORAGE", &maps.cgrp_storage),
    ]
}

#[test]
fn every_kind_of_map_has_a_handle() {
    let loaded = match kinds::open().unwrap().load() {
        Ok(loaded) => loaded,
        Err(error) => {
            println!("skipped: every_kind_of_map_has_a_handle: {error}");
            return;
        }
    };
    typed(&loaded.maps);
    for (kind, map) in raw(&loaded.maps) {
        assert_eq!(map.kind().to_string(), format!("BPF_MAP_TYPE_{kind}"));
    }
}

#[test]
fn what_untyped_maps_hold_has_types_all_the_same() {
    let prefix = Prefix { len: 24, address: [10, 0, 0, 0] };
    assert_eq!(size_of_val(&prefix), 8);
    let map = inner::ArrayOfMapsInner::create("inner", 4).unwrap();
    map.update(Value { a: 1, b: 2 }, 3).unwrap();
    assert_eq!(map.lookup(Value { a: 1, b: 2 }).unwrap(), Some(3));
    let map = inner::HashOfMapsInner::create("inner", 4).unwrap();
    map.update(3, Value { a: 1, b: 2 }).unwrap();
}
