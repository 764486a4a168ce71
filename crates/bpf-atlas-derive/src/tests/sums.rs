//! `#[derive(Accumulate)]`.

use quote::quote;

use super::{expand, refused, refused_once};
use crate::accumulate;

#[test]
fn accumulate_follows_the_rule_of_each_field() {
    let tokens = expand(
        accumulate::expand,
        "struct Latency {
            calls: u64,
            #[accumulate(sum)] r#in: u32,
            #[accumulate(max)] worst: u64,
            #[accumulate(min)] best: u64,
            #[accumulate(first)] since: u64,
            _pad: [u8; 4],
            #[accumulate(sum)] __pad1: u32,
        }",
    );
    let expected = quote! {
        #[automatically_derived]
        impl ::bpf_atlas::Accumulate for Latency {
            #[inline]
            fn accumulate(&mut self, other: Self) {
                let mut total: u64 = self.calls;
                <u64 as ::bpf_atlas::Accumulate>::accumulate(&mut total, other.calls);
                self.calls = total;
                let mut total: u32 = self.r#in;
                <u32 as ::bpf_atlas::Accumulate>::accumulate(&mut total, other.r#in);
                self.r#in = total;
                self.worst = ::bpf_atlas::__private::max::<u64>(self.worst, other.worst);
                self.best = ::bpf_atlas::__private::min::<u64>(self.best, other.best);
                self.since = ::bpf_atlas::__private::first::<u64>(self.since, other.since);
                self._pad = ::bpf_atlas::__private::first::<[u8; 4]>(self._pad, other._pad);
                let mut total: u32 = self.__pad1;
                <u32 as ::bpf_atlas::Accumulate>::accumulate(&mut total, other.__pad1);
                self.__pad1 = total;
            }

            #[inline]
            fn since(self, earlier: Self) -> ::core::option::Option<Self> {
                let _ = earlier;
                ::core::option::Option::Some(Self {
                    calls: <u64 as ::bpf_atlas::Accumulate>::since(self.calls, earlier.calls)?,
                    r#in: <u32 as ::bpf_atlas::Accumulate>::since(self.r#in, earlier.r#in)?,
                    worst: self.worst,
                    best: self.best,
                    since: self.since,
                    _pad: self._pad,
                    __pad1: <u32 as ::bpf_atlas::Accumulate>::since(self.__pad1, earlier.__pad1)?
                })
            }

            const RULES: ::bpf_atlas::__private::Rules = ::bpf_atlas::__private::Rules::Fields(&[
                (
                    ::bpf_atlas::__private::FieldRule::Accumulate,
                    &<u64 as ::bpf_atlas::Accumulate>::RULES
                ),
                (
                    ::bpf_atlas::__private::FieldRule::Accumulate,
                    &<u32 as ::bpf_atlas::Accumulate>::RULES
                ),
                (
                    ::bpf_atlas::__private::FieldRule::Max,
                    &::bpf_atlas::__private::Rules::Unknown
                ),
                (
                    ::bpf_atlas::__private::FieldRule::Min,
                    &::bpf_atlas::__private::Rules::Unknown
                ),
                (
                    ::bpf_atlas::__private::FieldRule::First,
                    &::bpf_atlas::__private::Rules::Unknown
                ),
                (
                    ::bpf_atlas::__private::FieldRule::Padding,
                    &::bpf_atlas::__private::Rules::Unknown
                ),
                (
                    ::bpf_atlas::__private::FieldRule::Accumulate,
                    &<u32 as ::bpf_atlas::Accumulate>::RULES
                )
            ]);
        }
    };
    assert_eq!(tokens.to_string(), expected.to_string());
}

#[test]
fn accumulate_takes_tuple_structs() {
    let tokens = expand(accumulate::expand, "struct Pair(u8, #[accumulate(max)] u16);").to_string();
    let built = quote! {
        Self { 0: <u8 as ::bpf_atlas::Accumulate>::since(self.0, earlier.0)?, 1: self.1 }
    };
    assert!(tokens.contains(&built.to_string()), "{tokens}");
}

#[test]
fn accumulate_refuses_unknown_rules() {
    let write = "write `#[accumulate(…)]` with `sum`, `max`, `min` or `first`";
    for (attribute, culprit, message) in [
        ("#[accumulate(avg)]", "avg", "unknown rule; write `sum`, `max`, `min` or `first`"),
        ("#[accumulate]", "#[accumulate]", write),
        ("#[accumulate()]", "#[accumulate()]", write),
        ("#[accumulate = \"max\"]", "#[accumulate = \"max\"]", write),
        ("#[accumulate(max, min)]", "min", "a field has one rule; this is a second one"),
        (
            "#[accumulate(max)] #[accumulate(max)]",
            "max",
            "a field has one rule; this is a second one",
        ),
    ] {
        let source = format!("struct S {{ {attribute} a: u64 }}");
        refused_once(accumulate::expand, &source, culprit, message);
    }
    refused_once(
        accumulate::expand,
        "#[accumulate(max)] struct S(u8);",
        "#[accumulate(max)]",
        "`#[accumulate(…)]` goes on a field",
    );
}

#[test]
fn accumulate_refuses_what_pod_refuses() {
    for (source, culprit, message) in [
        ("enum Kind { A }", "enum", "`Accumulate` is not for enums: "),
        ("union Any { a: u32 }", "union", "`Accumulate` is not for unions: "),
        ("struct S<T>(T);", "<T>", "`Accumulate` is not for generic structs: "),
        ("struct S;", "S", "`Accumulate` is not for empty structs: "),
    ] {
        let errors = refused(accumulate::expand, source);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].0, culprit);
        assert!(errors[0].1.starts_with(message), "{}", errors[0].1);
    }
}
