//! Bad input: an error with the reason, no panic, and nothing lost.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bpf_atlas::{
    Array, CreateFlags, Error, Hash, LruHash, LruPerCpuHash, OpenError, PerCpu, PerCpuArray,
    PerCpuHash, RawMap, RingBuf, agent,
};

mod support;
use support::{Folder, Once, Pins, says};
#[path = "support/programs.rs"]
mod programs;

#[track_caller]
fn invalid<T>(result: Result<T, OpenError>, words: &[&str]) {
    match result {
        Err(error @ OpenError::InvalidArgument { .. }) => says(error, words),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("bad input was taken"),
    }
}

#[test]
fn maps_of_nothing_are_refused() {
    let key = &["`none`", "key type has no bytes"];
    invalid(Hash::<[u8; 0], u64>::create("none", 4), key);
    invalid(LruHash::<[u8; 0], u64>::create("none", 4), key);
    invalid(PerCpuHash::<[[u64; 2]; 0], u64>::create("none", 4), key);
    invalid(LruPerCpuHash::<[u8; 0], u64>::create("none", 4), key);
    let value = &["`none`", "value type has no bytes"];
    invalid(Hash::<u32, [u8; 0]>::create("none", 4), value);
    invalid(PerCpuHash::<u32, [u8; 0]>::create("none", 4), value);
    invalid(Array::<[u8; 0]>::create("none", 4), value);
    invalid(PerCpuArray::<[u8; 0]>::create("none", 4), value);
    let entries = &["`none`", "max_entries is 0", "one entry"];
    invalid(Hash::<u32, u64>::create("none", 0), entries);
    invalid(LruHash::<u32, u64>::create("none", 0), entries);
    invalid(PerCpuHash::<u32, u64>::create("none", 0), entries);
    invalid(LruPerCpuHash::<u32, u64>::create("none", 0), entries);
    invalid(Array::<u64>::create("none", 0), entries);
    invalid(PerCpuArray::<u64>::create("none", 0), entries);
    // And a map that has keys and values is not opened as one that has none.
    let map = Hash::<u32, u64>::create("some", 4).unwrap();
    assert!(matches!(Hash::<[u8; 0], u64>::open(&map), Err(OpenError::KeySize { .. })));
    assert!(matches!(Hash::<u32, [u8; 0]>::open(&map), Err(OpenError::ValueSize { .. })));
}

#[test]
fn maps_that_are_too_large_are_refused() {
    let large = &["`large`", "larger than the kernel takes"];
    invalid(PerCpuHash::<u32, [u8; 32_769]>::create("large", 1), large);
    invalid(PerCpuArray::<[u8; 32_769]>::create("large", 1), large);
    invalid(LruPerCpuHash::<u32, [u8; 40_000]>::create("large", 1), large);
    invalid(Hash::<u32, [u8; 4 << 20]>::create("large", 1), large);
    invalid(Hash::<u32, u64>::create("large", u32::MAX), large);
    // The largest are taken.
    PerCpuHash::<u32, [u8; 32_768]>::create("large", 1).unwrap();
    Hash::<[u8; 512], u64>::create("large", 1).unwrap();
    // More memory than there is: the kernel's reason is kept.
    let error = Array::<[u8; 1 << 20]>::create("large", u32::MAX).unwrap_err();
    says(&error, &["`large`"]);
    let errno = error.errno().map(|errno| errno.0);
    let refused = matches!(error, OpenError::InvalidArgument { .. });
    assert!(refused || errno == Some(libc::ENOMEM), "{error:?}");
}

