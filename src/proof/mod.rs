//! The proof that a Rust type is the map's C type: [`Layout`] against BTF.
//!
//! Field by field: name, offset, size, sign, array length, nesting. Typedefs
//! and qualifiers are looked through. Padding is bytes that no named field
//! covers, whatever the two sides call it. Every difference is listed, not the
//! first.

mod compare;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

use bpf_atlas_btf::{Btf, Error as BtfError};

use self::compare::compare;
pub use self::table::Mismatch;
use crate::error::{Errno, OpenError};
use crate::layout::Layout;
use crate::raw::Shape;

/// How far the types of an open map were proved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Key and value were compared with the BTF of the map, field by field.
    Btf,
    /// Only the sizes could be compared.
    SizesOnly(Unproved),
}

/// Why types could not be compared field by field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unproved {
    /// The map was created without BTF, as maps made by
    /// `create` are, and those of kinds that the kernel allows none for.
    NoBtf,
    /// The kernel gives the BTF of a map by its id to `CAP_SYS_ADMIN` only.
    NotPermitted,
    /// The map's BTF could not be read.
    Unreadable(String),
}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBtf => f.write_str("the map has no BTF"),
            Self::NotPermitted => f.write_str("CAP_SYS_ADMIN is missing to fetch the map's BTF"),
            Self::Unreadable(why) => write!(f, "the map's BTF could not be read: {why}"),
        }
    }
}

/// Proves the key and value types of a map, as far as the kernel tells.
///
/// Three system calls where the map has BTF, none otherwise.
pub(crate) fn of_map(shape: &Shape, key: &Layout, value: &Layout) -> Result<Proof, OpenError> {
    let ids = [("key", key, shape.btf_key_type_id), ("value", value, shape.btf_value_type_id)];
    // An id of 0 is unknown, not void: the kernel wants none for some kinds.
    if shape.btf_id == 0 || ids.iter().all(|(.., id)| *id == 0) {
        return Ok(Proof::SizesOnly(Unproved::NoBtf));
    }
    let bytes = match crate::sys::btf::by_id(shape.btf_id) {
        Ok(bytes) => bytes,
        Err(Errno::PERM | Errno::ACCES) => {
            return Ok(Proof::SizesOnly(Unproved::NotPermitted));
        }
        Err(errno) => return Ok(Proof::SizesOnly(Unproved::Unreadable(errno.to_string()))),
    };
    let unreadable = |error: BtfError| Proof::SizesOnly(Unproved::Unreadable(error.to_string()));
    let btf = match Btf::parse(&bytes) {
        Ok(btf) => btf,
        Err(error) => return Ok(unreadable(error)),
    };
    let mut mismatches = Vec::new();
    for (role, layout, id) in ids.into_iter().filter(|(.., id)| *id != 0) {
        match compare(role, layout, &btf, id) {
            Ok(mismatch) => mismatches.extend(mismatch),
            Err(error) => return Ok(unreadable(error)),
        }
    }
    if mismatches.is_empty() {
        return Ok(Proof::Btf);
    }
    Err(OpenError::Types { map: shape.name, mismatches })
}
