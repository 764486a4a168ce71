//! A pinned map that another version of the program left.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use bpf_atlas::{Hash, ObjectError, OpenError, Proof, Unproved};
use bpf_atlas_build_e2e::{pinned_grown, pinned_reordered, pinned_shrunk, pinned_v1};

#[path = "../../../../tests/support/mod.rs"]
mod support;
use support::{child_with, role, skipped};

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

/// The kernel gives no BTF by id to a process with `CAP_BPF` and `CAP_PERFMON`
/// alone, so a pin whose fields changed places looks like the right one.
#[test]
fn without_a_proof_a_reordered_pin_goes_unnoticed_unless_one_is_required() {
    const NAME: &str = "without_a_proof_a_reordered_pin_goes_unnoticed_unless_one_is_required";
    const BPF_AND_PERFMON: [u32; 2] = [39, 38];
    if role().is_some() {
        return unprivileged(Path::new(&std::env::var("PIN").unwrap()));
    }
    let pins = Pins::new("unproved");
    leave(&pins);
    let Some(mut child) = child_with(&BPF_AND_PERFMON, NAME, "unprivileged") else {
        return skipped(NAME, "no setpriv (util-linux)");
    };
    let output = child.env("PIN", pins.0.join("stats")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // And with it, the reordered pin is refused with the table either way.
    let mut open = pinned_reordered::open().unwrap();
    open.set_pin_root(&pins.0).require_proof();
    let error = open.load().unwrap_err();
    assert!(matches!(error, ObjectError::Pin { why: OpenError::Types { .. }, .. }), "{error}");
    let mut open = pinned_v1::open().unwrap();
    open.set_pin_root(&pins.0).require_proof();
    assert_eq!(*open.load().unwrap().maps.stats.proof(), Proof::Btf);
}

fn unprivileged(pin: &Path) {
    const NOT_PERMITTED: Proof = Proof::SizesOnly(Unproved::NotPermitted);
    let root = pin.parent().unwrap();
    let mut open = pinned_reordered::open().unwrap();
    open.set_pin_root(root);
    let loaded = open.load().unwrap();
    assert_eq!(*loaded.maps.stats.proof(), NOT_PERMITTED);
    let error = loaded.maps.stats.require_proof().unwrap_err();
    assert!(matches!(error, OpenError::Unproved { .. }), "{error}");

    let mut open = pinned_reordered::open().unwrap();
    open.set_pin_root(root).require_proof();
    let error = open.load().unwrap_err();
    let ObjectError::Pin { map: "stats", why: OpenError::Unproved { why, .. }, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*why, Unproved::NotPermitted);
    let said = error.to_string();
    for words in ["`stats`", &pin.display().to_string(), "CAP_SYS_ADMIN", "proof was required"] {
        assert!(said.contains(words), "no {words} in {said}");
    }

    // Maps of the object's own are proved by the object, and so is one that is
    // shared with another object, by the object that made it.
    let mut open = pinned_v1::open().unwrap();
    open.maps.stats.set_pin_path(root.join("own"));
    open.require_proof();
    let own = open.load().unwrap();
    assert_eq!(*own.maps.stats.proof(), Proof::ObjectBtf);
    let mut open = pinned_v1::open().unwrap();
    open.require_proof();
    open.maps.stats.share(&own.maps.stats);
    assert_eq!(*open.load().unwrap().maps.stats.proof(), Proof::ObjectBtf);
    let mut open = pinned_reordered::open().unwrap();
    open.maps.stats.share(&own.maps.stats);
    let error = open.load().unwrap_err();
    assert!(matches!(error, ObjectError::Map(OpenError::Types { .. })), "{error}");
    let mut open = pinned_v1::open().unwrap();
    open.require_proof();
    open.maps.stats.share(Hash::<u32, pinned_v1::Stat>::open_pinned(pin).unwrap());
    let error = open.load().unwrap_err();
    assert!(matches!(error, ObjectError::Map(OpenError::Unproved { .. })), "{error}");
}