#[test]
fn flags_that_a_kind_does_not_take_are_refused() {
    let error = LruHash::<u32, u64>::create_with("odd", 4, CreateFlags::NO_PREALLOC).unwrap_err();
    assert!(matches!(error, OpenError::Unsupported { .. }), "{error:?}");
    says(error, &["BPF_MAP_TYPE_LRU_HASH `odd`", "flags"]);
    for error in [
        Hash::<u32, u64>::create_with("odd", 4, CreateFlags::NO_COMMON_LRU).unwrap_err(),
        Hash::<u32, u64>::create_with("odd", 4, CreateFlags::from_bits(1 << 31)).unwrap_err(),
        Array::<u64>::create_with("odd", 4, CreateFlags::NO_PREALLOC).unwrap_err(),
        PerCpuArray::<u64>::create_with("odd", 4, CreateFlags::MMAPABLE).unwrap_err(),
    ] {
        assert_eq!(error.errno().map(|errno| errno.0), Some(libc::EINVAL), "{error:?}");
        says(error, &["`odd`", "BPF_MAP_CREATE", "EINVAL"]);
    }
    // An array without the flag is not mapped.
    let error = Array::<u64>::create("odd", 4).unwrap().mapped().unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    says(error, &["mmap on map `odd`", "BPF_F_MMAPABLE"]);
}

#[test]
fn names_that_the_kernel_would_refuse_say_so() {
    for name in ["a\0b", "a/b", "größe", "a b", "a-b", "\n", "../a"] {
        let shown = format!("`{}`", name.escape_debug());
        invalid(Hash::<u32, u64>::create(name, 4), &[&shown, "ASCII letters, digits"]);
    }
    for (name, kept) in [
        ("", ""),
        ("a.b_C9", "a.b_C9"),
        ("fifteen_letters", "fifteen_letters"),
        ("a_name_of_sixteen", "a_name_of_sixte"),
        (&"x".repeat(10_000), "xxxxxxxxxxxxxxx"),
    ] {
        let map = Hash::<u32, u64>::create(name, 4).unwrap();
        assert_eq!((map.name().as_str(), map.info().name), (kept, map.name()));
    }
    let unnamed = Array::<u64>::create("", 1).unwrap();
    says(unnamed.lookup(1).unwrap_err(), &["`(unnamed)`"]);
}

#[test]
fn a_ring_has_a_size_that_the_kernel_takes() {
    for bytes in [0, 1, 7, 2048, 4095, 4097, 6000, 12_288, u32::MAX] {
        invalid(
            RingBuf::<u64>::create("ring", bytes),
            &["ring `ring`", &format!("{bytes} bytes"), "power of two", "page"],
        );
    }
    // A page is the least on machines with pages of 4 KiB; elsewhere it is more.
    let ring = RingBuf::<u64>::create("ring", 65_536).unwrap();
    assert_eq!((ring.capacity(), ring.waiting()), (65_536, 0));
    invalid(RingBuf::<u64>::create("a/b", 65_536), &["ASCII letters"]);
}

#[test]
fn a_batch_of_no_entries_is_refused_and_one_of_all_is_not() {
    const N: u32 = 5000;
    let map = Hash::<u32, u64>::create("batch", N).unwrap();
    map.update_all((0..N).map(|key| (key, 1))).unwrap();
    let error = map.clone().with_batch_size(0).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
    says(error, &["`batch`", "batch of 0 entries", "ask for 1"]);
    assert!(PerCpuArray::<u64>::create("batch", 4).unwrap().with_batch_size(0).is_err());

    let map = map.with_batch_size(u32::MAX).unwrap();
    let mut once = Once::of(N);
    map.for_each(|key, _| once.see(key)).unwrap();
    once.all();
    assert_eq!(map.drain().map(Result::unwrap).count(), N as usize);
    let array = PerCpuArray::<u64>::create("batch", N).unwrap().with_batch_size(u32::MAX).unwrap();
    assert_eq!(array.iter().map(Result::unwrap).count(), N as usize);
}

/// Held by tests that watch the memory of the process.
static MEMORY: Mutex<()> = Mutex::new(());

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_huge_batch_of_a_nearly_empty_map_does_not_take_all_memory() {
    let _turn = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    // Room for 4 GiB of values, and three of them.
    let flags = CreateFlags::NO_PREALLOC;
    let map = Hash::<u32, [u8; 4096]>::create_with("sparse", 1 << 20, flags).unwrap();
    map.update_all((0..3).map(|key| (key, [key as u8; 4096]))).unwrap();
    let before = peak();
    let map = map.with_batch_size(u32::MAX).unwrap();
    let mut once = Once::of(3);
    for entry in &map {
        let (key, value) = entry.unwrap();
        assert_eq!(value, [key as u8; 4096]);
        once.see(key);
    }
    once.all();
    assert!(peak() - before < 1 << 20, "{} KiB for three entries", peak() - before);
}

