//! What no C type does, found once for all types: to contain itself, to nest without
//! end, to hold something without a size.
//!
//! An array of no elements has no size and holds its type all the same: whoever asks
//! for the alignment goes on into it.

#[cfg(test)]
mod tests;

use crate::{Btf, Error, Kind, MAX_DEPTH, TypeId};

/// Not looked at yet; in the midst of it. Anything else is how deep a type nests.
const NEW: u32 = 0;
const OPEN: u32 = u32::MAX;

pub(crate) fn check(btf: &Btf) -> Result<(), Error> {
    nesting(btf, held)?;
    nesting(btf, named)?;
    btf.types().try_for_each(|(id, _)| has_size(btf, id))
}

/// The `n`th of what a type cannot be without: what it contains, what it is a name of.
fn held(kind: &Kind, n: usize) -> Option<TypeId> {
    match kind {
        Kind::Composite { members, .. } => members.get(n).map(|member| member.of),
        Kind::DataSec { vars, .. } => vars.get(n).map(|var| var.var),
        Kind::Ptr(_) => None,
        _ => named(kind, n),
    }
}

/// What it takes to write a type down. A struct or a function is written by its name.
fn named(kind: &Kind, n: usize) -> Option<TypeId> {
    match kind {
        Kind::Ptr(of)
        | Kind::Typedef(of)
        | Kind::Qualified(of)
        | Kind::Array { element: of, .. }
        | Kind::Var { of, .. }
            if n == 0 =>
        {
            Some(*of)
        }
        _ => None,
    }
}

/// Each type once, whatever holds it, and without recursion.
fn nesting(btf: &Btf, next: impl Fn(&Kind, usize) -> Option<TypeId>) -> Result<(), Error> {
    let mut depths = vec![NEW; btf.types().len()];
    let mut path = Vec::new();
    for (root, _) in btf.types() {
        if depths[root as usize] != NEW {
            continue;
        }
        depths[root as usize] = OPEN;
        path.push((root, 0, 1));
        while let Some((id, n, depth)) = path.last_mut() {
            let Some(inner) = next(&btf.get(*id)?.kind, *n) else {
                if *depth > MAX_DEPTH {
                    return Err(Error::TooDeep(*id));
                }
                depths[*id as usize] = *depth;
                path.pop();
                continue;
            };
            match depths[inner as usize] {
                OPEN => return Err(Error::Loop(inner)),
                NEW => {
                    depths[inner as usize] = OPEN;
                    path.push((inner, 0, 1));
                }
                known => {
                    *depth = (*depth).max(known + 1);
                    *n += 1;
                }
            }
        }
    }
    Ok(())
}

/// Whether what a type holds is more than declared. A member without a type is what
/// compilers make of one that they cannot tell.
fn has_size(btf: &Btf, id: TypeId) -> Result<(), Error> {
    let none = |of: TypeId| Ok(matches!(btf.resolve(of)?.1.kind, Kind::Enum { size: 0, .. }));
    let of = btf.get(id)?;
    let name = |member: &str| Error::NoSize { id, name: btf.c_name(id), member: member.into() };
    match &of.kind {
        Kind::Composite { members, .. } => members
            .iter()
            .try_for_each(|member| if none(member.of)? { Err(name(&member.name)) } else { Ok(()) }),
        Kind::Array { element: held, .. } | Kind::Var { of: held, .. } => {
            if none(*held)? {
                Err(name(""))
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}
