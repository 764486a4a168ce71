//! Enums: open newtypes, since the kernel may hold a number that C has no name
//! for.

use super::{Emit, bytes, doc, indent, literal, quote};
use crate::types::{Enum, Item};

/// Values that the documentation shows.
const MOST_VALUES: usize = 60;

impl Emit<'_> {
    pub(super) fn enumeration(&self, item: &Item, made: &Enum) -> String {
        let rust = &item.rust;
        let int = format!("{}{}", if made.signed { 'i' } else { 'u' }, made.bits);
        let own = [
            "::core::clone::Clone",
            "::core::marker::Copy",
            "::core::default::Default",
            "::core::cmp::PartialEq",
            "::core::cmp::Eq",
            "::core::cmp::PartialOrd",
            "::core::cmp::Ord",
            "::core::hash::Hash",
        ];
        let mut out = self.user_docs(&item.c_name, None);
        out.push_str(&doc(&format!("C `{}`, {}.", item.c_name, bytes(item.size))));
        if !made.values.is_empty() {
            // BTF's own values are those that an old compiler cuts.
            let head =
                item.c_name.strip_prefix("typedef ").map_or(item.c_name.as_str(), |_| "enum");
            let head = if head.starts_with("enum of ") { "enum" } else { head };
            let values = made.values.iter().take(MOST_VALUES);
            let mut decl: String =
                values.map(|(name, _, value)| format!("    {name} = {value},\n")).collect();
            if made.values.len() > MOST_VALUES {
                decl.push_str(&format!("    /* and {} more */\n", made.values.len() - MOST_VALUES));
            }
            out.push_str("///\n");
            out.push_str(&quote(&format!("{head} {{\n{decl}}};")));
        }
        out.push_str("///\n/// The kernel may hold other numbers than those with a name.\n");
        if made.unknown {
            out.push_str(
                "///\n/// No constants: this compiler records 32 bits of a value; clang 15 and later \
                 record all.\n",
            );
        }
        out.push_str(&self.derives(item, &own));
        out.push_str(&format!(
            "#[repr(transparent)]\npub struct {rust}(\n    /// The number.\n    pub {int},\n);\n\n"
        ));
        let mut body = String::new();
        for (c_name, name, value) in &made.values {
            body.push_str(&doc(&format!("C `{}`.", c_name.replace('`', "_"))));
            body.push_str(&format!("pub const {name}: Self = Self({value});\n"));
        }
        let mut seen = std::collections::BTreeSet::new();
        let arms: String = made
            .values
            .iter()
            .filter(|(.., value)| seen.insert(*value))
            .map(|(c_name, _, value)| {
                format!("        {value} => ::core::option::Option::Some({}),\n", literal(c_name))
            })
            .collect();
        body.push_str(&format!(
            "\n/// The name that C has for the number; the first of several.\n\
             pub const fn c_name(self) -> ::core::option::Option<&'static str> {{\n    match self.0 {{\n\
             {arms}        _ => ::core::option::Option::None,\n    }}\n}}\n"
        ));
        out.push_str(&format!("impl {rust} {{\n{}}}\n\n", indent(body.trim_start())));
        if !self.derived(item, "Debug") {
            out.push_str(&format!(
                "impl ::core::fmt::Debug for {rust} {{\n    \
                 fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        \
                 match self.c_name() {{\n            \
                 ::core::option::Option::Some(name) => f.write_str(name),\n            \
                 ::core::option::Option::None => {{\n                \
                 f.debug_tuple({}).field(&self.0).finish()\n            }}\n        }}\n    }}\n}}\n\n",
                literal(rust)
            ));
        }
        out.push_str(&format!(
            "impl ::core::convert::From<{int}> for {rust} {{\n    fn from(number: {int}) -> Self {{\n        \
             Self(number)\n    }}\n}}\n\n\
             impl ::core::convert::From<{rust}> for {int} {{\n    fn from(value: {rust}) -> Self {{\n        \
             value.0\n    }}\n}}\n\n"
        ));
        out.push_str(&format!("const _: () = {{\n{}}};\n", self.size_proof(item, rust)));
        out
    }
}
