//! What cannot become Rust is refused by name.

#![forbid(unsafe_code)]

mod support;

use std::fs;

use bpf_atlas_build::{Builder, Error};
use support::{Dir, map, refused};

#[test]
fn a_source_that_does_not_compile_is_told_in_clangs_words() {
    let (error, said) = refused("compile", "int a;\nint broken(void) { return nothing; }");
    assert!(matches!(error, Error::Compile { .. }), "{said}");
    assert!(said.contains("x.bpf.c:2:"), "{said}");
    assert!(said.contains("use of undeclared identifier 'nothing'"), "{said}");
    assert!(!said.contains("generated") && !said.contains("-target"), "no noise: {said}");
    assert!(said.lines().count() <= 2, "{said}");
}

#[test]
fn an_error_in_a_header_is_told_with_its_place() {
    let dir = Dir::new("header");
    fs::write(dir.0.join("mine.h"), "\n\nstruct flow { u3 packets; };\n").unwrap();
    let error = dir.builder("#include \"mine.h\"").build().unwrap_err().to_string();
    assert!(error.contains("mine.h:3:15: error: unknown type name 'u3'"), "{error}");
}

#[test]
fn a_compiler_that_is_not_there_is_named() {
    let dir = Dir::new("clang");
    let error = dir.builder("").clang("/nowhere/clang").build().unwrap_err();
    assert!(matches!(error, Error::NoClang { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/clang"), "{error}");
}

#[test]
fn pointers_are_refused_with_map_and_field() {
    let peer = "struct sock; struct peer { int port; struct sock *sk; };\n";
    let flow = "struct flow { int a; struct peer peers[2]; };\n";
    let (error, said) =
        refused("pointer", &format!("{peer}{flow}{}", map("flows", "int", "struct flow")));
    let Error::Pointer { map: name, place, c_type, .. } = error else { panic!("{said}") };
    assert_eq!((name.as_str(), c_type.as_str()), ("flows", "struct sock *"));
    assert_eq!(place, "field `peers[].sk` of the value");
    assert!(said.contains("allow_pointers(\"flows\")"), "{said}");

    let (_, said) =
        refused("pointer_key", &format!("{peer}{}", map("starts", "struct sock *", "int")));
    assert!(said.contains("map `starts`: the key is a pointer (`struct sock *`)"), "{said}");

    let kptr = "struct task_struct; struct held { struct task_struct \
                __attribute__((btf_type_tag(\"kptr\"))) *task; };\n";
    let (_, said) = refused("kptr", &format!("{kptr}{}", map("held", "int", "struct held")));
    assert!(said.contains("field `task` of the value is a pointer"), "{said}");

    let event = "struct event { void *address; };\nATLAS_RING(events, 4096, struct event);";
    let (_, said) = refused("pointer_event", event);
    assert!(said.contains("map `events`: field `address` of the event"), "{said}");
}

#[test]
fn pointers_are_taken_as_numbers_on_request() {
    let dir = Dir::new("addresses");
    let text = format!("struct sock;\n{}", map("starts", "struct sock *", "int"));
    dir.builder(&text).allow_pointers("starts").build().unwrap();
    assert!(dir.built().contains("::bpf_atlas::Hash<u64, i32>"), "{}", dir.built());
}

#[test]
fn names_that_become_one_are_refused_with_both() {
    let text = format!("{}{}", map("self", "int", "int"), map("self_", "int", "int"));
    let (error, said) = refused("maps", &text);
    assert!(matches!(error, Error::Collision { .. }), "{said}");
    assert!(said.contains("map `self`") && said.contains("map `self_`"), "{said}");

    let structs = "struct flow_key { int a; }; struct flowKey { long b; };\n";
    let (_, said) =
        refused("types", &format!("{structs}{}", map("m", "struct flow_key", "struct flowKey")));
    assert!(said.contains("`struct flow_key` and `struct flowKey`"), "{said}");
    assert!(said.contains("`FlowKey`") && said.contains("rename"), "{said}");

    let fields = "struct both { int self; int self_; };\n";
    let (_, said) = refused("fields", &format!("{fields}{}", map("m", "int", "struct both")));
    assert!(said.contains("field `self` and field `self_` of `struct both`"), "{said}");
}

#[test]
fn a_new_name_tells_types_apart() {
    let dir = Dir::new("rename");
    let structs = "struct flow_key { int a; }; struct flowKey { long b; };\n";
    let text = format!("{structs}{}", map("m", "struct flow_key", "struct flowKey"));
    dir.builder(&text).rename("flowKey", "OtherKey").build().unwrap();
    assert!(dir.built().contains("Hash<types::FlowKey, types::OtherKey>"));
}

#[test]
fn an_option_that_finds_nothing_is_an_error() {
    let dir = Dir::new("options");
    let text = map("m", "int", "long");
    let option = |set: fn(&mut Builder) -> &mut Builder| {
        let mut builder = dir.builder(&text);
        let error = set(&mut builder).build().unwrap_err();
        assert!(matches!(error, Error::Option { .. }), "{error}");
        error.to_string()
    };
    assert!(option(|b| b.derive("flow", "x::Y")).contains("derive names `flow`"));
    assert!(option(|b| b.rename("flow", "Flow")).contains("rename names `flow`"));
    assert!(option(|b| b.own_type("flow", "crate::F")).contains("own_type names `flow`"));
    assert!(option(|b| b.attribute("flow.a", "x")).contains("attribute names `flow.a`"));
    assert!(option(|b| b.allow_pointers("n")).contains("allow_pointers names `n`"));
    assert!(option(|b| b.ring_event("n", "e")).contains("ring_event names `n`"));
    assert!(option(|b| b.export("enum flags")).contains("export names `enum flags`"));
}

#[test]
fn types_without_a_counterpart_are_refused_where_they_are() {
    let declared = "struct hidden;\n";
    let (_, said) = refused(
        "forward",
        &format!(
            "{declared}struct {{ __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); \
         struct hidden *value; __uint(max_entries, 4); }} m SEC(\".maps\");"
        ),
    );
    assert!(said.contains("map `m`"), "{said}");
    let (_, said) = refused("empty", &format!("struct s {{ }};\n{}", map("m", "int", "struct s")));
    assert!(said.contains("the value of map `m`") && said.contains("no bytes"), "{said}");
}

/// `enum e;` is in the object's types, with no size, and harms nothing there.
#[test]
fn an_enum_that_is_declared_only_is_refused_where_it_is_asked_for() {
    let dir = Dir::new("forward_enum");
    let text = format!(
        "enum hidden; struct flow {{ enum hidden *way; }};\n{}",
        map("m", "int", "struct flow")
    );
    dir.builder(&text).allow_pointers("m").build().unwrap();
    assert!(dir.built().contains("pub way: u64"), "{}", dir.built());
    let error = dir.builder(&text).allow_pointers("m").export("enum hidden").build().unwrap_err();
    let said = error.to_string();
    assert!(said.contains("`enum hidden` is declared, but not what is in it"), "{said}");
}

#[test]
fn events_that_are_aligned_to_more_than_a_record_are_refused() {
    let ring = "struct event { __int128 x; };\nstruct { __uint(type, BPF_MAP_TYPE_RINGBUF); \
                __uint(max_entries, 4096); __type(value, struct event); } r SEC(\".maps\");";
    let (_, said) = refused("align", ring);
    assert!(said.contains("the event of ring `r`") && said.contains("8 bytes"), "{said}");
}

#[test]
fn maps_that_libbpf_refuses_are_refused_while_building() {
    let (error, said) = refused("legacy", "int x SEC(\"maps\");");
    assert!(matches!(error, Error::Object { .. }), "{said}");
    assert!(said.contains("libbpf"), "{said}");
}

#[test]
fn a_skeleton_that_would_not_compile_is_left_out_with_a_reason() {
    let dir = Dir::new("skeleton");
    for (text, why) in [
        (map("type", "int", "int"), "a map named `type`"),
        (
            format!("struct data {{ int a; }}; int x = 4;\n{}", map("m", "int", "struct data")),
            "a type named `data`",
        ),
        (
            format!("struct maps {{ int a; }};\n{}", map("m", "int", "struct maps")),
            "a type named `maps`",
        ),
        ("SEC(\"syscall\") int fn(void *ctx) { return 0; }".into(), "a program named `fn`"),
    ] {
        dir.builder(&text).build().unwrap();
        let built = dir.built();
        assert!(built.contains(why) && !built.contains("mod skel"), "{why}");
    }
    dir.builder(&map("m", "int", "int")).build().unwrap();
    assert!(dir.built().contains("pub mod skel"));
    dir.builder(&map("m", "int", "int")).skeleton(false).build().unwrap();
    assert!(!dir.built().contains("pub mod skel"));
}

#[test]
fn a_source_of_any_name_and_headers_with_spaces() {
    let dir = Dir::new("names");
    fs::create_dir(dir.0.join("my headers")).unwrap();
    fs::write(dir.0.join("my headers/own.h"), "struct own { int a; };\n").unwrap();
    let text = format!("#include \"own.h\"\n{}", map("m", "int", "struct own"));
    let source = dir.source("my-prog.c", &text);
    Builder::new(&source)
        .include(dir.0.join("my headers"))
        .out_dir(dir.0.join("out"))
        .build()
        .unwrap();
    let built = fs::read_to_string(dir.0.join("out/my_prog.rs")).unwrap();
    assert!(built.contains("Hash<i32, types::Own>"), "{built}");
    let listed = fs::read_to_string(dir.0.join("out/my_prog.bpf.d")).unwrap();
    assert!(listed.contains("my\\ headers/own.h"), "{listed}");
}

#[test]
fn files_are_linked_into_one_object() {
    let dir = Dir::new("link");
    let header = "struct flow { long a; };\n";
    let text = format!(
        "{header}extern long shared;\nlong twice(void);\n{}\
         SEC(\"syscall\") int run(void *ctx) {{ return twice() + shared; }}",
        map("flows", "int", "struct flow")
    );
    let other = dir.0.join("other.bpf.c");
    let more = format!(
        "#include \"vmlinux.h\"\n#include \"bpf_atlas.h\"\n{header}long shared = 5;\n{}\
         __attribute__((noinline)) long twice(void) {{ return 2 * shared; }}",
        map("others", "int", "struct flow")
    );
    fs::write(&other, more).unwrap();
    dir.builder(&text).link(&other).build().unwrap();
    let built = dir.built();
    assert!(built.contains("pub flows:") && built.contains("pub others:"), "{built}");
    assert!(built.contains("pub shared: i64"), "{built}");
    assert_eq!(built.matches("pub struct Flow ").count(), 1);

    let missing = dir.builder(&text).build().unwrap_err().to_string();
    assert!(missing.contains("libbpf") && missing.contains("twice"), "{missing}");
}

#[test]
fn names_with_leading_underscores_stay_apart() {
    let dir = Dir::new("underscores");
    let structs = "struct __flow { int a; }; struct flow { long b; };\n\
                   typedef struct __peer { int c; } peer;\n";
    let text =
        format!("{structs}{}{}", map("m", "struct __flow", "struct flow"), map("n", "int", "peer"));
    dir.builder(&text).build().unwrap();
    assert!(dir.built().contains("Hash<types::_Flow, types::Flow>"), "{}", dir.built());
    assert!(dir.built().contains("Hash<i32, types::Peer>"), "{}", dir.built());
}

#[test]
fn values_of_enums_are_exact_with_every_clang() {
    let dir = Dir::new("enums");
    let enums = "enum big { BIG = 0x123456789a, NEXT, HUGE = 0x8000000000000000 };\n\
                 enum minus { MINUS = -2, LEAST = -0x7fffffff - 1 };\n\
                 enum top { TOP = 0xfffffffe };\n\
                 enum __attribute__((packed)) tiny { TINY = 200 };\n\
                 enum __attribute__((packed)) small { SMALL = -3 };\n\
                 struct all { enum big b; enum minus m; enum top t; enum tiny y; enum small s; };\n";
    let text = format!("{enums}{}", map("m", "int", "struct all"));
    dir.builder(&text).build().unwrap();
    let built = dir.built();
    for line in [
        "BIG: Self = Self(78187493530)",
        "NEXT: Self = Self(78187493531)",
        "HUGE: Self = Self(9223372036854775808)",
        "MINUS: Self = Self(-2)",
        "LEAST: Self = Self(-2147483648)",
        "TOP: Self = Self(4294967294)",
        "TINY: Self = Self(200)",
        "SMALL: Self = Self(-3)",
    ] {
        assert!(built.contains(line), "{line}");
    }
    for (name, int) in
        [("Big", "u64"), ("Minus", "i32"), ("Top", "u32"), ("Tiny", "u8"), ("Small", "i8")]
    {
        assert!(
            built.contains(&format!("impl ::core::convert::From<{int}> for {name} ")),
            "{name}"
        );
    }
}

#[test]
fn documentation_quotes_what_c_declares() {
    let dir = Dir::new("quotes");
    let text = format!(
        "struct sock;\ntypedef int (*callback)(int);\nstruct flow {{ int a[2][3]; union {{ __u8 b; \
         __be16 c; }}; struct {{ enum {{ ONE = 1 }} d : 2; }} e; struct sock *f; callback g; }};\n{}",
        map("m", "int", "struct flow")
    );
    dir.builder(&text).allow_pointers("m").doc("flow.a", "Six numbers.").build().unwrap();
    let built = dir.built();
    for line in [
        "/// Six numbers.",
        "/// C `int a[2][3]`, at byte 0.",
        "///     int a[2][3];",
        "///     union {",
        "///         __be16 c;",
        "///         } d : 2;",
        "///     struct sock *f;",
        "///     callback g;",
        "pub f: u64,",
    ] {
        assert!(built.contains(line), "{line}\n{built}");
    }
}
