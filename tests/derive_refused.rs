//! What the derives refuse, in the words and at the place a user sees: one
//! small crate, one refused shape in each of its binaries.
#![forbid(unsafe_code)]

#[path = "support/outside.rs"]
mod outside;
use outside::Crate;

/// Stands before the token that the compiler is to point at.
const HERE: &str = "/*here*/";

/// Name of the binary, item, sentence.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "enumeration",
        "#[derive(Clone, Copy, Pod)] #[repr(u8)]\npub /*here*/enum Kind { A, B }",
        "write an open newtype: `#[repr(transparent)] struct Kind(u8)` with constants",
    ),
    (
        "union",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub /*here*/union Any { a: u32, b: [u8; 4] }",
        "`Pod` is not for unions: bytes that the written member does not cover are undefined; \
         write the bytes, `[u8; N]`, with accessors for each reading",
    ),
    (
        "no_repr",
        "#[derive(Clone, Copy, Pod)]\npub struct /*here*/Stat { a: u32, b: u32 }",
        "`Pod` needs a fixed layout, and Rust may reorder the fields of `Stat`; write \
         `#[repr(C)]` above it, or `#[repr(transparent)]` around one field",
    ),
    (
        "type_parameter",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat/*here*/<T> { a: T }",
        "`Pod` is not for generic structs",
    ),
    (
        "const_parameter",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\n\
         pub struct Stat/*here*/<const N: usize> { a: [u8; N] }",
        "`Pod` is not for generic structs",
    ),
    (
        "lifetime",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat/*here*/<'a> { a: &'a u8 }",
        "`Pod` is not for generic structs",
    ),
    (
        "no_field",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct /*here*/Stat;",
        "`Pod` is not for empty structs: a key or a value has at least one byte; add a field",
    ),
    (
        "no_byte",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct /*here*/Stat { a: [u64; 0] }",
        "`Stat` has no byte: a key or a value has at least one; add a field",
    ),
    (
        "bool_field",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat { a: u8, b: /*here*/bool }",
        "a byte from the kernel that is not 0 or 1 would be undefined behaviour in a `bool`; \
         write `u8` and compare with 0",
    ),
    (
        "bool_array",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat(u8, [[/*here*/bool; 2]; 2]);",
        "would be undefined behaviour in a `bool`; write `u8` and compare with 0",
    ),
    (
        "char_field",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat { a: /*here*/char }",
        "would be undefined behaviour in a `char`; write `u32`, or `u8` for a C `char`",
    ),
    (
        "reference",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat { a: /*here*/&'static u8 }",
        "a reference is an address of this process and means nothing to the kernel",
    ),
    (
        "pointer",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat { a: /*here*/*const u8 }",
        "a raw pointer is an address of this process and means nothing to the kernel; write a \
         kernel address as `u64`",
    ),
    (
        "option",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat { a: /*here*/Option<u32> }",
        "how an `Option` says `None` is the compiler's own affair; write `u32`",
    ),
    (
        "string",
        "#[derive(Pod)] #[repr(C)]\npub struct Stat { a: /*here*/String }",
        "`String` has no fixed size; write the bytes, `[u8; N]`, as the BPF side does",
    ),
    (
        "vec",
        "#[derive(Pod)] #[repr(C)]\npub struct Stat { a: /*here*/Vec<u64> }",
        "a `Vec` is an address of this process and means nothing to the kernel; write an array, \
         `[u64; N]`",
    ),
    (
        "boxed",
        "#[derive(Pod)] #[repr(C)]\npub struct Stat { a: /*here*/Box<u64> }",
        "a `Box` is an address of this process and means nothing to the kernel; write the value \
         itself, `u64`",
    ),
    (
        "usize_field",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat { a: /*here*/usize }",
        "the width of `usize` is this machine's, that of the BPF side is fixed; write `u64`",
    ),
    (
        "bool_by_another_name",
        "type Flag = bool;\n#[derive(Clone, Copy, Pod)] #[repr(C)]\n\
         pub struct Stat { a: u8, b: /*here*/Flag }",
        "`bool` is not plain old data that can be shared with the kernel",
    ),
    (
        "field_not_pod",
        "#[derive(Clone, Copy)] pub struct Other(u8);\n#[derive(Clone, Copy, Pod)] #[repr(C)]\n\
         pub struct Stat { a: u8, b: /*here*/[Other; 2] }",
        "`Other` is not plain old data that can be shared with the kernel",
    ),
    (
        "not_copy",
        "#[derive(Pod)] #[repr(C)]\npub struct /*here*/Stat { a: u8 }",
        "the trait bound `Stat: Copy` is not satisfied",
    ),
    (
        "gap",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\n\
         pub struct Stat {\n    packets: u32,\n    /*here*/bytes: u64,\n}",
        "padding in `Stat`: 4 bytes before field `bytes`; add `_pad: [u8; 4]` there so that no \
         byte is undefined",
    ),
    (
        "gap_in_tuple",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\npub struct Stat(u8, /*here*/u16);",
        "padding in `Stat`: 1 byte before field `1`; add a field `[u8; 1]` there so that no byte \
         is undefined",
    ),
    (
        "gap_in_packed",
        "#[derive(Clone, Copy, Pod)] #[repr(C, packed(4))]\n\
         pub struct Stat { a: u16, /*here*/b: u64 }",
        "padding in `Stat`: 2 bytes before field `b`; add `_pad: [u8; 2]` there so that no byte \
         is undefined",
    ),
    (
        "gap_at_the_end",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\n\
         pub struct /*here*/Stat { bytes: u64, _pad: u32, last: u8 }",
        "padding in `Stat`: 3 bytes at the end, after field `last`; add `_pad2: [u8; 3]` there so \
         that no byte is undefined",
    ),
    (
        "gap_by_alignment",
        "#[derive(Clone, Copy, Pod)] #[repr(C, align(64))]\npub struct /*here*/Line { a: u64 }",
        "padding in `Line`: 56 bytes at the end, after field `a`; add `_pad: [u8; 56]` there so \
         that no byte is undefined",
    ),
    (
        "transparent_of_two",
        "#[derive(Clone, Copy, Pod)] #[repr(transparent)]\npub struct /*here*/Stat(u8, ());",
        "`Pod` takes `#[repr(transparent)]` around exactly one field; write `#[repr(C)]`",
    ),
    (
        "unknown_word",
        "#[derive(Clone, Copy, Pod)] #[repr(C)]\n#[pod(/*here*/krate = \"x\")]\n\
         pub struct Stat(u8);",
        "`#[pod(crate = \"path::to::bpf_atlas\")]` and `#[pod(union)]` are all that `pod` takes",
    ),
    (
        "unknown_rule",
        "#[derive(Clone, Copy, Pod, bpf_atlas::Accumulate)] #[repr(C)]\n\
         pub struct Stat {\n    #[accumulate(/*here*/avg)]\n    a: u64,\n}",
        "unknown rule; write `sum`, `max`, `min` or `first`",
    ),
    (
        "rule_on_the_struct",
        "#[derive(Clone, Copy, Pod, bpf_atlas::Accumulate)] #[repr(C)]\n\
         /*here*/#[accumulate(max)]\npub struct Stat(u64);",
        "`#[accumulate(…)]` goes on a field",
    ),
    (
        "field_not_summed",
        "#[derive(Clone, Copy, Pod)] #[repr(C)] pub struct Id(u8);\n\
         #[derive(Clone, Copy, Pod, bpf_atlas::Accumulate)] #[repr(C)]\n\
         pub struct Stat(u8, /*here*/Id);",
        "`Id` cannot be summed",
    ),
];

