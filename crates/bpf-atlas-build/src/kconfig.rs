//! `.kconfig`: what a program asks of the kernel's configuration, as `extern`
//! variables. The object says their types; libbpf lays them out when it opens
//! the object, by the rules that are repeated here. A generated module
//! compares both when it is loaded.

use bpf_atlas_btf::{Btf, Kind, SecVar, TypeId};

use crate::object::variable;

/// The variables where libbpf will put them, and the size of them all.
pub(crate) fn lay_out(btf: &Btf, vars: &[SecVar]) -> Option<(Vec<SecVar>, usize)> {
    let mut all = Vec::new();
    for var in vars {
        let (name, of) = variable(btf, var.var)?;
        all.push((align(btf, of)?, btf.size_of(of).ok()?, name, var.var));
    }
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut end = 0_usize;
    let mut placed = Vec::new();
    for (align, size, _, var) in all {
        let offset = end.checked_next_multiple_of(align)?;
        end = offset.checked_add(size)?;
        let (offset, size) = (u32::try_from(offset).ok()?, u32::try_from(size).ok()?);
        placed.push(SecVar { var, offset, size });
    }
    Some((placed, end))
}

/// libbpf takes integers, `bool`, `enum libbpf_tristate` and `char[N]`.
fn align(btf: &Btf, id: TypeId) -> Option<usize> {
    let (_, of) = btf.resolve(id).ok()?;
    let size = match of.kind {
        Kind::Array { element, .. } => btf.size_of(element).ok()?,
        Kind::Int { size, .. } | Kind::Enum { size, .. } => size as usize,
        _ => return None,
    };
    Some(size.clamp(1, 8))
}
