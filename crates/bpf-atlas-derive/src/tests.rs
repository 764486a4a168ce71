//! The derives as functions from source to tokens or to a message. What the
//! compiler makes of the tokens is tested by the library.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Result};

use crate::{accumulate, pod};

mod events;
mod sums;

type Derive = fn(&DeriveInput) -> Result<TokenStream>;

fn expand(derive: Derive, source: &str) -> TokenStream {
    let input = syn::parse_str(source).expect("test source is an item");
    derive(&input).unwrap_or_else(|error| panic!("{source}\nis refused: {error}"))
}

/// The source text that each error points at, and what it says.
fn refused(derive: Derive, source: &str) -> Vec<(String, String)> {
    let input = syn::parse_str(source).expect("test source is an item");
    let errors = match derive(&input) {
        Ok(tokens) => panic!("{source}\nis accepted: {tokens}"),
        Err(errors) => errors,
    };
    errors
        .into_iter()
        .map(|error| (error.span().source_text().unwrap_or_default(), error.to_string()))
        .collect()
}

#[track_caller]
fn refused_once(derive: Derive, source: &str, culprit: &str, message: &str) {
    assert_eq!(refused(derive, source), [(culprit.to_owned(), message.to_owned())], "{source}");
}

/// A `repr(C)` struct with one field of the given type.
#[track_caller]
fn refused_field(ty: &str, culprit: &str, message: &str) {
    let source = format!("#[repr(C)] struct Stat {{ ok: u64, field: {ty} }}");
    refused_once(pod::expand, &source, culprit, message);
}

#[test]
fn pod_refuses_what_is_not_a_struct() {
    refused_once(
        pod::expand,
        "enum Kind { A, B }",
        "enum",
        "`Pod` is not for enums: the kernel may hold a number that is none of the variants, which \
         is undefined behaviour in Rust; write an open newtype: `#[repr(transparent)] struct \
         Kind(u32)` with constants",
    );
    // The newtype has the integer that the enum asked for.
    let (_, message) = &refused(pod::expand, "#[repr(C)] #[repr(u8)] enum Kind { A }")[0];
    assert!(message.contains("`#[repr(transparent)] struct Kind(u8)` with constants"), "{message}");
    let (_, message) = &refused(pod::expand, "#[repr(isize)] enum Kind { A }")[0];
    assert!(
        message.contains("`#[repr(transparent)] struct Kind(i64)` with constants"),
        "{message}"
    );
    refused_once(
        pod::expand,
        "#[repr(C)] union Any { a: u32, b: [u8; 4] }",
        "union",
        "`Pod` is not for unions: bytes that the written member does not cover are undefined; \
         write the bytes, `[u8; N]`, with accessors for each reading",
    );
}

#[test]
fn pod_refuses_parameters() {
    let message = "`Pod` is not for generic structs: size and padding are proved for one concrete \
                   type; write a struct with concrete field types";
    refused_once(pod::expand, "#[repr(C)] struct S<T> { a: T }", "<T>", message);
    refused_once(pod::expand, "#[repr(C)] struct S<'a> { a: &'a u8 }", "<'a>", message);
    let source = "#[repr(C)] struct S<const N: usize> { a: [u8; N] }";
    refused_once(pod::expand, source, "<const N: usize>", message);
}

#[test]
fn pod_refuses_a_layout_that_is_not_fixed() {
    let message = "`Pod` needs a fixed layout, and Rust may reorder the fields of `Stat`; write \
                   `#[repr(C)]` above it, or `#[repr(transparent)]` around one field";
    for repr in ["", "#[repr(Rust)]", "#[repr(packed)]", "#[repr(align(8))]", "#[repr(packed(2))]"]
    {
        refused_once(pod::expand, &format!("{repr} struct Stat {{ a: u64 }}"), "Stat", message);
    }
    refused_once(
        pod::expand,
        "#[repr(transparent)] struct Stat(u64, ());",
        "Stat",
        "`Pod` takes `#[repr(transparent)]` around exactly one field; write `#[repr(C)]`",
    );
}

#[test]
fn pod_refuses_empty_structs() {
    let message =
        "`Pod` is not for empty structs: a key or a value has at least one byte; add a field";
    for body in [";", "{}", "();"] {
        refused_once(pod::expand, &format!("#[repr(C)] struct None {body}"), "None", message);
    }
}

#[test]
fn pod_refuses_bool_and_char_also_in_arrays() {
    let message = "a byte from the kernel that is not 0 or 1 would be undefined behaviour in a \
                   `bool`; write `u8` and compare with 0";
    for ty in ["bool", "[bool; 4]", "[[bool; 2]; 3]", "(bool)"] {
        refused_field(ty, "bool", message);
    }
    refused_field("core::primitive::bool", "core::primitive::bool", message);
    let message = "four bytes from the kernel that are no Unicode scalar value would be undefined \
                   behaviour in a `char`; write `u32`, or `u8` for a C `char`";
    refused_field("[char; 16]", "char", message);
}

