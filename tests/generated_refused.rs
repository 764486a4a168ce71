//! What bpf-atlas-build refuses: each an error that names the file, and the map
//! or field; and C that has changed under Rust code, which then does not build.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use bpf_atlas_build::{Builder, Error};

mod support;
use support::Folder;

const HEAD: &str = "#include \"vmlinux.h\"\n#include \"bpf_atlas.h\"\n\
                    char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";

/// Something of each kind that BTF has.
const FLOWS: &str = "enum proto { PROTO_TCP = 6 };\n\
    typedef __u32 session_t;\n\
    struct peer { session_t session; __u16 ports[4]; };\n\
    struct flow { __u64 bytes; struct peer peer; enum proto proto; };\n";

/// A map in C.
fn map(name: &str, key: &str, value: &str) -> String {
    format!(
        "struct {{ __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); \
         __type(key, {key}); __type(value, {value}); }} {name} SEC(\".maps\");\n"
    )
}

/// Generates a module for `HEAD` and `text`, called `refused.bpf.c`.
fn build(folder: &Folder, text: &str) -> Result<PathBuf, Error> {
    let source = folder.file("refused.bpf.c", HEAD.to_owned() + text);
    Builder::new(source).out_dir(folder.path()).skeleton(false).build()?;
    Ok(folder.path().join("refused.rs"))
}

/// The error for `text`, which names the source and all of `names`.
fn refused(text: &str, names: &[&str]) -> Error {
    let folder = Folder::new();
    let error = build(&folder, text).expect_err(text);
    let said = error.to_string();
    for name in ["refused.bpf.c"].iter().chain(names) {
        assert!(said.contains(name), "no `{name}` in: {said}");
    }
    error
}

#[test]
fn c_that_does_not_compile_is_told_by_clang_with_file_and_line() {
    let text = "int broken(void *ctx)\n{\n\treturn nothing;\n}\n";
    let error = refused(text, &["refused.bpf.c:6:", "undeclared identifier 'nothing'"]);
    assert!(matches!(error, Error::Compile { .. }), "{error:?}");

    let folder = Folder::new();
    folder.file("flow.h", "struct flow {\n\t__u46 bytes;\n};\n");
    let error = build(&folder, "#include \"flow.h\"\n").unwrap_err().to_string();
    assert!(error.contains("flow.h:2:") && error.contains("'__u46'"), "{error}");
}

