//! Proved types, on loaded objects and pins: what each process may learn of a
//! map's types, and what an upgrade of a program meets. The comparison itself,
//! field by field, is tested in `src/proof/tests.rs`.

use bpf_atlas::{Hash, MapKind, OpenError, Pod, Proof, RawMap, Unproved, agent};

#[path = "support/programs.rs"]
mod programs;
#[path = "support/reference.rs"]
mod reference;
mod support;

use self::programs::Programs;
use self::reference::{Drifted, Grown, Key, Reference, Shrunk, Swapped};
use self::support::{Pins, child_with, role, skipped};

/// What the table of differences must name; also that it is one.
fn refused<V: Pod>(map: &RawMap, words: &[&str]) {
    let error = Hash::<Key, V>::open(map).unwrap_err();
    let OpenError::Types { mismatches, .. } = &error else { panic!("{error}") };
    assert_eq!(mismatches.len(), 1);
    let text = error.to_string();
    for word in ["field", "C (struct reference", "Rust ("].iter().chain(words) {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
}

#[test]
fn a_right_type_is_proved_and_each_way_to_the_map_proves_it() {
    let programs = Programs::load("proof");
    let map = RawMap::open(programs.map("flows")).unwrap();
    assert_eq!(map.kind(), MapKind::Hash);
    let flows = Hash::<Key, Reference>::open(programs.map("flows")).unwrap();
    assert_eq!(*flows.proof(), Proof::Btf);
    assert_eq!(*Hash::<Key, Reference>::open(&flows).unwrap().proof(), Proof::Btf);
    assert_eq!(*Hash::<Key, Reference>::open_id(map.id()).unwrap().proof(), Proof::Btf);
}

/// An older version of a program left a pin; the newer one has another struct.
#[test]
fn an_upgrade_that_meets_an_old_pin_gets_a_table_and_never_data() {
    let pins = Pins::new();
    let path = pins.path("flows");
    {
        let old = Programs::load("proof");
        let flows = Hash::<Key, Reference>::open(old.map("flows")).unwrap();
        flows.pin(&path).unwrap();
    }
    let left = RawMap::open_pinned(&path).unwrap();
    refused::<Drifted>(&left, &["bytes", "__u32 at 16", "i32 at 16", "sign differs"]);
    refused::<Swapped>(&left, &["bytes", "delta", "offset differs"]);
    refused::<Grown>(&left, &["newer", "missing in C", "120 bytes", "128 bytes"]);
    refused::<Shrunk>(&left, &["balance", "missing in Rust", "120 bytes", "112 bytes"]);
    assert!(Hash::<Key, Grown>::open_pinned(&path).is_err());
    assert_eq!(*Hash::<Key, Reference>::open_pinned(&path).unwrap().proof(), Proof::Btf);
}

/// G9: with `CAP_BPF` and `CAP_PERFMON` alone the kernel gives no BTF by id. A
/// map from an object is proved by the object's own; any other says why not.
#[test]
fn g9_without_cap_sys_admin_the_object_proves_its_maps() {
    const NAME: &str = "g9_without_cap_sys_admin_the_object_proves_its_maps";
    const BPF_AND_PERFMON: [u32; 2] = [39, 38];
    if role().is_some() {
        let object = agent::load(agent::open_file(programs::compile("proof")).unwrap()).unwrap();
        let attached = agent::Attached::new(&object).unwrap();
        let map = attached.map("flows").unwrap();
        assert_eq!(*Hash::<Key, Reference>::open(map).unwrap().proof(), Proof::ObjectBtf);
        refused::<Drifted>(map, &["bytes", "sign differs"]);
        // A map that is not the object's own, though it goes by its name: the
        // object's types prove nothing of it.
        let pinned = RawMap::open_pinned(std::env::var("PIN").unwrap()).unwrap();
        let mut open = agent::open_file(programs::compile("proof")).unwrap();
        let mut flows = open.maps_mut().find(|map| map.name() == "flows").unwrap();
        flows.reuse_fd(std::os::fd::AsFd::as_fd(&pinned)).unwrap();
        let other = agent::Attached::new(&agent::load(open).unwrap()).unwrap();
        let reused = Hash::<Key, Reference>::open(other.map("flows").unwrap()).unwrap();
        assert_eq!(*reused.proof(), Proof::SizesOnly(Unproved::NotPermitted));
        // The same map, without its object.
        let bare = std::os::fd::AsFd::as_fd(map).try_clone_to_owned().unwrap();
        let flows = Hash::<Key, Reference>::open(&bare).unwrap();
        assert_eq!(*flows.proof(), Proof::SizesOnly(Unproved::NotPermitted));
        let error = flows.require_proof().unwrap_err();
        assert!(matches!(error, OpenError::Unproved { why: Unproved::NotPermitted, .. }));
        Hash::<Key, Reference>::open(map).unwrap().require_proof().unwrap();
        assert!(matches!(Hash::<Key, Grown>::open(&bare), Err(OpenError::ValueSize { .. })));
        return;
    }
    let pins = Pins::new();
    let path = pins.path("flows");
    RawMap::open(Programs::load("proof").map("flows")).unwrap().pin(&path).unwrap();
    let Some(mut child) = child_with(&BPF_AND_PERFMON, NAME, "unprivileged") else {
        return skipped(NAME, "no setpriv (util-linux)");
    };
    let output = child.env("PIN", &path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Once an open, and nothing after: under 1 ms for a struct of 100 fields. The
/// bound is wide, since this build is not optimised and the machine is shared.
#[test]
fn the_proof_costs_little_and_only_at_open() {
    let programs = Programs::load("proof");
    let map = RawMap::open(programs.map("flows")).unwrap();
    let times = (0..20).map(|_| {
        let start = std::time::Instant::now();
        Hash::<Key, Reference>::open(&map).unwrap();
        start.elapsed()
    });
    let least = times.min().unwrap();
    println!("an open with a proof of 18 fields: {least:?}");
    assert!(least.as_millis() < 10, "{least:?}");
}