#[test]
fn pod_refuses_addresses() {
    let tail = "is an address of this process and means nothing to the kernel; write";
    for (ty, what, instead) in [
        ("&'static u32", "a reference", "the value itself, or an index or an id as `u64`"),
        ("*const u8", "a raw pointer", "a kernel address as `u64`"),
        ("*mut Task", "a raw pointer", "a kernel address as `u64`"),
        ("fn(u8) -> u8", "a function pointer", "a kernel address as `u64`"),
        ("Vec<u64>", "a `Vec`", "an array, `[u64; N]`"),
        ("std::vec::Vec<u64>", "a `Vec`", "an array, `[u64; N]`"),
        ("Box<Other>", "a `Box`", "the value itself, `Other`"),
    ] {
        refused_field(ty, ty, &format!("{what} {tail} {instead}"));
    }
}

#[test]
fn pod_refuses_other_types_by_name() {
    for (ty, message) in [
        (
            "usize",
            "the width of `usize` is this machine's, that of the BPF side is fixed; write `u64`",
        ),
        (
            "isize",
            "the width of `isize` is this machine's, that of the BPF side is fixed; write `i64`",
        ),
        ("String", "`String` has no fixed size; write the bytes, `[u8; N]`, as the BPF side does"),
        ("str", "`str` has no fixed size; write the bytes, `[u8; N]`, as the BPF side does"),
        ("[u32]", "a slice has no fixed size; write an array, `[u32; N]`"),
        (
            "Option<u32>",
            "how an `Option` says `None` is the compiler's own affair; write `u32` and let one \
             number mean \"none\", or put a `u8` beside it",
        ),
        (
            "std::num::NonZero<u16>",
            "a zero from the kernel would be undefined behaviour in a `NonZero`; write `u16`",
        ),
        (
            "NonZeroI64",
            "a zero from the kernel would be undefined behaviour in a `NonZero`; write `i64`",
        ),
        (
            "(u32, u32)",
            "the layout of a tuple is not fixed; write a `#[repr(C)]` struct that is `Pod`",
        ),
    ] {
        refused_field(ty, ty, message);
    }
}

#[test]
fn pod_says_everything_that_is_wrong_with_the_fields_at_once() {
    let errors = refused(pod::expand, "#[repr(C)] struct S(bool, u8, [usize; 2], char);");
    let culprits: Vec<_> = errors.iter().map(|(culprit, _)| culprit.as_str()).collect();
    assert_eq!(culprits, ["bool", "usize", "char"]);
}

#[test]
fn pod_leaves_types_of_the_users_own_to_the_bound() {
    for ty in
        ["math::Vec<f32>", "Vec", "crate::Option<u8>", "NonZeroish", "<T as Tr>::bool", "m!()"]
    {
        expand(pod::expand, &format!("#[repr(C)] struct S {{ a: {ty} }}"));
    }
}

