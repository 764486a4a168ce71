//! `#[derive(Events)]`.

use quote::quote;

use super::{expand, refused, refused_once};
use crate::events;

#[test]
fn events_write_one_reference_for_each_variant() {
    let source =
        "pub(crate) enum Event { #[event(1)] Exec(ExecEvent), #[event(EXIT)] Exit(ExitEvent) }";
    let tokens = expand(events::expand, source).to_string();
    for part in [
        quote! {
            #[derive(::core::clone::Clone, ::core::marker::Copy)]
            pub(crate) enum EventRef<'r> {
                #[doc = "Tag `1`."]
                Exec(&'r ExecEvent),
                #[doc = "Tag `EXIT`."]
                Exit(&'r ExitEvent),
            }
        },
        quote! {
            const __ATLAS_TAG_1: ::core::primitive::u64 =
                ::bpf_atlas::__private::tag(|__atlas: ExitEvent| __atlas.kind).number(EXIT);
        },
        quote! {
            fn copy(__atlas: EventRef<'_>) -> Self {
                match __atlas {
                    EventRef::Exec(__atlas) => Self::Exec(*__atlas),
                    EventRef::Exit(__atlas) => Self::Exit(*__atlas),
                }
            }
        },
    ] {
        assert!(tokens.contains(&part.to_string()), "{part}\nis not in\n{tokens}");
    }
}

#[test]
fn events_take_a_nested_tag_another_name_and_another_path() {
    let source = "#[events(tag = header.r#type, reference = Seen, crate = \"my::atlas\")] \
                  enum r#Event { /// One.\n #[event(7)] One(E) }";
    let tokens = expand(events::expand, source).to_string();
    for part in ["Seen < 'r >", "__atlas . header . r#type", "my :: atlas :: Event for r#Event"] {
        assert!(tokens.contains(part), "{part} is not in\n{tokens}");
    }
    assert!(!tokens.contains(":: bpf_atlas") && !tokens.contains("Tag `7`"), "{tokens}");
}

#[test]
fn events_refuse_what_is_no_enum_of_events() {
    let write = "write above it the tag that tells it from other events: `#[event(1)]`, or any \
                 constant of the tag's type";
    let one = "each variant holds one event, a struct that is `Pod` and has no name here: write \
               `A(AEvent)`";
    for (source, culprit, message) in [
        ("enum E { A(X) }", "A", write),
        ("enum E { #[event] A(X) }", "#[event]", write),
        ("enum E { #[event()] A(X) }", "#[event()]", write),
        (
            "enum E { #[event(1)] #[event(2)] A(X) }",
            "#[event(2)]",
            "an event has one tag; this is a second one",
        ),
        ("enum E { #[event(1)] A }", "#[event(1)] A", one),
        ("enum E { #[event(1)] A(X, Y) }", "#[event(1)] A(X, Y)", one),
        ("enum E { #[event(1)] A { x: X } }", "#[event(1)] A { x: X }", one),
        (
            "enum E { A(X) = 3 }",
            "3",
            "the number of a variant is no tag: write `#[event(3)]` above it",
        ),
        (
            "enum E { #[events(1)] A(X) }",
            "#[events(1)]",
            "`#[events(…)]` goes on the enum; on a variant it is `#[event(…)]`",
        ),
        (
            "#[event(tag = kind)] enum E { #[event(1)] A(X) }",
            "#[event(tag = kind)]",
            "`#[event(…)]` goes on a variant; on the enum it is `#[events(…)]`",
        ),
        (
            "enum E<T> { #[event(1)] A(T) }",
            "<T>",
            "`Events` is not for generic enums: an event is copied out of the ring's memory, so it \
             borrows nothing and its size is known; write an enum of concrete types",
        ),
        (
            "enum E {}",
            "E",
            "`Events` is not for empty enums: a ring holds something; add a variant, `#[event(1)] \
             Exec(ExecEvent)`",
        ),
        (
            "struct E { a: u32 }",
            "E",
            "`Events` is for enums: one variant for each type of event that the ring holds; a ring \
             of one type takes the struct itself, `#[derive(Clone, Copy, Pod)]`",
        ),
    ] {
        refused_once(events::expand, source, culprit, message);
    }
    let only = "`events` takes `tag = kind`, the field of each event that tells which it is, \
                `reference = EventRef`, the name of the enum of references, and \
                `crate = \"path::to::bpf_atlas\"`";
    for (attribute, culprit) in
        [("events", "#[events]"), ("events()", "#[events()]"), ("events(kind = a)", "kind")]
    {
        let source = format!("#[{attribute}] enum E {{ #[event(1)] A(X) }}");
        refused_once(events::expand, &source, culprit, only);
    }
}

#[test]
fn events_say_everything_that_is_wrong_with_the_variants_at_once() {
    let errors = refused(events::expand, "enum E { A, #[event(1)] B(X), C(Y) }");
    let culprits: Vec<_> = errors.iter().map(|(culprit, _)| culprit.as_str()).collect();
    assert_eq!(culprits, ["A", "C"]);
}

#[test]
fn events_say_of_each_pair_that_it_cannot_be_told_apart() {
    let source = "enum E { #[event(1)] A(X), #[event(2)] B(Y), #[event(1)] C(Z) }";
    let tokens = expand(events::expand, source).to_string();
    for (later, earlier) in [("B", "A"), ("C", "A"), ("C", "B")] {
        let text = format!(
            "`{later}` has the tag of `{earlier}`: a reader could not tell them apart; give one of \
             them another"
        );
        assert!(tokens.contains(&text), "{text}");
    }
}
