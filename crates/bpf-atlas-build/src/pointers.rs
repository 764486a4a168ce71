//! Pointers in what a map holds.

use std::collections::BTreeSet;

use bpf_atlas_btf::{Btf, Kind, TypeId};

/// A pointer that was found.
pub(crate) struct Found {
    /// The field, `peer.sk`; empty for the type itself.
    pub(crate) path: String,
    /// The pointer's type.
    pub(crate) of: TypeId,
}

/// The first pointer in a type, if there is one.
pub(crate) fn find(btf: &Btf, id: TypeId) -> Option<Found> {
    look(btf, id, String::new(), &mut BTreeSet::new())
}

fn look(btf: &Btf, id: TypeId, path: String, seen: &mut BTreeSet<TypeId>) -> Option<Found> {
    let (resolved, of) = btf.resolve(id).ok()?;
    match &of.kind {
        Kind::Ptr(_) => Some(Found { path, of: id }),
        Kind::Array { len: 0, .. } => None,
        // What was looked at holds none, or the search would be over.
        Kind::Array { .. } | Kind::Composite { .. } if !seen.insert(resolved) => None,
        Kind::Array { element, .. } => look(btf, *element, format!("{path}[]"), seen),
        Kind::Composite { members, .. } => members.iter().find_map(|member| {
            let inner = match (path.as_str(), member.name.as_str()) {
                (path, "") => path.to_owned(),
                ("", name) => name.to_owned(),
                (path, name) => format!("{path}.{name}"),
            };
            look(btf, member.of, inner, seen)
        }),
        _ => None,
    }
}
