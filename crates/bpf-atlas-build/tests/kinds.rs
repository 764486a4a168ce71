//! Every kind of map becomes a field: typed, or untyped with a reason.

#![forbid(unsafe_code)]

use std::fs;

use bpf_atlas_build::Builder;

/// Kinds that have a type of their own.
const TYPED: &[(u32, &str)] = &[
    (1, "Hash<[u8; 4], [u8; 8]>"),
    (2, "Array<[u8; 8]>"),
    (5, "PerCpuHash<[u8; 4], [u8; 8]>"),
    (6, "PerCpuArray<[u8; 8]>"),
    (9, "LruHash<[u8; 4], [u8; 8]>"),
    (10, "LruPerCpuHash<[u8; 4], [u8; 8]>"),
];
/// Linux 6.18 has these from 1 on.
const KNOWN: u32 = 34;
/// No kernel has it yet.
const UNKNOWN: u32 = 99;

/// What the module for `text` is.
fn built(name: &str, text: &str) -> String {
    let dir = std::env::temp_dir().join(format!("atlas_kinds_{name}_{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let source = dir.join("kinds.bpf.c");
    fs::write(&source, format!("#include \"vmlinux.h\"\n#include \"bpf_atlas.h\"\n{text}"))
        .unwrap();
    let result = Builder::new(&source).out_dir(&dir).skeleton(false).build();
    let made = fs::read_to_string(dir.join("kinds.rs")).unwrap_or_default();
    fs::remove_dir_all(dir).unwrap();
    result.unwrap_or_else(|error| panic!("{error}"));
    made
}

#[test]
fn every_kind_of_map_is_a_field_typed_or_with_a_reason() {
    let kinds = (1..=KNOWN).chain([UNKNOWN]);
    let map = |kind: u32| {
        format!(
            "struct {{ __uint(type, {kind}); __uint(key_size, 4); __uint(value_size, 8); \
             __uint(max_entries, 1); }} m_{kind} SEC(\".maps\");\n"
        )
    };
    let made = built("all", &kinds.clone().map(map).collect::<String>());
    for kind in kinds {
        let field = format!("pub m_{kind}: ::bpf_atlas::");
        let typed = TYPED.iter().find(|(typed, _)| *typed == kind);
        let ty = typed.map_or("RawMap", |(_, ty)| ty);
        assert!(made.contains(&format!("{field}{ty},")), "kind {kind}");
        let (before, _) = made.split_once(&field).unwrap();
        let doc = before.rsplit_once("/// C `m_").unwrap().1;
        assert_eq!(doc.contains("Untyped: "), typed.is_none(), "kind {kind}: {doc}");
        let named = doc.contains("a `BPF_MAP_TYPE_");
        assert_eq!(named, kind != UNKNOWN, "kind {kind}: {doc}");
    }
}

/// They are maps too, which libbpf makes of variables in other sections.
#[test]
fn struct_ops_are_fields_but_for_those_that_are_left_out_until_asked_for() {
    let made = built(
        "ops",
        "struct tcp_congestion_ops { __u32 (*ssthresh)(void *sk); char name[16]; };\n\
         SEC(\"struct_ops\") __u32 threshold(void *ctx) { return 2; }\n\
         SEC(\".struct_ops\") struct tcp_congestion_ops calm = { (void *)threshold, \"calm\" };\n\
         SEC(\".struct_ops.link\") struct tcp_congestion_ops wild = { (void *)threshold, \"wild\" };\n\
         SEC(\"?.struct_ops\") struct tcp_congestion_ops rare = { (void *)threshold, \"rare\" };\n\
         char LICENSE[] SEC(\"license\") = \"GPL\";\n",
    );
    for name in ["calm", "wild"] {
        assert!(made.contains(&format!("pub {name}: ::bpf_atlas::RawMap")), "{name}\n{made}");
    }
    assert!(made.contains("a `BPF_MAP_TYPE_STRUCT_OPS`") && !made.contains("pub rare:"), "{made}");
}