#[test]
fn large_values_are_written_in_batches_that_fit_in_memory() {
    let _turn = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let map = Hash::<u32, [u8; 1 << 20]>::create_with("big", 300, CreateFlags::NO_PREALLOC);
    let map = map.unwrap();
    let before = peak();
    static VALUE: [u8; 1 << 20] = [7; 1 << 20];
    assert_eq!(map.update_all((0..150).map(|key| (key, &VALUE))).unwrap(), 150);
    assert!(peak() - before < 64 << 10, "{} KiB of buffers", peak() - before);
    assert_eq!(map.count().unwrap(), 150);
    assert_eq!(map.clear().unwrap(), 150);
}

#[test]
fn per_cpu_values_of_another_number_of_cpus_are_refused() {
    let hash = PerCpuHash::<u32, u64>::create("cpus", 4).unwrap();
    let lru = LruPerCpuHash::<u32, u64>::create("cpus", 40).unwrap();
    let array = PerCpuArray::<u64>::create("cpus", 4).unwrap();
    let cpus = PerCpu::splat(0_u64).len();
    let good = PerCpu::splat(1_u64);
    hash.update(1, &good).unwrap();
    lru.update(1, &good).unwrap();
    array.update(1, &good).unwrap();
    for wrong in [0, cpus - 1, cpus + 1, 10_000] {
        let bad: PerCpu<u64> = std::iter::repeat_n(9, wrong).collect();
        let check = |error: Error| {
            assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
            says(error, &["`cpus`", &format!("{cpus} values"), &format!("has {wrong}")]);
        };
        check(hash.update(1, &bad).unwrap_err());
        check(hash.insert(2, &bad).unwrap_err());
        check(hash.replace(1, &bad).unwrap_err());
        check(lru.update(1, &bad).unwrap_err());
        check(array.update(1, &bad).unwrap_err());
        check(hash.update_all([(2, &bad)]).unwrap_err());
        // What was good before it is written, and counted.
        let error = hash.update_all([(2, &good), (3, &bad), (0, &good)]).unwrap_err();
        assert!(matches!(error, Error::Partial { done: 1, .. }), "{error:?}");
        assert!(hash.delete(2).unwrap());
        let error = array.update_all([(1, &good), (2, &bad)]).unwrap_err();
        assert!(matches!(error, Error::Partial { done: 1, .. }), "{error:?}");
    }
    assert!(hash.iter().map(Result::unwrap).eq([(1, good.clone())]));
    assert!(lru.iter().map(Result::unwrap).eq([(1, good.clone())]));
    assert_eq!((array.lookup(1).unwrap(), array.sum().unwrap()), (good, cpus as u64));
}

#[test]
fn an_id_that_is_gone_is_not_found() {
    let map = Hash::<u32, u64>::create("gone", 4).unwrap();
    let id = map.info().id;
    assert_eq!(RawMap::open_id(id).unwrap().id(), id);
    drop(map);
    // The kernel counts ids up, and comes back to used ones after 2 billion.
    for id in [id, 0, u32::MAX] {
        for error in [
            RawMap::open_id(id).unwrap_err(),
            Hash::<u32, u64>::open_id(id).unwrap_err(),
            PerCpuArray::<u64>::open_id(id).unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
            says(error, &[&format!("map with id {id} does not exist")]);
        }
    }
}

