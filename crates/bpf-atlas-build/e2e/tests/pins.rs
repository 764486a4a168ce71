//! A pinned map that another version of the program left.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use bpf_atlas::{Hash, ObjectError, OpenError};
use bpf_atlas_build_e2e::{pinned_grown, pinned_reordered, pinned_shrunk, pinned_v1};

/// A directory in the BPF file system, gone with its pins at the end.
struct Pins(PathBuf);

impl Pins {
    fn new(name: &str) -> Self {
        let root = Path::new("/sys/fs/bpf");
        let dir = root.join(format!("atlas_build_{name}_{}", std::process::id()));
        if fs::create_dir(&dir).is_err() {
            let none = None::<&str>;
            let _ = nix::mount::mount(
                Some("none"),
                root,
                Some("bpf"),
                nix::mount::MsFlags::empty(),
                none,
            );
            fs::create_dir(&dir).expect("a BPF file system at /sys/fs/bpf");
        }
        Self(dir)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// Leaves a map with one count, as version 1 would.
fn leave(pins: &Pins) {
    let mut open = pinned_v1::open().unwrap();
    open.set_pin_root(&pins.0);
    let mut loaded = open.load().unwrap();
    let ran = loaded.progs().count().libbpf(|count| count.test_run(Default::default()).is_ok());
    assert!(ran);
}

#[test]
fn the_same_version_goes_on_with_the_pinned_map() {
    let pins = Pins::new("same");
    leave(&pins);
    leave(&pins);
    let stats = Hash::<u32, pinned_v1::Stat>::open_pinned(pins.0.join("stats")).unwrap();
    assert_eq!(stats.lookup(1).unwrap().unwrap().packets, 2);
}

macro_rules! refused {
    ($pins:expr, $module:ident) => {{
        let mut open = $module::open().unwrap();
        open.set_pin_root(&$pins.0);
        let error = open.load().unwrap_err();
        let ObjectError::Pin { map: "stats", why: OpenError::Types { .. }, .. } = &error else {
            panic!("{error}");
        };
        error.to_string()
    }};
}

#[test]
fn another_version_is_refused_with_all_differences() {
    let pins = Pins::new("other");
    leave(&pins);
    let grown = refused!(pins, pinned_grown);
    assert!(grown.contains("last_ns") && grown.contains("missing in C"), "{grown}");
    assert!(grown.contains("24 bytes") && grown.contains("32 bytes"), "{grown}");
    let shrunk = refused!(pins, pinned_shrunk);
    assert!(shrunk.contains("errors") && shrunk.contains("missing in Rust"), "{shrunk}");
    let reordered = refused!(pins, pinned_reordered);
    assert!(reordered.contains("offset differs"), "{reordered}");
    for name in ["errors", "drops"] {
        assert!(reordered.contains(name), "{reordered}");
    }
    assert!(reordered.contains("remove the pin"), "{reordered}");
}

#[test]
fn a_map_that_was_created_otherwise_is_refused_with_what_differs() {
    let pins = Pins::new("entries");
    leave(&pins);
    let mut open = pinned_v1::open().unwrap();
    open.set_pin_root(&pins.0);
    open.maps.stats.set_max_entries(64);
    let error = open.load().unwrap_err();
    assert!(matches!(error, ObjectError::PinShape { map: "stats", .. }), "{error}");
    assert!(error.to_string().contains("max_entries is 16 there and 64 here"), "{error}");
}

#[test]
fn a_path_of_its_own_and_a_shared_map() {
    let pins = Pins::new("path");
    let path = pins.0.join("elsewhere");
    let mut open = pinned_v1::open().unwrap();
    open.maps.stats.set_pin_path(&path);
    let first = open.load().unwrap();
    assert!(path.exists());

    let mut open = pinned_v1::open().unwrap();
    open.maps.stats.share(Hash::<u32, pinned_v1::Stat>::open_pinned(&path).unwrap());
    let mut second = open.load().unwrap();
    let ran = second.progs().count().libbpf(|count| count.test_run(Default::default()).is_ok());
    assert!(ran);
    assert!(!Path::new("/sys/fs/bpf/stats").exists(), "a shared map is not pinned by its name");
    assert_eq!(first.maps.stats.lookup(1).unwrap().unwrap().packets, 1);

    let mut open = pinned_grown::open().unwrap();
    open.set_pin_root(&pins.0);
    open.maps.stats.share(&first.maps.stats);
    let error = open.load().unwrap_err();
    assert!(matches!(error, ObjectError::Map(OpenError::Types { .. })), "{error}");
}
