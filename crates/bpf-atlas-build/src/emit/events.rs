//! The enum of a ring's events.

use super::{Emit, doc, literal};
use crate::events::{Event, Events};
use crate::types::Ty;

impl Emit<'_> {
    /// The enum, for the module `types`.
    pub(super) fn events(&self, of: &Events) -> String {
        let krate = self.krate();
        let Events { ring, rust, events, .. } = of;
        let mut out: String =
            self.options.ring_docs(ring).map(|text| format!("{}///\n", doc(text))).collect();
        out.push_str(&doc(&format!(
            "What a record of C `{ring}` is: the field `kind` of each event tells.\n\
             In the ring's own memory it is an [`{rust}Ref`]."
        )));
        let mut derives = vec!["Clone", "Copy", "Debug", "PartialEq"];
        if !of.float {
            derives.extend(["Eq", "Hash"]);
        }
        let mut derives: Vec<String> = derives
            .into_iter()
            .map(|name| match name {
                "Clone" => "::core::clone::Clone".into(),
                "Copy" => "::core::marker::Copy".into(),
                "Debug" => "::core::fmt::Debug".into(),
                "Hash" => "::core::hash::Hash".into(),
                cmp => format!("::core::cmp::{cmp}"),
            })
            .collect();
        derives.push(format!("{krate}::Events"));
        out.push_str(&format!("#[derive({})]\n", derives.join(", ")));
        if krate != "::bpf_atlas" {
            out.push_str(&format!("#[events(crate = {})]\n", literal(krate)));
        }
        let variants: String = events.iter().map(|event| self.variant(rust, event)).collect();
        let constants: String = events.iter().map(|event| self.constant(event)).collect();
        out.push_str(&format!(
            "pub enum {rust} {{\n{}}}\n\nimpl {rust} {{\n{}}}\n\n",
            super::indent(&variants),
            super::indent(constants.trim_end())
        ));
        out
    }

    fn variant(&self, rust: &str, event: &Event) -> String {
        format!(
            "{}#[event({rust}::{})]\n{}({}),\n",
            doc(&format!("C `{}`: a `{}`.", event.c_tag, event.decl.replace('`', "_"))),
            event.constant,
            event.variant,
            self.ty(&event.ty)
        )
    }

    fn constant(&self, event: &Event) -> String {
        let value = match self.types.behind(&event.kind) {
            // An enum of C is a tuple struct around its number.
            Ty::Named(_) => format!("{}({})", self.ty(&event.kind), event.value),
            _ => event.value.to_string(),
        };
        format!(
            "{}pub const {}: {} = {value};\n\n",
            doc(&format!(
                "C `{}`: what `kind` is in a [`{}`](Self::{1}).",
                event.c_tag, event.variant
            )),
            event.constant,
            self.ty(&event.kind)
        )
    }
}
