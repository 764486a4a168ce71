//! Handles (G8): `Send + Sync + 'static`, shared, pinned, opened anew in every
//! way, and at home in libbpf-rs.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;

use bpf_atlas::{
    Array, CreateFlags, Error, Hash, LruHash, LruPerCpuHash, MapKind, MapSource, MappedArray,
    PerCpuArray, PerCpuHash, RawMap, RingBuf, walk,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

mod support;
use support::Pins;

#[test]
fn g8_handles_and_walks_are_send_sync_and_static() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Hash<u32, u64>>();
    shared::<LruHash<u32, u64>>();
    shared::<PerCpuHash<u32, u64>>();
    shared::<LruPerCpuHash<u32, u64>>();
    shared::<Array<u64>>();
    shared::<PerCpuArray<u64>>();
    shared::<MappedArray<u64>>();
    shared::<RawMap>();
    sent::<RingBuf<u64>>();
    sent::<walk::Iter<u32, u64>>();
    sent::<walk::Sums<u32, u64>>();
    sent::<walk::Drain<walk::Entry<u32, u64>>>();
    sent::<bpf_atlas::agent::Attached>();
    shared::<Error>();
    shared::<bpf_atlas::OpenError>();
}

#[test]
fn one_handle_serves_many_threads() {
    let map = Hash::<u32, u64>::create("threads", 10_000).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let map = &map;
            scope.spawn(move || {
                let mine = thread * 1000..(thread + 1) * 1000;
                for key in mine.clone() {
                    assert!(map.insert(key, u64::from(key)).unwrap());
                    if key % 100 == 0 {
                        // Walks share the handle's buffers, and none gets in another's way.
                        let found = map.iter().map(Result::unwrap);
                        let mine = found.filter(|(found, value)| {
                            assert_eq!(*value, u64::from(*found));
                            mine.contains(found)
                        });
                        assert_eq!(mine.count(), key as usize % 1000 + 1);
                    }
                }
            });
        }
    });
    assert_eq!(map.count().unwrap(), 8000);
    assert_eq!(map.sum().unwrap(), (0..8000).sum::<u64>());
}

#[test]
fn clones_and_handles_opened_anew_are_the_same_map() {
    let map = Hash::<u32, u64>::create("same", 10).unwrap();
    let id = map.info().id;
    map.update(1, 2).unwrap();

    let check = |other: &Hash<u32, u64>| {
        assert_eq!((other.info().id, other.lookup(1).unwrap()), (id, Some(2)));
    };
    check(&map.clone());
    check(&Hash::open(&map).unwrap());
    check(&Hash::open(map.raw()).unwrap());
    check(&Hash::open(map.as_fd()).unwrap());
    let owned: OwnedFd = map.as_fd().try_clone_to_owned().unwrap();
    check(&Hash::open(&owned).unwrap());
    drop(owned);
    check(&Hash::open_id(id).unwrap());
    assert_eq!(map.map_fd().unwrap().as_fd().try_clone_to_owned().map(|_| ()).ok(), Some(()));

    // Whichever goes first, the map stays.
    let other = Hash::<u32, u64>::open(&map).unwrap();
    drop(map);
    check(&other);
}

#[test]
fn libbpf_rs_and_this_crate_share_maps_both_ways() {
    let opts = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
        ..Default::default()
    };
    let theirs =
        MapHandle::create(libbpf_rs::MapType::Hash, Some("theirs"), 4, 8, 10, &opts).unwrap();
    theirs.update(&7_u32.to_ne_bytes(), &8_u64.to_ne_bytes(), MapFlags::ANY).unwrap();
    let ours = Hash::<u32, u64>::open(&theirs).unwrap();
    drop(theirs);
    assert_eq!((ours.name().as_str(), ours.lookup(7).unwrap()), ("theirs", Some(8)));

    let theirs = MapHandle::from_map_id(ours.info().id).unwrap();
    assert_eq!(
        theirs.lookup(&7_u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap(),
        8_u64.to_ne_bytes()
    );
    drop(ours);
    let again = Hash::<u32, u64>::open(theirs).unwrap();
    assert_eq!(again.sum().unwrap(), 8);
}

#[test]
fn g8_a_pin_outlives_its_handles() {
    let pins = Pins::new();
    let path = pins.path("counts");
    let map = Hash::<u32, u64>::create("counts", 10).unwrap();
    map.pin(&path).unwrap();
    map.update(1, 2).unwrap();
    let id = map.info().id;
    drop(map);

    let again = Hash::<u32, u64>::open_pinned(&path).unwrap();
    assert_eq!((again.info().id, again.lookup(1).unwrap()), (id, Some(2)));
    assert_eq!(RawMap::open_pinned(&path).unwrap().kind(), MapKind::Hash);

    // The pin goes, the handle stays.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(again.lookup(1).unwrap(), Some(2));
    again.update(3, 4).unwrap();
    // A name that is not UTF-8 is a name.
    use std::os::unix::ffi::OsStrExt;
    let odd = pins.path("").join(Path::new(std::ffi::OsStr::from_bytes(b"\xff odd")));
    again.pin(&odd).unwrap();
    assert_eq!(Hash::<u32, u64>::open_pinned(&odd).unwrap().count().unwrap(), 2);
}

#[test]
fn info_tells_what_the_map_was_created_as() {
    let flags = CreateFlags::NO_PREALLOC | CreateFlags::RDONLY_PROG;
    let map = Hash::<u32, [u8; 12]>::create_with("facts", 17, flags).unwrap();
    let info = map.info();
    assert_eq!((info.kind, info.name.as_str()), (MapKind::Hash, "facts"));
    assert_eq!((info.key_size, info.value_size, info.max_entries), (4, 12, 17));
    assert_eq!(info.flags, flags.bits());
    assert_eq!((info.btf_id, info.frozen), (0, false));
    assert!(info.id > 0 && info.memory > 0);
    assert_eq!((map.max_entries(), map.name().as_str()), (17, "facts"));
    map.freeze().unwrap();
    assert!(map.info().frozen);

    let array = Array::<u64>::create_with("facts", 3, CreateFlags::MMAPABLE).unwrap();
    assert_eq!(array.info().kind, MapKind::Array);
    assert!(array.info().memory >= 4096);
    let debug = format!("{array:?} {:?} {:?}", array.iter(), map.drain());
    assert!(debug.contains("facts") && debug.contains("Array"), "{debug}");
}