/// Events with nothing wrong, for the enums below.
const EVENTS: &str = "#[derive(Clone, Copy, Pod)] #[repr(C)] pub struct One { kind: u32, a: u32 }\n\
                      #[derive(Clone, Copy, Pod)] #[repr(C)] pub struct Two { kind: u32, b: u32 }\n";
/// As above, of `#[derive(Events)]`, behind the types of `EVENTS`.
const EVENTS_REFUSED: &[(&str, &str, &str)] = &[
    (
        "events_without_tag_field",
        "#[derive(Clone, Copy, Pod)] #[repr(C)] pub struct Other { a: u32 }\n\
         #[derive(bpf_atlas::Events)]\npub enum Event { #[event(1)] One(/*here*/Other) }",
        "no field `kind` on type `Other`",
    ),
    (
        "events_tag_elsewhere",
        "#[derive(Clone, Copy, Pod)] #[repr(C)] pub struct Other { a: u32, kind: u32 }\n\
         #[derive(bpf_atlas::Events)]\npub enum Event {\n    #[event(1)]\n    One(One),\n    \
         #[event(2)]\n    Far(/*here*/Other),\n}",
        "`Far`: the tag `kind` is not where `One` has it; put it at the same offset of `One` and \
         `Other`, best at the start",
    ),
    (
        "events_tag_of_another_type",
        "#[derive(Clone, Copy, Pod)] #[repr(C)] pub struct Other { kind: u16, a: u16 }\n\
         #[derive(bpf_atlas::Events)]\npub enum Event { #[event(1)] One(One), #[event(2)] \
         Narrow(/*here*/Other) }",
        "the tag of this event is a `u16` and that of the enum's first event a `u32`",
    ),
    (
        "events_tag_too_wide",
        "#[derive(Clone, Copy, Pod)] #[repr(C)] pub struct Other { kind: [u8; 16] }\n\
         #[derive(bpf_atlas::Events)]\npub enum Event { #[event([0; 16])] One(/*here*/Other) }",
        "the tag of an event is an integer of 1, 2, 4 or 8 bytes",
    ),
    (
        "events_tag_value_of_another_type",
        "#[derive(bpf_atlas::Events)]\npub enum Event { #[event(/*here*/1_u64)] One(One) }",
        "expected `u32`, found `u64`",
    ),
    (
        "events_with_one_tag",
        "#[derive(bpf_atlas::Events)]\n\
         pub enum Event { #[event(3)] One(One), #[event(/*here*/1 + 2)] Again(Two) }",
        "`Again` has the tag of `One`: a reader could not tell them apart; give one of them another",
    ),
    (
        "events_not_pod",
        "#[derive(Clone, Copy)] #[repr(C)] pub struct Other { kind: u32 }\n\
         #[derive(bpf_atlas::Events)]\npub enum Event { #[event(1)] One(/*here*/Other) }",
        "`Other` is not plain old data that can be shared with the kernel",
    ),
    (
        "events_aligned_to_16",
        "#[derive(Clone, Copy, Pod)] #[repr(C, align(16))]\n\
         pub struct Other { kind: u32, rest: [u8; 12] }\n\
         #[derive(bpf_atlas::Events)]\npub enum Event { #[event(1)] One(/*here*/Other) }",
        "`One`: records of a ring are aligned to 8 bytes, and `Other` asks for more; write integers \
         of 64 bits at most and no `align(16)`",
    ),
    (
        "events_without_tag",
        "#[derive(bpf_atlas::Events)]\npub enum Event { /*here*/One(One) }",
        "write above it the tag that tells it from other events: `#[event(1)]`, or any constant of \
         the tag's type",
    ),
];

