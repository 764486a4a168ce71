//! What the proof costs: once an open, and nothing afterwards.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use bpf_atlas::{Hash, LayoutKind, Pod, Proof, RawMap};
use bpf_atlas_build_e2e::wide::{self, Wide};

/// The least of several times: the machine may be shared.
fn least(mut f: impl FnMut()) -> Duration {
    let times = (0..200).map(|_| {
        let start = Instant::now();
        f();
        start.elapsed()
    });
    times.min().unwrap()
}

#[test]
fn an_open_with_a_proof_of_100_fields_takes_less_than_a_millisecond() {
    let LayoutKind::Struct { fields } = Wide::LAYOUT.kind else { panic!("no struct") };
    assert_eq!(fields.len(), 100);
    let loaded = wide::open().unwrap().load().unwrap();
    let map = RawMap::open(&loaded.maps.wide).unwrap();
    let proved = least(|| {
        let wide = Hash::<u32, Wide>::open(&map).unwrap();
        assert_eq!(*wide.proof(), Proof::Btf);
    });
    println!("an open with a proof of 100 fields: {proved:?}");
    // This build is not optimised, and does it all the same.
    assert!(proved < Duration::from_millis(1), "{proved:?}");

    // Afterwards an operation costs what it costs on a map without types to prove.
    let bytes = Hash::<u32, [u8; size_of::<Wide>()]>::create("bytes", 4).unwrap();
    let wide = Hash::<u32, Wide>::open(&map).unwrap();
    wide.insert(1, Wide::default()).unwrap();
    bytes.insert(1, [0; size_of::<Wide>()]).unwrap();
    let (proved, plain) = (
        least(|| assert!(wide.contains_key(1).unwrap())),
        least(|| assert!(bytes.contains_key(1).unwrap())),
    );
    println!("a lookup: {proved:?}, of bytes {plain:?}");
    assert!(proved < plain * 2 + Duration::from_micros(5), "{proved:?} and {plain:?}");
}
