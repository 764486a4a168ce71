//! A header that changes under Rust code: the crate does not build any more,
//! and the message has the names of both sides.
#![forbid(unsafe_code)]

#[path = "support/outside.rs"]
mod outside;
use outside::Crate;

const HEADER: &str = "struct flow {\n\t__u64 bytes;\n\t__u32 packets;\n\t__u32 errors;\n};\n";

const SOURCE: &str = r#"#include "vmlinux.h"
#include "bpf_atlas.h"
#include "flow.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");
"#;

/// Uses the generated type.
const GENERATED: &str = r#"bpf_atlas::include_bpf!(flows);

fn bytes(flow: &flows::Flow) -> u64 {
    flow.bytes
}

fn main() {
    println!("{}", bytes(&flows::Flow::default()));
}
"#;

/// Has a type of its own in the place of the generated one.
const OWN: &str = r#"bpf_atlas::include_bpf!(flows);

#[derive(Clone, Copy, Debug, Default, PartialEq, bpf_atlas::Pod)]
#[repr(C)]
pub struct Traffic {
    pub bytes: u64,
    pub packets: u32,
    pub errors: u32,
}

fn main() {
    println!("{:?} {}", Traffic::default(), size_of::<flows::Maps>() > 0);
}
"#;

/// The same crate as that of the README's test, for what was built of it.
fn sample(main: &str, option: &str) -> Crate {
    let made = Crate::agent();
    made.write(
        "build.rs",
        &format!(
            "fn main() {{\n    bpf_atlas_build::Builder::new(\"src/bpf/flows.bpf.c\"){option}\
             .build_or_exit();\n}}\n"
        ),
    );
    made.write("src/main.rs", main);
    made.write("src/bpf/flows.bpf.c", SOURCE);
    made.write("src/bpf/flow.h", HEADER);
    made
}

/// What cargo says of the crate, and whether it builds.
fn build(made: &Crate) -> (bool, String) {
    let output = made.cargo("build").output().expect("run cargo");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Changes nothing but the header, and looks for `names` in what cargo says.
fn drifts(made: &Crate, from: &str, to: &str, names: &[&str]) {
    assert!(HEADER.contains(from));
    made.write("src/bpf/flow.h", &HEADER.replace(from, to));
    let (built, said) = build(made);
    assert!(!built, "`{from}` became `{to}`, and the crate still builds");
    for name in names {
        assert!(said.contains(name), "`{from}` became `{to}`: no `{name}` in\n{said}");
    }
}

#[test]
fn a_drifted_header_fails_the_build_by_name() {
    let made = sample(GENERATED, "");
    let (built, said) = build(&made);
    assert!(built, "{said}");
    drifts(&made, "__u64 bytes;", "__u32 bytes;", &["src/main.rs", "flow.bytes", "`u64`", "`u32`"]);
    drifts(
        &made,
        "bytes;",
        "octets;",
        &["src/main.rs", "no field `bytes`", "types::Flow`", "octets"],
    );
    drifts(&made, "bytes;", "*bytes;", &["flows.bpf.c", "map `flows`", "`bytes`", "pointer"]);
    drifts(&made, "__u64 bytes;", "__u46 bytes;", &["flow.h:2:", "__u46"]);

    let made = sample(OWN, ".own_type(\"struct flow\", \"crate::Traffic\")");
    let (built, said) = build(&made);
    assert!(built, "{said}");
    let both = ["struct flow", "crate::Traffic"];
    let with = |names: &[&'static str]| [&both[..], names].concat();
    drifts(&made, "__u64 bytes;", "__u32 bytes;", &with(&["`__u32 bytes`", "at byte 0"]));
    drifts(&made, "__u32 packets;", "__s32 packets;", &with(&["`__s32 packets`", "at byte 8"]));
    drifts(&made, "errors;", "drops;", &with(&["`__u32 drops`", "at byte 12"]));
    drifts(
        &made,
        "__u32 packets;\n\t__u32 errors;",
        "__u32 errors;\n\t__u32 packets;",
        &with(&["`__u32 errors`", "at byte 8"]),
    );
    drifts(
        &made,
        "errors;",
        "errors;\n\t__u64 last_ns;",
        &with(&["`__u64 last_ns`", "at byte 16"]),
    );
    // The size stays, since C has padding where the field was.
    drifts(&made, "\n\t__u32 errors;", "", &with(&["has a field that C `struct flow` has not"]));
    made.write("src/bpf/flow.h", HEADER);
    let (built, said) = build(&made);
    assert!(built, "as it was before: {said}");
}
