//! `derive("*", "serde::Serialize")`: what a program wrote, as JSON and back.

#![forbid(unsafe_code)]

use bpf_atlas::PerCpu;
use bpf_atlas_build_e2e::told::{self, Packed, Told, Way};
use serde_json::{Value, json};

#[test]
fn what_a_program_wrote_is_told_in_json_and_read_back() {
    let mut loaded = told::open().unwrap().load().unwrap();
    let ran = loaded.progs().fill().libbpf(|fill| fill.test_run(Default::default()));
    assert_eq!(ran.unwrap().return_value, 0);

    let value = loaded.maps.all.lookup(0).unwrap();
    let json: Value = serde_json::to_value(value).unwrap();
    for (field, wanted) in [
        ("comm", json!("café")),
        ("raw", json!([97, 255, 0, 98])),
        ("on", json!(true)),
        ("port", json!(443)),
        ("seen", json!([0, 0x7f00_0001])),
        ("cookie", json!(1_u64 << 40)),
        ("way", json!(2)),
        ("slots", json!([vec![0; 36], (0..36).collect::<Vec<_>>()])),
        ("last", json!(9)),
    ] {
        assert_eq!(json[field], wanted, "{field}");
    }
    let padding = json.as_object().unwrap().keys().any(|name| name.starts_with("_pad"));
    assert!(!padding, "padding is nothing to tell");
    let back: Told = serde_json::from_value(json).unwrap();
    assert_eq!(back, value);
    assert_eq!((back.low(), back.high(), back.way), (5, 0xabc, Way::WAY_OUT));
    assert_eq!((back.address.v4().get(), back.code()), (0x0a00_0001, 0x0102_0304));
    assert_eq!(back.large.bytes()[39], 39);
    loaded.maps.all.update(1, back).unwrap();
    assert_eq!(loaded.maps.all.lookup(1).unwrap(), value);

    let cpus = loaded.maps.packed_map.lookup(0).unwrap().unwrap();
    let text = serde_json::to_string(&cpus).unwrap();
    assert!(text.contains(r#""name":"ab","number":7"#), "{text}");
    let back: PerCpu<Packed> = serde_json::from_str(&text).unwrap();
    assert_eq!(back, cpus);
    assert_eq!(back.iter().filter(|one| one.long_one[32] == 32).count(), 1);
}

#[test]
fn text_that_does_not_fit_is_refused() {
    let mut json = serde_json::to_value(Told::default()).unwrap();
    json["comm"] = json!("more than sixteen bytes");
    let error = serde_json::from_value::<Told>(json).unwrap_err().to_string();
    assert!(error.contains("16 bytes at most"), "{error}");
}