#[test]
fn a_source_or_compiler_that_is_not_there_is_named() {
    let folder = Folder::new();
    let error = Builder::new("no/such.bpf.c").out_dir(folder.path()).build().unwrap_err();
    assert!(error.to_string().contains("no/such.bpf.c"), "{error}");
    let error = Builder::object("no/such.bpf.o").out_dir(folder.path()).build().unwrap_err();
    assert!(error.to_string().contains("no/such.bpf.o"), "{error}");

    let source = folder.file("fine.bpf.c", HEAD);
    let error = Builder::new(source).clang("no-such-clang").out_dir(folder.path()).build();
    let error = error.unwrap_err();
    assert!(matches!(error, Error::NoClang { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("fine.bpf.c") && said.contains("no-such-clang"), "{said}");
}

#[test]
fn pointers_are_refused_by_map_and_field() {
    let decl = "struct entry { __u32 pid; struct { char *name; } who; };\n";
    let error = refused(
        &(decl.to_owned() + &map("entries", "__u32", "struct entry")),
        &["map `entries`", "`who.name`", "char *", "allow_pointers(\"entries\")"],
    );
    assert!(matches!(&error, Error::Pointer { map, .. } if map == "entries"), "{error:?}");
    refused(&map("by_address", "void *", "__u64"), &["map `by_address`", "the key", "void *"]);
    refused(&map("handlers", "__u32", "struct { void (*f)(int); }"), &["map `handlers`", "`f`"]);
    let ring = "struct event { __u64 ip; const struct task_struct *task; };\n\
                ATLAS_RING(events, 4096, struct event);\n";
    refused(ring, &["map `events`", "`task`", "event"]);
    let union = "struct either { union { __u64 id; void *sk; }; };\n";
    refused(
        &(union.to_owned() + &map("eithers", "__u32", "struct either")),
        &["map `eithers`", "`sk`"],
    );

    // Accepted where the user says so, as a number.
    let folder = Folder::new();
    let source =
        folder.file("asked.bpf.c", HEAD.to_owned() + decl + &map("e", "__u32", "struct entry"));
    let mut builder = Builder::new(source);
    builder.out_dir(folder.path()).skeleton(false).allow_pointers("e").build().unwrap();
    let made = fs::read_to_string(folder.path().join("asked.rs")).unwrap();
    assert!(made.contains("pub name: u64"), "{made}");
}

#[test]
fn names_that_become_one_in_rust_are_both_named() {
    let maps = map("self", "__u32", "__u64") + &map("self_", "__u32", "__u64");
    let error = refused(&maps, &["map `self`", "map `self_`", "would both be `self_`"]);
    assert!(matches!(error, Error::Collision { .. }), "{error:?}");

    let types = "struct flow_key { __u32 a; };\nstruct FlowKey { __u32 b; };\n";
    let maps = map("one", "__u32", "struct flow_key") + &map("two", "__u32", "struct FlowKey");
    refused(
        &(types.to_owned() + &maps),
        &["`struct flow_key`", "`struct FlowKey`", "`FlowKey`", "rename"],
    );
    // And with the remedy that the error gives.
    let folder = Folder::new();
    let source = folder.file("renamed.bpf.c", HEAD.to_owned() + types + &maps);
    let mut builder = Builder::new(source);
    builder.rename("struct FlowKey", "OtherKey").out_dir(folder.path()).build().unwrap();

    let fields = "struct pair { __u32 self; __u32 self_; };\n";
    refused(
        &(fields.to_owned() + &map("pairs", "__u32", "struct pair")),
        &["field `self`", "field `self_`", "struct pair"],
    );
}

#[test]
fn what_no_map_can_hold_is_refused_by_name() {
    let empty = "struct nothing {};\n";
    refused(
        &(empty.to_owned() + &map("nothings", "__u32", "struct nothing")),
        &["map `nothings`", "no bytes"],
    );
    let folder = Folder::new();
    let source = folder.file("options.bpf.c", HEAD.to_owned() + &map("a", "__u32", "__u64"));
    let mut builder = Builder::new(source);
    let error = builder.out_dir(folder.path()).derive("flwo", "Eq").build().unwrap_err();
    assert!(matches!(&error, Error::Option { name, .. } if name == "flwo"), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("options.bpf.c") && said.contains("`flwo`"), "{said}");
}

/// An object of `FLOWS`, as bytes.
fn object(folder: &Folder) -> Vec<u8> {
    let source = folder
        .file("flows.bpf.c", HEAD.to_owned() + FLOWS + &map("flows", "session_t", "struct flow"));
    Builder::new(source).out_dir(folder.path()).skeleton(false).build().unwrap();
    fs::read(folder.path().join("flows.bpf.o")).unwrap()
}

/// What the generator says of these bytes.
fn of_object(folder: &Path, bytes: &[u8]) -> Result<(), Error> {
    let path = folder.join("given.bpf.o");
    fs::write(&path, bytes).unwrap();
    let out = folder.join("out");
    Builder::object(path).out_dir(out).skeleton(false).build()
}

/// Where the `.BTF` of an object begins: that of `.BTF.ext` has a longer header.
fn btf(object: &[u8]) -> usize {
    let magic = [0xeb9f_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat();
    let header = [magic, 24_u32.to_ne_bytes().to_vec()].concat();
    let found = object.windows(8).position(|bytes| bytes == header);
    found.expect("an object with BTF")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

/// The types of the object's BTF, from number 1: kind, name and place.
fn types(object: &[u8]) -> Vec<(u32, String, usize)> {
    let start = btf(object);
    let body = start + 24;
    let (types, len) = (body + u32_at(object, start + 8) as usize, u32_at(object, start + 12));
    let strings = body + u32_at(object, start + 16) as usize;
    let (mut at, mut all) = (types, Vec::new());
    while at < types + len as usize {
        let info = u32_at(object, at + 4);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let name = &object[strings + u32_at(object, at) as usize..];
        let name = name.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte));
        all.push((kind, name.collect(), at));
        at += 12
            + match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * count,
                6 | 13 => 8 * count,
                _ => 0,
            };
    }
    all
}

#[test]
fn objects_that_are_none_or_have_no_btf_are_refused_by_name() {
    let folder = Folder::new();
    let good = object(&folder);
    of_object(folder.path(), &good).unwrap();

    let refused = |bytes: &[u8], what: &str| {
        let error = of_object(folder.path(), bytes).expect_err(what);
        let said = error.to_string();
        assert!(said.contains("given.bpf.o") && said.contains(what), "{what}: {said}");
    };
    refused(b"", "ELF");
    refused(b"int main(void) { return 0; }", "ELF");
    refused(&fs::read("/proc/self/exe").unwrap(), "BPF");
    // As an object that was compiled without -g: the section has another name.
    let mut bare = good.clone();
    let name = bare.windows(6).position(|bytes| bytes == b"\0.BTF\0").unwrap();
    bare[name + 1..name + 5].copy_from_slice(b".ATF");
    refused(&bare, "no BTF");
    // Wherever it ends too early.
    for len in (0..good.len()).step_by(good.len() / 100) {
        refused(&good[..len], "");
    }
}

#[test]
fn btf_that_cannot_be_is_refused_by_place() {
    let folder = Folder::new();
    let good = object(&folder);
    let types = types(&good);
    let find = |kind, name| {
        let found = types.iter().position(|(k, n, _)| *k == kind && n == name).unwrap();
        (found as u32 + 1, types[found].2)
    };
    let (flow, flow_at) = find(4, "flow");
    let (_, peer_at) = find(4, "peer");
    let (session, session_at) = find(8, "session_t");
    let (_, int_at) = find(1, "unsigned short");
    let member = |at: usize, n: usize| at + 12 + 12 * n;
    let array = u32_at(&good, member(peer_at, 1) + 4);
    let array_at = types[array as usize - 1].2;

    let patched = |what: &str, at: usize, value: u32, names: &[&str]| {
        let mut bytes = good.clone();
        put(&mut bytes, at, value);
        let said = of_object(folder.path(), &bytes).expect_err(what).to_string();
        for name in ["given.bpf.o"].iter().chain(names) {
            assert!(said.contains(name), "{what}: no `{name}` in: {said}");
        }
        println!("{what}: {said}");
    };
    patched("a typedef of itself", session_at + 8, session, &[]);
    patched("a struct in itself", member(flow_at, 1) + 4, flow, &[]);
    patched("two structs in each other", member(peer_at, 0) + 4, flow, &[]);
    patched("an array of itself", array_at + 12, array, &[]);
    patched("an array without end", array_at + 20, u32::MAX, &[]);
    patched("a struct of 4 GB", flow_at + 8, u32::MAX, &[]);
    patched("a struct too small", flow_at + 8, 8, &[]);
    patched("an integer of 3 bytes", int_at + 8, 3, &[]);
    patched("a type that is not there", member(flow_at, 0) + 4, 1 << 24, &[]);
    patched("a name that is not there", flow_at, 1 << 30, &[]);
    patched("members over one another", member(flow_at, 1) + 8, 0, &["peer"]);
}
