//! Structs: explicit padding, accessors for what Rust has no fields for, and
//! proofs of every offset.

use super::{Emit, bytes, doc, indent, literal, message};
use crate::names::keeps_name;
use crate::types::{Field, FieldKind, Item, Member, Place, Struct, Ty};

impl Emit<'_> {
    pub(super) fn structure(&self, item: &Item, made: &Struct) -> String {
        let rust = &item.rust;
        let mut own =
            vec!["::core::clone::Clone", "::core::marker::Copy", "::core::cmp::PartialEq"];
        if !item.float {
            own.extend(["::core::cmp::Eq", "::core::hash::Hash"]);
        }
        let repr = match made.packed {
            None => "C".into(),
            Some(1) => "C, packed".into(),
            Some(pack) => format!("C, packed({pack})"),
        };
        let fields: String = made.fields.iter().map(|field| self.field(item, field)).collect();
        let mut out = self.quoted(item);
        out.push_str(&self.derives(item, &own));
        out.push_str(&format!("#[repr({repr})]\npub struct {rust} {{\n{}}}\n\n", indent(&fields)));
        let accessors: String = made.fields.iter().map(|field| self.accessors(field)).collect();
        if !accessors.is_empty() {
            out.push_str(&format!("impl {rust} {{\n{}}}\n\n", indent(accessors.trim_end())));
        }
        if !self.derived(item, "Default") {
            out.push_str(&self.default(rust));
        }
        if !self.derived(item, "Debug") {
            out.push_str(&self.debug(rust, made));
        }
        out.push_str(&self.proofs(item, made));
        out
    }

    /// All bytes zero, as the kernel hands out memory.
    pub(super) fn default(&self, rust: &str) -> String {
        format!(
            "impl ::core::default::Default for {rust} {{\n    fn default() -> Self {{\n        \
             {}::__private::zeroed()\n    }}\n}}\n\n",
            self.krate()
        )
    }

    fn field(&self, item: &Item, field: &Field) -> String {
        let at = field.offset;
        let bare = field.rust.trim_start_matches("r#");
        let name = if field.c_name.is_empty() { bare } else { &field.c_name };
        let mut out = self.user_docs(&item.c_name, Some(name));
        out.push_str(&match &field.kind {
            FieldKind::Plain => doc(&format!("C `{}`, at byte {at}.", field.decl)),
            FieldKind::Padding => {
                doc(&format!("Padding, {} at byte {at}.", bytes(self.types.facts(&field.ty).0)))
            }
            FieldKind::Bits(members) => doc(&format!(
                "Bitfields `{}`, at byte {at}: use the methods of these names.",
                members.iter().map(|m| m.c_name.as_str()).collect::<Vec<_>>().join("`, `")
            )),
            FieldKind::Anonymous(_) => doc(&format!("C `union {{ … }}`, at byte {at}.")),
        });
        if *self.types.behind(&field.ty) == Ty::Address {
            out.push_str("/// An address in the kernel.\n");
        }
        let renamed = !field.c_name.is_empty() && !keeps_name(&field.c_name);
        if renamed {
            out.push_str(&format!("#[pod(name = {})]\n", literal(&field.c_name)));
        }
        let attributes = self.options.attributes(&item.c_name, Some(name));
        let given = !attributes.is_empty();
        for attribute in attributes {
            out.push_str(&format!("#[{attribute}]\n"));
        }
        if self.serde(item) && !given {
            match field.kind {
                // Longer than 32 bytes it has no `Default`.
                FieldKind::Padding => out.push_str(&format!(
                    "#[serde(skip, default = {})]\n",
                    literal(&format!("{}::__private::zeroed", self.krate()))
                )),
                _ => out.push_str(&self.long_array(&field.ty)),
            }
        }
        // The bytes of bitfields are no number that could be added up.
        if matches!(field.kind, FieldKind::Bits(_)) && self.derived(item, "Accumulate") && !given {
            out.push_str("#[accumulate(first)]\n");
        }
        out.push_str(&format!("pub {}: {},\n", field.rust, self.ty(&field.ty)));
        out
    }

    /// Whether the user derives a trait of serde.
    pub(super) fn serde(&self, item: &Item) -> bool {
        ["Serialize", "Deserialize"].iter().any(|name| self.derived(item, name))
    }

    /// serde takes arrays of 32 elements; this is for what is longer.
    pub(super) fn long_array(&self, ty: &Ty) -> String {
        let (mut way, mut long, mut ty) = ("Leaf".to_owned(), false, self.types.behind(ty));
        let krate = self.krate();
        way.insert_str(0, &format!("{krate}::__private::"));
        while let Ty::Array(element, len) = ty {
            long |= *len > 32;
            way = format!("{krate}::__private::Each::<{way}>");
            ty = self.types.behind(element);
        }
        if long { format!("#[serde(with = {})]\n", literal(&way)) } else { String::new() }
    }

    fn accessors(&self, field: &Field) -> String {
        match &field.kind {
            FieldKind::Bits(members) => members
                .iter()
                .map(|member| self.bit_accessors(member, &format!("self.{}", field.rust)))
                .collect::<String>(),
            FieldKind::Anonymous(members) => {
                let inner = self.members_of(&field.ty);
                let pairs = members.iter().zip(inner);
                pairs.map(|(member, inner)| self.delegate(field, member, inner)).collect()
            }
            _ => String::new(),
        }
    }

    /// `key.v4()` for `key.anon0.v4()`.
    fn delegate(&self, field: &Field, member: &Member, inner: &Member) -> String {
        let ty = self.member_ty(member);
        let (name, bare) = (&member.rust, member.rust.trim_start_matches("r#"));
        let (to, to_bare) = (&inner.rust, inner.rust.trim_start_matches("r#"));
        let of = &field.rust;
        format!(
            "{}pub fn {name}(&self) -> {ty} {{\n    let union = self.{of};\n    union.{to}()\n}}\n\n\
             /// Sets [`{bare}`](Self::{bare}).\npub fn set_{bare}(&mut self, value: {ty}) {{\n    \
             let mut union = self.{of};\n    union.set_{to_bare}(value);\n    self.{of} = union;\n}}\n\n",
            doc(&format!("C `{}`, of a union.", member.decl)),
        )
    }

    /// Reads and writes a bitfield in the bytes `of`.
    fn bit_accessors(&self, member: &Member, of: &str) -> String {
        let Place::Bits(start, width) = member.place else { return String::new() };
        let (ty, krate) = (self.member_ty(member), self.krate());
        let (name, bare) = (&member.rust, member.rust.trim_start_matches("r#"));
        let read = self.read_bits(member, &format!("&{of}"), start, width);
        let write = self.to_bits(member);
        format!(
            "{}pub fn {name}(&self) -> {ty} {{\n    {read}\n}}\n\n\
             /// Sets [`{bare}`](Self::{bare}); what has more than {width} bits is cut.\n\
             pub fn set_{bare}(&mut self, value: {ty}) {{\n    \
             {krate}::__private::set_bits(&mut {of}, {start}, {width}, {write});\n}}\n\n",
            doc(&format!("C `{}`.", member.decl)),
        )
    }

    /// `f.debug_struct(…)`, padding only where it is not zero.
    fn debug(&self, rust: &str, made: &Struct) -> String {
        let mut body = format!("let mut out = f.debug_struct({});\n", literal(rust));
        for field in &made.fields {
            let name = &field.rust;
            let shown = literal(name.trim_start_matches("r#"));
            match &field.kind {
                FieldKind::Plain => body.push_str(&format!(
                    "out.field({}, &{{ self.{name} }});\n",
                    literal(&field.c_name)
                )),
                FieldKind::Padding => body.push_str(&format!(
                    "if self.{name} != [0; {}] {{\n    out.field({shown}, &self.{name});\n}}\n",
                    self.types.facts(&field.ty).0
                )),
                FieldKind::Bits(members) => {
                    for member in members {
                        body.push_str(&format!(
                            "out.field({}, &self.{}());\n",
                            literal(&member.c_name),
                            member.rust
                        ));
                    }
                }
                FieldKind::Anonymous(_) => {
                    body.push_str(&format!("out.field({shown}, &{{ self.{name} }});\n"));
                }
            }
        }
        body.push_str("out.finish()\n");
        format!(
            "impl ::core::fmt::Debug for {rust} {{\n    \
             fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n{}    }}\n}}\n\n",
            indent(&indent(&body))
        )
    }

    /// Constants that do not compile unless size and offsets are those of C.
    fn proofs(&self, item: &Item, made: &Struct) -> String {
        let rust = &item.rust;
        let mut out = self.size_proof(item, rust);
        for field in &made.fields {
            let what = match &field.kind {
                FieldKind::Padding => continue,
                FieldKind::Plain => format!("C `{}` of `{}`", field.decl, item.c_name),
                FieldKind::Bits(_) => format!("bitfields of C `{}`", item.c_name),
                FieldKind::Anonymous(_) => format!("a union of C `{}`", item.c_name),
            };
            let name = field.rust.trim_start_matches("r#");
            let text = format!("{what}: at byte {}; Rust `{rust}::{name}` is not", field.offset);
            out.push_str(&format!(
                "    ::core::assert!(\n        ::core::mem::offset_of!({rust}, {}) == {},\n        {},\n    );\n",
                field.rust,
                field.offset,
                message(&text)
            ));
        }
        format!("const _: () = {{\n{out}}};\n")
    }
}