/// Everything that a strict crate forbids, and a type of each accepted shape.
const ACCEPTED: &str = r#"//! A crate that forbids unsafe code and allows no warning.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused_qualifications, unused_results, unreachable_pub)]
use bpf_atlas::{Accumulate, Event, Events, Pod};

#[derive(Clone, Copy, Pod, Accumulate)]
#[repr(C)]
struct Stat {
    packets: u64,
    #[deprecated]
    bytes: u64,
    #[accumulate(max)]
    worst: u32,
    _pad: [u8; 4],
}

#[derive(Clone, Copy, Pod, Accumulate)]
#[repr(C, packed)]
struct Tight(u8, u64);

#[derive(Clone, Copy, Pod, Accumulate)]
#[repr(transparent)]
struct Pid(#[accumulate(first)] u32);

#[derive(Clone, Copy, Pod)]
#[repr(C, align(64))]
struct Line([Stat; 2], [u8; 64 - 48]);

#[derive(Clone, Copy, Debug, Pod)]
#[repr(C)]
struct Opened {
    kind: u32,
    fd: i32,
}

#[derive(Clone, Copy, Pod)]
#[repr(C, packed)]
struct Closed {
    kind: u32,
    _odd: u8,
}

#[derive(Events)]
enum File {
    #[event(1)]
    Opened(Opened),
    #[deprecated]
    #[event(u32::MAX)]
    Closed(Closed),
}

/// The library says that every `Pod` type is an event; an enum of this crate is one beside that.
const fn is_event<E: Event>() {}
const _: () = (is_event::<File>(), is_event::<Opened>()).0;

const _: () = assert!(Stat::LAYOUT.size == 24 && Tight::LAYOUT.size == 9);
const _: () = assert!(Pid::LAYOUT.size == 4 && Line::LAYOUT.size == 64);

fn main() {}
"#;

#[test]
fn each_refused_shape_says_what_to_write_instead() {
    let library = env!("CARGO_MANIFEST_DIR");
    let refused = Crate::new(
        "derive-refused",
        &format!(
            "[dependencies]\nbpf-atlas = {{ path = {library:?}, default-features = false }}\n"
        ),
    );
    let binary = |name: &str, source: &str| refused.write(&format!("src/bin/{name}.rs"), source);
    let events = EVENTS_REFUSED.iter().map(|&(name, item, sentence)| {
        let item = format!("{EVENTS}{item}");
        (name, item, sentence)
    });
    let all: Vec<_> = REFUSED
        .iter()
        .map(|&(name, item, sentence)| (name, item.to_owned(), sentence))
        .chain(events)
        .collect();
    for (name, item, _) in &all {
        binary(name, &format!("use bpf_atlas::Pod;\n\n{item}\n\nfn main() {{}}\n"));
    }
    binary("accepted", ACCEPTED);

    let (success, output) = cargo_check(&refused, &["--bins", "--keep-going"]);
    assert!(!success, "no binary was refused:\n{output}");
    let errors = errors(&output);
    let mut failures = Vec::new();
    for (name, item, sentence) in &all {
        let place = place(name, item);
        let file = format!("src/bin/{name}.rs:");
        let said: Vec<_> = errors.iter().filter(|error| error.place.starts_with(&file)).collect();
        // A tag is looked at for its place and its type: what it lacks may be told twice.
        let most = if name.starts_with("events_") { 2 } else { 1 };
        let as_expected = |one: &&Error| one.place == place && one.text.contains(sentence);
        match said.len() {
            1.. if said.len() <= most && said.iter().all(as_expected) => {}
            _ => failures.push(format!("{name}: expected at {place}: {sentence}\n{said:#?}")),
        }
    }
    assert!(failures.is_empty(), "cargo said:\n{output}\n\n{}", failures.join("\n\n"));

    let (success, output) = cargo_check(&refused, &["--bin", "accepted"]);
    assert!(success, "the accepted types are refused:\n{output}");
}

/// Where the compiler is to point, as it writes it. The binary has two lines
/// before the item.
fn place(name: &str, item: &str) -> String {
    let (before, _) = item.split_once(HERE).expect("each item marks a place");
    let line = 3 + before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before[start..].len() + HERE.len() + 1;
    format!("src/bin/{name}.rs:{line}:{column}")
}

#[derive(Debug)]
struct Error {
    place: String,
    text: String,
}

/// The errors in what cargo wrote. A line that begins with `error` opens one,
/// and the first arrow in it says where.
fn errors(output: &str) -> Vec<Error> {
    let mut found: Vec<Error> = Vec::new();
    for line in output.lines() {
        if line.starts_with("error") || line.starts_with("warning") {
            found.push(Error { place: String::new(), text: String::new() });
        }
        let Some(error) = found.last_mut() else { continue };
        if let (true, Some((_, place))) = (error.place.is_empty(), line.split_once("--> ")) {
            error.place = place.to_owned();
        }
        error.text.push_str(line);
        error.text.push('\n');
    }
    found.retain(|error| error.text.starts_with("error"));
    found
}

/// Whether `cargo check` passed, and what it said.
fn cargo_check(made: &Crate, arguments: &[&str]) -> (bool, String) {
    let output = made.cargo("check").args(arguments).output().expect("run cargo");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}
