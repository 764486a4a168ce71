//! Errors (G2): each gives its variant, and a message that a person can act on.
//! No error is taken for an end or an absence.
#![forbid(unsafe_code)]

use std::fs;

use bpf_atlas::{
    Array, CreateFlags, Error, Hash, LruHash, LruPerCpuHash, MapKind, OpenError, PerCpu,
    PerCpuArray, PerCpuHash, RawMap, ReadOnlyBecause, RingBuf,
};
use libbpf_rs::{MapCore, MapHandle, MapType};

#[path = "support/programs.rs"]
mod programs;
mod support;
use support::{Folder, Pins, says};

#[track_caller]
fn write_only<T>(result: Result<T, Error>) {
    match result {
        Err(error @ Error::WriteOnly { .. }) => {
            says(error, &["`wo` cannot be read", "BPF_F_WRONLY"])
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a write-only map was read"),
    }
}

#[track_caller]
fn read_only<T>(result: Result<T, Error>, why: ReadOnlyBecause) {
    match result {
        Err(error @ Error::ReadOnly { because, .. }) if because == why => {
            let advice = match why {
                ReadOnlyBecause::Frozen => "create it anew",
                _ => "BPF_F_RDONLY",
            };
            says(error, &["`ro` cannot be written", advice]);
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a read-only map was written"),
    }
}

/// A walk of a map that cannot be read: one error, then the end.
macro_rules! one_error {
    ($walk:expr) => {
        let mut walk = $walk;
        write_only(walk.next().expect("an error, not an empty map"));
        assert!(walk.next().is_none() && walk.next().is_none());
    };
}

macro_rules! hash_is_write_only {
    ($map:expr, $value:expr) => {
        let map = $map.unwrap();
        let value = $value;
        map.update(1, &value).unwrap();
        assert!(!map.insert(1, &value).unwrap());
        assert_eq!(map.update_all([(2, &value), (3, &value)]).unwrap(), 2);
        write_only(map.lookup(1));
        write_only(map.lookup(9));
        write_only(map.contains_key(1));
        write_only(map.take(1));
        one_error!(map.iter());
        one_error!((&map).into_iter());
        one_error!(map.keys());
        one_error!(map.values());
        one_error!(map.drain());
        one_error!(map.clone().with_batch_size(1).unwrap().iter());
        write_only(map.for_each(|_, _| panic!("an entry")));
        write_only(map.sum());
        write_only(map.count());
        write_only(map.snapshot());
        write_only(map.clear());
        assert!(map.delete(1).unwrap(), "a write-only map can be deleted from");
        assert_eq!(map.delete_all([1, 2, 3]).unwrap(), 2);
    };
}

#[test]
fn g2_a_write_only_map_is_never_an_empty_one() {
    let flags = CreateFlags::WRONLY;
    hash_is_write_only!(Hash::<u32, u64>::create_with("wo", 10, flags), 1);
    hash_is_write_only!(LruHash::<u32, u64>::create_with("wo", 10, flags), 1);
    hash_is_write_only!(PerCpuHash::<u32, u64>::create_with("wo", 10, flags), PerCpu::splat(1));
    hash_is_write_only!(LruPerCpuHash::<u32, u64>::create_with("wo", 10, flags), PerCpu::splat(1));
    write_only(Hash::<u32, u64>::create_with("wo", 1, flags).unwrap().lookup_walked(1));
    let spread = PerCpuHash::<u32, u64>::create_with("wo", 10, flags).unwrap();
    write_only(spread.sum_of(1));
    one_error!(spread.sums());

    let array = Array::<u64>::create_with("wo", 4, flags | CreateFlags::MMAPABLE).unwrap();
    array.update(1, 1).unwrap();
    write_only(array.lookup(1));
    one_error!(array.iter());
    one_error!(array.values());
    write_only(array.sum());
    write_only(array.count());
    write_only(array.snapshot());
    write_only(array.mapped());
    let array = PerCpuArray::<u64>::create_with("wo", 4, flags).unwrap();
    array.update(1, &PerCpu::splat(1)).unwrap();
    write_only(array.lookup(1));
    write_only(array.sum_of(1));
    one_error!(array.iter());
    one_error!(array.sums());
}

macro_rules! hash_is_read_only {
    ($map:expr, $value:expr, $why:expr) => {
        let (map, value, why) = ($map, $value, $why);
        read_only(map.update(1, &value), why);
        read_only(map.update(9, &value), why);
        read_only(map.insert(9, &value), why);
        read_only(map.insert(1, &value), why);
        read_only(map.replace(1, &value), why);
        read_only(map.replace(9, &value), why);
        read_only(map.delete(1), why);
        read_only(map.delete(9), why);
        read_only(map.take(1), why);
        read_only(map.update_all([(1, &value), (9, &value)]), why);
        read_only(map.delete_all([9, 1]), why);
        read_only(map.clear(), why);
        let mut drain = map.drain();
        read_only(drain.next().expect("an error, not an empty map"), why);
        assert!(drain.next().is_none());
        drop(drain);
        // Reading goes on, and nothing has changed.
        assert_eq!(map.lookup(1).unwrap(), Some(value.clone()));
        assert!(map.iter().map(Result::unwrap).eq([(1, value)]));
        assert_eq!(map.count().unwrap(), 1);
    };
}

#[test]
fn g2_a_read_only_descriptor_says_so() {
    let pins = Pins::new();
    // A second descriptor on a map that others can write.
    let reader = |name: &str, map: &RawMap| {
        map.pin(pins.path(name)).unwrap();
        let flags = CreateFlags::RDONLY.bits();
        MapHandle::from_pinned_path_with_file_flags(pins.path(name), flags).unwrap()
    };
    let because = ReadOnlyBecause::Descriptor;

    let map = Hash::<u32, u64>::create("ro", 10).unwrap();
    map.update(1, 2).unwrap();
    hash_is_read_only!(Hash::<u32, u64>::open(reader("a", map.raw())).unwrap(), 2, because);
    read_only(Hash::<u32, u64>::open(reader("b", map.raw())).unwrap().freeze(), because);
    map.update(1, 3).unwrap();

    let map = LruPerCpuHash::<u32, u64>::create("ro", 10).unwrap();
    map.update(1, &PerCpu::splat(2)).unwrap();
    let map = LruPerCpuHash::<u32, u64>::open(reader("c", map.raw())).unwrap();
    hash_is_read_only!(map, PerCpu::splat(2), because);

    let array = Array::<u64>::create_with("ro", 2, CreateFlags::MMAPABLE).unwrap();
    array.update(1, 5).unwrap();
    let only = Array::<u64>::open(reader("d", array.raw())).unwrap();
    read_only(only.update(1, 6), because);
    read_only(only.update_all([(0, 6)]), because);
    read_only(only.mapped(), because);
    assert!(only.values().map(Result::unwrap).eq([0, 5]));

    // A descriptor that was read-only from the start.
    let map = Hash::<u32, u64>::create_with("ro", 10, CreateFlags::RDONLY).unwrap();
    read_only(map.update(1, 1), because);
    assert_eq!(map.count().unwrap(), 0);
}

#[test]
fn g2_a_frozen_map_says_so() {
    let because = ReadOnlyBecause::Frozen;
    let map = Hash::<u32, u64>::create("ro", 10).unwrap();
    map.update(1, 2).unwrap();
    map.freeze().unwrap();
    map.freeze().unwrap();
    hash_is_read_only!(map, 2, because);

    let map = PerCpuHash::<u32, u64>::create("ro", 10).unwrap();
    map.update(1, &PerCpu::splat(2)).unwrap();
    map.freeze().unwrap();
    hash_is_read_only!(map, PerCpu::splat(2), because);

    let array = Array::<u64>::create_with("ro", 2, CreateFlags::MMAPABLE).unwrap();
    array.update(1, 5).unwrap();
    let mapped = array.mapped().unwrap();
    let error = array.freeze().unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    says(error, &["BPF_MAP_FREEZE on map `ro`", "drop its MappedArray", "EBUSY"]);
    drop(mapped);
    array.freeze().unwrap();
    read_only(array.update(0, 1), because);
    let mapped = array.mapped().unwrap();
    read_only(mapped.store(1, 6), because);
    read_only(mapped.take(1), because);
    assert_eq!((array.sum().unwrap(), mapped.sum()), (5, 5));
}

#[test]
fn g2_an_index_out_of_range_says_how_many_there_are() {
    #[track_caller]
    fn out_of_range<T>(result: Result<T, Error>, wrong: u32) {
        match result {
            Err(error @ Error::IndexOutOfRange { index, max_entries: 4, .. }) if index == wrong => {
                says(error, &["`slots` has no index", &wrong.to_string(), "4 entries"]);
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("an index that does not exist was used"),
        }
    }
    let array = Array::<u64>::create_with("slots", 4, CreateFlags::MMAPABLE).unwrap();
    let spread = PerCpuArray::<u64>::create("slots", 4).unwrap();
    let mapped = array.mapped().unwrap();
    for wrong in [4, 5, u32::MAX] {
        out_of_range(array.lookup(wrong), wrong);
        out_of_range(array.update(wrong, 1), wrong);
        out_of_range(array.update_all([(wrong, 1), (0, 1)]), wrong);
        out_of_range(spread.lookup(wrong), wrong);
        out_of_range(spread.sum_of(wrong), wrong);
        out_of_range(spread.update(wrong, &PerCpu::splat(1)), wrong);
        out_of_range(spread.update_all([(wrong, PerCpu::splat(1))]), wrong);
        out_of_range(mapped.load(wrong), wrong);
        out_of_range(mapped.store(wrong, 1), wrong);
        out_of_range(mapped.take(wrong), wrong);
    }
    assert_eq!((array.sum().unwrap(), spread.sum().unwrap()), (0, 0));

    // In the middle: what was before it is written, and counted.
    let error = array.update_all([(0, 1), (3, 2), (4, 3), (1, 4)]).unwrap_err();
    let Error::Partial { done: 2, ref source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(**source, Error::IndexOutOfRange { index: 4, .. }) && !error.is_full());
    says(error, &["after 2 entries", "no index 4"]);
    assert!(array.values().map(Result::unwrap).eq([1, 0, 0, 2]));
    let one = PerCpu::on_cpu(0, 1);
    let error = spread.update_all([(0, &one), (7, &one), (1, &one)]).unwrap_err();
    assert!(matches!(error, Error::Partial { done: 1, .. }), "{error:?}");
    assert_eq!(spread.sum().unwrap(), 1);
}

fn theirs(kind: MapType, key: u32, value: u32, entries: u32) -> MapHandle {
    let opts = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
        ..Default::default()
    };
    MapHandle::create(kind, Some("theirs"), key, value, entries, &opts).unwrap()
}

#[test]
fn g2_a_map_of_another_kind_is_refused() {
    let maps = [
        (theirs(MapType::Hash, 4, 8, 2), MapKind::Hash),
        (theirs(MapType::LruHash, 4, 8, 2), MapKind::LruHash),
        (theirs(MapType::PercpuHash, 4, 8, 2), MapKind::PerCpuHash),
        (theirs(MapType::LruPercpuHash, 4, 8, 2), MapKind::LruPerCpuHash),
        (theirs(MapType::Array, 4, 8, 2), MapKind::Array),
        (theirs(MapType::PercpuArray, 4, 8, 2), MapKind::PerCpuArray),
        (theirs(MapType::RingBuf, 0, 0, 65_536), MapKind::RingBuf),
        (theirs(MapType::Queue, 0, 8, 2), MapKind::Queue),
        (theirs(MapType::BloomFilter, 0, 8, 2), MapKind::BloomFilter),
    ];
    #[track_caller]
    fn check<T>(result: Result<T, OpenError>, opened: &str, as_kind: MapKind, is: MapKind) {
        match result {
            Ok(_) => assert_eq!(as_kind, is, "opened as {opened}"),
            Err(error @ OpenError::Kind { .. }) => {
                assert_ne!(as_kind, is);
                says(error, &["`theirs`", &is.to_string(), opened, &as_kind.to_string()]);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    for (map, is) in &maps {
        assert_eq!(RawMap::open(map).unwrap().kind(), *is);
        check(Hash::<u32, u64>::open(map), "Hash", MapKind::Hash, *is);
        check(LruHash::<u32, u64>::open(map), "LruHash", MapKind::LruHash, *is);
        check(PerCpuHash::<u32, u64>::open(map), "PerCpuHash", MapKind::PerCpuHash, *is);
        check(LruPerCpuHash::<u32, u64>::open(map), "LruPerCpuHash", MapKind::LruPerCpuHash, *is);
        check(Array::<u64>::open(map), "Array", MapKind::Array, *is);
        check(PerCpuArray::<u64>::open(map), "PerCpuArray", MapKind::PerCpuArray, *is);
        check(RingBuf::<u64>::open(map), "RingBuf", MapKind::RingBuf, *is);
    }
}

#[test]
fn g2_keys_and_values_of_another_size_are_refused() {
    let map = theirs(MapType::Hash, 4, 8, 2);
    let error = Hash::<u64, u64>::open(&map).unwrap_err();
    assert!(matches!(error, OpenError::KeySize { rust: 8, kernel: 4, .. }), "{error:?}");
    says(error, &["`theirs` has keys of 4 bytes", "`u64` has 8"]);
    let error = Hash::<[u8; 3], u64>::open(&map).unwrap_err();
    says(error, &["keys of 4 bytes", "`[u8; 3]` has 3"]);
    let error = Hash::<u32, u32>::open(&map).unwrap_err();
    assert!(matches!(error, OpenError::ValueSize { rust: 4, kernel: 8, .. }), "{error:?}");
    says(error, &["`theirs` has values of 8 bytes", "`u32` has 4"]);
    let error = Array::<[u64; 2]>::open(theirs(MapType::Array, 4, 8, 2)).unwrap_err();
    says(error, &["values of 8 bytes", "`[u64; 2]` has 16"]);
    // Of one CPU's value, not of the slot that it is rounded up to.
    let map = theirs(MapType::PercpuHash, 4, 5, 2);
    let error = PerCpuHash::<u32, u64>::open(&map).unwrap_err();
    assert!(matches!(error, OpenError::ValueSize { rust: 8, kernel: 5, .. }), "{error:?}");
    PerCpuHash::<u32, [u8; 5]>::open(&map).unwrap();
}

#[test]
fn g2_a_pin_that_is_gone_or_never_was_says_which() {
    let pins = Pins::new();
    let path = pins.path("counts");
    let map = Hash::<u32, u64>::create("counts", 2).unwrap();
    map.pin(&path).unwrap();
    fs::remove_file(&path).unwrap();
    for path in [path, pins.path("no/such/folder")] {
        let error = Hash::<u32, u64>::open_pinned(&path).unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
        assert_eq!(error.errno().map(|errno| errno.0), Some(libc::ENOENT));
        says(error, &[&path.display().to_string(), "does not exist"]);
        let error = RingBuf::<u64>::open_pinned(&path).unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
    }

    // And a pin that cannot be made.
    map.pin(pins.path("taken")).unwrap();
    let folder = Folder::new();
    for (path, errno, words) in [
        (pins.path("taken"), libc::EEXIST, "remove it first"),
        (pins.path("no/such"), libc::ENOENT, "folder does not exist"),
        (folder.path().join("x"), libc::EPERM, "mount -t bpf"),
    ] {
        let error = map.pin(&path).unwrap_err();
        let Error::Pin { errno: found, .. } = &error else { panic!("{error:?}") };
        assert_eq!(found.0, errno);
        says(error, &["`counts`", &path.display().to_string(), words]);
    }
}

#[test]
fn g2_a_pin_that_is_a_program_is_named_as_one() {
    let object = programs::compile("loading");
    let object = libbpf_rs::ObjectBuilder::default().open_file(object).unwrap().load().unwrap();
    let pins = Pins::new();
    let path = pins.path("program");
    let mut program = object.progs_mut().find(|program| program.name() == "nothing").unwrap();
    program.pin(&path).unwrap();
    for error in [
        RawMap::open_pinned(&path).unwrap_err(),
        Hash::<u32, u64>::open_pinned(&path).unwrap_err(),
        RingBuf::<u64>::open_pinned(&path).unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::NotAMap { .. }), "{error:?}");
        says(error, &[&path.display().to_string(), "not a BPF map but a BPF program"]);
    }
    let error = RawMap::open(std::os::fd::AsFd::as_fd(&program)).unwrap_err();
    says(error, &["not a BPF map but a BPF program"]);
}

#[test]
fn g2_a_map_that_was_never_created_is_not_loaded() {
    let object = programs::compile("loading");
    let mut object = libbpf_rs::ObjectBuilder::default().open_file(object).unwrap();
    let mut maps = object.maps_mut();
    maps.find(|map| map.name() == "absent").unwrap().set_autocreate(false).unwrap();
    drop(maps);
    let object = object.load().unwrap();
    let map = |name| object.maps().find(|map| map.name() == name).unwrap();
    assert_eq!(Hash::<u32, u64>::open(map("present")).unwrap().count().unwrap(), 0);
    for error in [
        Hash::<u32, u64>::open(map("absent")).unwrap_err(),
        RawMap::open(map("absent")).unwrap_err(),
        RingBuf::<u64>::open(map("absent")).unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::NotLoaded { .. }), "{error:?}");
        says(error, &["`absent` does not exist in the kernel", "autocreate"]);
    }
    // What is there can be held without it.
    let attached = bpf_atlas::agent::Attached::new(&object).unwrap();
    assert!(attached.map("present").is_ok());
    let error = attached.map("absent").unwrap_err();
    assert!(matches!(error, OpenError::NotLoaded { .. }), "{error:?}");
    says(error, &["`absent`", "autocreate"]);
    says(attached.map("other").unwrap_err(), &["`other`", "present"]);
}
