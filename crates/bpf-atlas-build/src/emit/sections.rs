//! Sections of variables: a struct with the values to begin with, and a live
//! view once the object is loaded.

use super::{Emit, bytes, doc, indent, literal, message};
use crate::names::Scope;
use crate::plan::SectionPlan;
use crate::types::{Field, FieldKind, Ty};

impl Emit<'_> {
    pub(super) fn section(&self, section: &SectionPlan) -> String {
        let (rust, krate) = (&section.rust, self.krate());
        let mut fields = String::new();
        let mut proofs = String::new();
        let mut shown = String::new();
        for field in &section.made.fields {
            fields.push_str(&match field.kind {
                FieldKind::Padding => {
                    let size = self.types.facts(&field.ty).0;
                    doc(&format!("Nothing with a name, {} at byte {}.", bytes(size), field.offset))
                }
                _ => doc(&format!("C `{}`, at byte {}.", field.decl, field.offset)),
            });
            if let Ty::Address = self.types.behind(&field.ty) {
                fields.push_str("/// An address in the kernel.\n");
            }
            fields.push_str(&format!("pub {}: {},\n", field.rust, self.outer_ty(&field.ty)));
            if !matches!(field.kind, FieldKind::Padding) {
                shown.push_str(&format!(
                    "            .field({}, &{{ self.{} }})\n",
                    literal(&field.c_name),
                    field.rust
                ));
                let text = format!(
                    "C `{}` of section `{}`: at byte {}; Rust `{rust}::{}` is not",
                    field.decl,
                    section.name,
                    field.offset,
                    field.rust.trim_start_matches("r#")
                );
                proofs.push_str(&format!(
                    "    ::core::assert!(\n        ::core::mem::offset_of!({rust}, {}) == {},\n        {},\n    );\n",
                    field.rust,
                    field.offset,
                    message(&text)
                ));
            }
        }
        let eq = if section.float { "" } else { ", ::core::cmp::Eq" };
        let repr = match section.made.packed {
            None => "C".into(),
            Some(pack) => format!("C, packed({pack})"),
        };
        let pod = match krate {
            "::bpf_atlas" => String::new(),
            krate => format!("#[pod(crate = {})]\n", literal(krate)),
        };
        let text = format!("The variables of section `{}`, {}.", section.name, bytes(section.size));
        format!(
            "{}#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::cmp::PartialEq{eq}, \
             {krate}::Pod)]\n{pod}#[repr({repr})]\npub struct {rust} {{\n{}}}\n\n{}\
             impl ::core::fmt::Debug for {rust} {{\n    \
             fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        \
             f.debug_struct({})\n{shown}            .finish()\n    }}\n}}\n\n\
             const _: () = {{\n{}{proofs}}};\n\n{}",
            doc(&text),
            indent(&fields),
            self.default(rust),
            literal(rust),
            format_args!(
                "    ::core::assert!(\n        ::core::mem::size_of::<{rust}>() == {},\n        {},\n    );\n",
                section.size,
                literal(&format!(
                    "section `{}` has {}; Rust `{rust}` has not",
                    section.name,
                    bytes(section.size)
                ))
            ),
            if section.live { self.live(section) } else { String::new() },
        )
    }

    /// The view of the variables while programs run.
    fn live(&self, section: &SectionPlan) -> String {
        let (rust, krate) = (&section.rust, self.krate());
        let writable = !section.external && !section.name.starts_with(".rodata");
        let mut scope = Scope::default();
        let named = section.made.fields.iter().filter(|f| matches!(f.kind, FieldKind::Plain));
        let methods: String =
            named.map(|field| self.variable(rust, field, writable, &mut scope)).collect();
        format!(
            "/// Section `{name}` in the memory that the programs use{set}.\n///\n\
             /// Dereferences to [`Global`]({krate}::Global), which reads all of it.\n\
             #[derive(Clone, Debug)]\npub struct Live{rust}({krate}::Global<{rust}>);\n\n\
             impl ::core::ops::Deref for Live{rust} {{\n    type Target = {krate}::Global<{rust}>;\n\n    \
             fn deref(&self) -> &Self::Target {{\n        &self.0\n    }}\n}}\n\n\
             impl Live{rust} {{\n{}}}\n\n",
            indent(methods.trim_end()),
            name = section.name,
            set = match section.external {
                true =>
                    ": set by libbpf, from the kernel's configuration, when the object is loaded",
                false => "",
            },
        )
    }

    fn variable(&self, rust: &str, field: &Field, writable: bool, scope: &mut Scope) -> String {
        let ty = self.outer_ty(&field.ty);
        let at = format!("::core::mem::offset_of!({rust}, {})", field.rust);
        let mut name = field.rust.clone();
        let bare = loop {
            let bare = name.trim_start_matches("r#").to_owned();
            let all = [name.clone(), format!("set_{bare}"), format!("take_{bare}")];
            if all.iter().all(|name| scope.is_free(name)) {
                all.iter().for_each(|name| drop(scope.unique(name)));
                break bare;
            }
            name = format!("{bare}_");
        };
        let mut out = format!(
            "/// C `{}`, as it is now.\npub fn {name}(&self) -> {ty} {{\n    self.0.get({at})\n}}\n\n",
            field.decl
        );
        if !writable {
            return out;
        }
        out.push_str(&format!(
            "/// Sets [`{bare}`](Self::{bare}).\n\
             pub fn set_{bare}(&self, value: {ty}) {{\n    self.0.set({at}, value);\n}}\n\n"
        ));
        if matches!(self.types.behind(&field.ty), Ty::Int { bits, .. } if *bits <= 64) {
            out.push_str(&format!(
                "/// [`{bare}`](Self::{bare}), leaving zero: one atomic swap. Exact where programs \
                 add atomically.\n\
                 pub fn take_{bare}(&self) -> {ty} {{\n    self.0.take({at})\n}}\n\n"
            ));
        }
        out
    }
}
