//! The module `types`.

use super::{Emit, doc, literal, message, quote};
use crate::decl;
use crate::types::{FieldKind, Item, ItemKind};

/// All types, in the order they were met.
pub(crate) fn types(emit: &Emit<'_>) -> String {
    let mut out = String::new();
    for item in &emit.types.items {
        if item.path.is_some() {
            out.push_str(&emit.own(item));
            continue;
        }
        let text = match &item.kind {
            ItemKind::Struct(made) => emit.structure(item, made),
            ItemKind::Union(union) => emit.union(item, union),
            ItemKind::Enum(made) => emit.enumeration(item, made),
            ItemKind::Alias(of) => format!(
                "{}pub type {} = {};\n",
                emit.quoted(item),
                item.rust,
                emit.types.rust(of, emit.krate(), "")
            ),
        };
        out.push_str(&text);
        out.push('\n');
    }
    out
}

impl Emit<'_> {
    /// What the documentation of a type begins with: its name and declaration.
    pub(super) fn quoted(&self, item: &Item) -> String {
        let mut out = self.user_docs(&item.c_name, None);
        out.push_str(&doc(&format!("C `{}`, {}.", item.c_name, super::bytes(item.size))));
        out.push_str("///\n");
        out.push_str(&quote(&decl::whole(self.btf, item.id)));
        out
    }

    /// What the user says, as the first lines of the documentation.
    pub(super) fn user_docs(&self, c_name: &str, field: Option<&str>) -> String {
        let texts = self.options.docs(c_name, field).into_iter();
        texts.map(|text| format!("{}///\n", doc(text))).collect()
    }

    /// `#[derive(…)]` with what the user added, and the user's attributes.
    /// `own` are those that the type cannot do without.
    pub(super) fn derives(&self, item: &Item, own: &[&str]) -> String {
        let krate = self.krate();
        let added = self.options.derives(&item.c_name);
        let mut all: Vec<String> = own
            .iter()
            .filter(|path| !added.iter().any(|added| last(added) == last(path)))
            .map(|path| (*path).to_owned())
            .collect();
        all.push(format!("{krate}::Pod"));
        // Of bpf_atlas.h, and nothing but totals.
        if item.c_name == "struct atlas_health" && !self.derived(item, "Accumulate") {
            all.push(format!("{krate}::Accumulate"));
        }
        all.extend(added.into_iter().cloned());
        let mut out = format!("#[derive({})]\n", all.join(", "));
        for attribute in self.options.attributes(&item.c_name, None) {
            out.push_str(&format!("#[{attribute}]\n"));
        }
        if krate != "::bpf_atlas" {
            out.push_str(&format!("#[pod(crate = {})]\n", literal(krate)));
        }
        out
    }

    /// Whether the user derives a trait of this name.
    pub(super) fn derived(&self, item: &Item, name: &str) -> bool {
        self.options.derives(&item.c_name).iter().any(|path| last(path) == name)
    }

    /// Proofs of what C says, for the user's own type.
    fn own(&self, item: &Item) -> String {
        let path = item.path.as_deref().unwrap_or(&item.rust);
        let krate = self.krate();
        let mut proofs = String::new();
        if let ItemKind::Struct(made) = &item.kind {
            for field in made.fields.iter().filter(|field| !field.c_name.is_empty()) {
                let ty = self.ty(&field.ty);
                let text = format!(
                    "C `{}` has `{}` at byte {}; Rust `{path}` has no field `{}` of that type there",
                    item.c_name, field.decl, field.offset, field.c_name
                );
                proofs.push_str(&format!(
                    "    ::core::assert!(\n        {krate}::__private::has_field(\n            \
                     &<{path} as {krate}::Pod>::LAYOUT,\n            {},\n            {},\n            \
                     &<{ty} as {krate}::Pod>::LAYOUT,\n        ),\n        {},\n    );\n",
                    literal(&field.c_name),
                    field.offset,
                    message(&text),
                ));
            }
        }
        // A field over C's padding: what C has no more, or not yet. Bytes that C
        // has no name for may be called anything.
        if let ItemKind::Struct(made) = &item.kind {
            let fields = || made.fields.iter().filter(|f| !matches!(f.kind, FieldKind::Padding));
            if fields().all(|field| !field.c_name.is_empty()) {
                let names: Vec<_> = fields().map(|field| literal(&field.c_name)).collect();
                let text = format!("Rust `{path}` has a field that C `{}` has not", item.c_name);
                proofs.push_str(&format!(
                    "    ::core::assert!(\n        {krate}::__private::has_only(\n            \
                     &<{path} as {krate}::Pod>::LAYOUT,\n            &[{}],\n        ),\n        \
                     {},\n    );\n",
                    names.join(", "),
                    message(&text),
                ));
            }
        }
        // Last: what fails first is what is told, and a field tells more.
        proofs.push_str(&self.size_proof(item, path));
        format!("const _: () = {{\n{proofs}}};\n\n")
    }

    /// The line that proves a size.
    pub(super) fn size_proof(&self, item: &Item, rust: &str) -> String {
        let text =
            format!("C `{}` has {}; Rust `{rust}` has not", item.c_name, super::bytes(item.size));
        format!(
            "    ::core::assert!(\n        ::core::mem::size_of::<{rust}>() == {},\n        {},\n    );\n",
            item.size,
            message(&text)
        )
    }
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path).trim()
}