#[test]
fn pod_writes_the_field_table() {
    let tokens =
        expand(pod::expand, "#[repr(C)] struct r#struct { r#type: u32, rest: [u8; Self::LEN] }")
            .to_string();
    let table = quote! {
        unsafe impl ::bpf_atlas::Pod for r#struct {
            const LAYOUT: ::bpf_atlas::Layout = ::bpf_atlas::Layout::structure(
                "struct",
                ::core::mem::size_of::<r#struct>(),
                ::core::mem::align_of::<r#struct>(),
                const { &[
                    ::bpf_atlas::Field::new(
                        "type",
                        ::core::mem::offset_of!(r#struct, r#type),
                        &<u32 as ::bpf_atlas::Pod>::LAYOUT,
                    ),
                    ::bpf_atlas::Field::new(
                        "rest",
                        ::core::mem::offset_of!(r#struct, rest),
                        &<[u8; r#struct::LEN] as ::bpf_atlas::Pod>::LAYOUT,
                    )
                ] },
            );
        }
    };
    assert!(tokens.contains(&table.to_string()), "{tokens}");
    let plain = quote!(
        unsafe impl ::bpf_atlas::__private::plain::Plain for r#struct {}
    );
    assert!(tokens.contains(&plain.to_string()), "{tokens}");
}

#[test]
fn pod_of_a_transparent_struct_has_the_inner_layout() {
    let tokens = expand(pod::expand, "#[repr(transparent)] struct Pid(u32);").to_string();
    let layout = quote! {
        const LAYOUT: ::bpf_atlas::Layout = <u32 as ::bpf_atlas::Pod>::LAYOUT;
    };
    assert!(tokens.contains(&layout.to_string()), "{tokens}");
}

#[test]
fn padding_is_told_by_place_and_number() {
    let tokens =
        expand(pod::expand, "#[repr(C)] struct Stat { packets: u32, bytes: u64 }").to_string();
    for message in [
        "padding in `Stat`: 1 byte before field `bytes`; add `_pad: [u8; 1]` there so that no byte \
         is undefined",
        "padding in `Stat`: 4 bytes before field `bytes`; add `_pad: [u8; 4]` there so that no \
         byte is undefined",
        "padding in `Stat`: 15 bytes before field `bytes`; add `_pad: [u8; 15]` there so that no \
         byte is undefined",
        "padding in `Stat`: 16 bytes or more before field `bytes`; add `_pad: [u8; N]` there so \
         that no byte is undefined",
        "padding in `Stat`: 4 bytes at the end, after field `bytes`; add `_pad: [u8; 4]` there so \
         that no byte is undefined",
    ] {
        assert!(tokens.contains(message), "{message}\nis not in\n{tokens}");
    }
    assert!(!tokens.contains("before field `packets`"), "nothing can lie before the first field");
}

#[test]
fn padding_of_a_greater_alignment_is_told_by_number() {
    let source = "#[repr(C)] #[repr(align(64))] struct Line { a: u64 }";
    let tokens = expand(pod::expand, source).to_string();
    assert!(tokens.contains("63 bytes at the end, after field `a`; add `_pad: [u8; 63]`"));
    assert!(tokens.contains("64 bytes or more at the end, after field `a`; add `_pad: [u8; N]`"));
}

#[test]
fn padding_gets_a_name_that_is_free_or_none() {
    let source = "#[repr(C)] struct S { a: u8, _pad: u8, _pad2: u8, b: u64 }";
    let tokens = expand(pod::expand, source).to_string();
    assert!(tokens.contains("before field `b`; add `_pad3: [u8; 4]` there"), "{tokens}");
    let tokens = expand(pod::expand, "#[repr(C)] struct S(u8, u64);").to_string();
    assert!(tokens.contains("before field `1`; add a field `[u8; 7]` there"), "{tokens}");
}

#[test]
fn a_lint_is_only_quieted_where_it_must_be() {
    let plain = expand(pod::expand, "#[repr(C)] struct S { a: u8 }").to_string();
    assert!(!plain.contains("allow"), "an error under forbid(warnings): {plain}");
    let deprecated = expand(pod::expand, "#[repr(C)] struct S { #[deprecated] a: u8 }").to_string();
    assert!(deprecated.contains(&quote!(#[allow(deprecated)]).to_string()), "{deprecated}");
}

#[test]
fn the_library_may_be_elsewhere() {
    for derive in [pod::expand as Derive, accumulate::expand] {
        let source = "#[repr(C)] #[pod(crate = \"crate::reexport::atlas\")] struct S(u8);";
        let tokens = expand(derive, source).to_string();
        assert!(!tokens.contains("bpf_atlas"), "{tokens}");
        assert!(tokens.contains(&quote!(crate::reexport::atlas::).to_string()), "{tokens}");
    }
}

#[test]
fn unknown_words_for_pod_are_refused() {
    let only =
        "`#[pod(crate = \"path::to::bpf_atlas\")]` and `#[pod(union)]` are all that `pod` takes";
    for derive in [pod::expand as Derive, accumulate::expand] {
        for (attribute, culprit, message) in [
            ("#[pod(krate = \"x\")]", "krate", only),
            ("#[pod]", "#[pod]", only),
            ("#[pod = \"x\"]", "#[pod = \"x\"]", only),
            ("#[pod()]", "#[pod()]", only),
            ("#[pod(crate = x)]", "x", "expected string literal"),
        ] {
            let source = format!("#[repr(C)] {attribute} struct S(u8);");
            refused_once(derive, &source, culprit, message);
        }
        refused_once(
            derive,
            "#[repr(C)] struct S(#[pod(crate = \"x\")] u8);",
            "#[pod(crate = \"x\")]",
            "`#[pod(crate = \"…\")]` goes on the struct, not on a field",
        );
        refused_once(
            derive,
            "#[repr(C)] struct S { #[pod(nam = \"x\")] a: u8 }",
            "nam",
            "on a field `pod` takes its name in C alone, `#[pod(name = \"…\")]`",
        );
    }
}

#[test]
fn a_field_keeps_the_name_it_has_in_c() {
    let source = "#[repr(C)] struct S { #[pod(name = \"self\")] self_: u8, r#type: u8 }";
    let tokens = expand(pod::expand, source).to_string();
    assert!(tokens.contains("Field :: new (\"self\" ,"), "{tokens}");
    assert!(tokens.contains("Field :: new (\"type\" ,"), "{tokens}");
}

#[test]
fn a_union_is_words_and_nothing_else() {
    let source = "#[repr(transparent)] #[pod(union)] struct Addr([u32; 4]);";
    let tokens = expand(pod::expand, source).to_string();
    assert!(tokens.contains("Layout :: union (\"Addr\" ,"), "{tokens}");
    for source in [
        "#[repr(transparent)] #[pod(union)] struct Addr([Peer; 4]);",
        "#[repr(transparent)] #[pod(union)] struct Addr(u32);",
        "#[repr(C)] #[pod(union)] struct Addr([u32; 4]);",
    ] {
        refused_once(
            pod::expand,
            source,
            "Addr",
            "`#[pod(union)]` is for the bytes of a C union: `#[repr(transparent)]` around one array of \
             unsigned integers, `[u32; N]`, whose element has the union's alignment",
        );
    }
}