#[test]
fn descriptors_that_are_no_maps_are_named() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = File::open("/proc/self/status").unwrap();
    let pins = Pins::new();
    let folder = File::open(pins.path("")).unwrap();
    for (fd, what) in [
        (reader.as_fd(), "pipe:"),
        (socket.as_fd(), "socket:"),
        (file.as_fd(), "/status"),
        (folder.as_fd(), "bpf-atlas-"),
    ] {
        for error in [
            RawMap::open(fd).unwrap_err(),
            Hash::<u32, u64>::open(fd).unwrap_err(),
            RingBuf::<u64>::open(fd).unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::NotAMap { .. }), "{error:?}");
            says(error, &["not a BPF map but", what]);
        }
    }
}

#[test]
fn paths_that_are_no_pins_say_what_they_are() {
    let (pins, folder) = (Pins::new(), Folder::new());
    let map = Hash::<u32, u64>::create("path", 4).unwrap();
    fs::create_dir(pins.path("folder")).unwrap();
    let file = folder.file("file", "not a map");
    for path in [file.as_path(), folder.path(), "/dev/null".as_ref(), "/".as_ref()] {
        let error = RawMap::open_pinned(path).unwrap_err();
        assert!(matches!(error, OpenError::NotAMap { .. }), "{path:?}: {error:?}");
        says(error, &[&path.display().to_string(), "outside the BPF file system"]);
    }
    let error = Hash::<u32, u64>::open_pinned(pins.path("folder")).unwrap_err();
    assert!(matches!(error, OpenError::NotAMap { .. }), "{error:?}");
    says(error, &["folder", "a folder"]);

    let nul = PathBuf::from(OsStr::from_bytes(b"/sys/fs/bpf/a\0b"));
    invalid(Hash::<u32, u64>::open_pinned(&nul), &["NUL byte"]);
    let error = map.pin(&nul).unwrap_err();
    assert!(matches!(error, Error::Pin { .. }), "{error:?}");
    says(error, &["cannot pin map `path`", "NUL byte"]);

    let long = pins.path(&"x".repeat(300));
    for error in [RawMap::open_pinned("").unwrap_err(), RawMap::open_pinned(&long).unwrap_err()] {
        says(&error, &["the pin"]);
        assert!(error.errno().is_some(), "{error:?}");
    }
    let error = map.pin(&long).unwrap_err();
    assert_eq!(error.errno().map(|errno| errno.0), Some(libc::ENAMETOOLONG));
    says(error, &["cannot pin", "ENAMETOOLONG"]);
    // A dot cannot be in the name of a pin.
    let error = map.pin(pins.path("a.b")).unwrap_err();
    says(&error, &["cannot pin map `path`", "a.b"]);
    assert!(error.errno().is_some());
}

#[test]
fn files_that_are_no_bpf_objects_are_refused() {
    let folder = Folder::new();
    let object = fs::read(programs::compile("loading")).unwrap();
    let mut foreign = object.clone();
    foreign[18..20].copy_from_slice(&62_u16.to_le_bytes()); // e_machine: x86-64
    let mut files = vec![
        folder.file("text.bpf.o", "int main(void) { return 0; }\n"),
        folder.file("empty.bpf.o", ""),
        folder.file("magic.bpf.o", b"\x7fELF"),
        folder.file("foreign.bpf.o", foreign),
        folder.file("zeros.bpf.o", [0; 4096]),
        folder.path().join("missing.bpf.o"),
        folder.path().into(),
        "/dev/null".into(),
    ];
    for cut in [16, 63, 64, 200, object.len() / 2, object.len() - 1] {
        files.push(folder.file(&format!("cut-{cut}.bpf.o"), &object[..cut]));
    }
    for path in files {
        let error = agent::open_file(&path).err().unwrap_or_else(|| panic!("{path:?} was opened"));
        let said = error.to_string();
        println!("{said}");
        assert!(said.starts_with(&format!("opening {}: ", path.display())), "{said}");
        assert!(said.len() > format!("opening {}: ", path.display()).len());
    }
    let error = agent::open_file(folder.path().join("missing.bpf.o")).unwrap_err();
    says(error, &["missing.bpf.o", "ENOENT"]);
    agent::open_file(folder.file("whole.bpf.o", object)).unwrap();
}
