//! A `struct_ops` map, which the source declares as a variable.

#![forbid(unsafe_code)]

use bpf_atlas::MapKind;
use bpf_atlas_build_e2e::ops;

#[test]
fn struct_ops_have_a_handle_and_stay_attached_as_long_as_the_object() {
    const NAME: &str = "struct_ops_have_a_handle_and_stay_attached_as_long_as_the_object";
    let mut loaded = match ops::open().unwrap().load() {
        Ok(loaded) => loaded,
        Err(error) if error.to_string().contains("is not found in kernel BTF") => {
            println!("skipped: {NAME}: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(loaded.maps.calm.kind(), MapKind::StructOps);
    let known = || std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    loaded.object_mut().attach_struct_ops("calm").unwrap();
    let missing = loaded.object_mut().attach_struct_ops("wild").unwrap_err().to_string();
    assert!(missing.contains("map `wild`"), "{missing}");
    let handle = loaded.into_handle();
    assert!(known().unwrap().contains("atlas_calm"));
    drop(handle);
    assert!(!known().unwrap().contains("atlas_calm"), "dropping the handle detaches");
}
