//! The proof that a Rust type is the map's C type: [`Layout`] against BTF.
//!
//! Field by field: name, offset, size, sign, array length, nesting. Typedefs
//! and qualifiers are looked through. Padding is bytes that no named field
//! covers, whatever the two sides call it. Every difference is listed, not the
//! first.

mod compare;
mod ring;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use bpf_atlas_btf::{Btf, TypeId};

use self::compare::compare;
pub(crate) use self::ring::of_ring;
pub use self::table::Mismatch;
use crate::error::{Errno, OpenError};
use crate::layout::Layout;
use crate::raw::{Declared, MapName, RawMap, Shape};

/// How far the types of an open map were proved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Key and value were compared with the BTF of the map, field by field.
    Btf,
    /// Key and value were compared with the BTF of the object that the map was
    /// created for, which is the map's own; the kernel does not give it to this
    /// process.
    ObjectBtf,
    /// Only the sizes could be compared. Of a ring not even those: records tell
    /// theirs one by one.
    SizesOnly(Unproved),
}

impl Proof {
    /// An error where sizes are all that was compared.
    pub(crate) fn required(&self, map: MapName) -> Result<(), OpenError> {
        match self {
            Self::Btf | Self::ObjectBtf => Ok(()),
            Self::SizesOnly(why) => Err(OpenError::Unproved { map, why: why.clone() }),
        }
    }
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

/// Proves the key and value types of a map, as far as the kernel tells, or else
/// the object that it was created for.
///
/// Three system calls where the map has BTF, once for all maps of an object; none otherwise.
pub(crate) fn of_map(map: &RawMap, key: &Layout, value: &Layout) -> Result<Proof, OpenError> {
    let ids = (map.shape().btf_key_type_id, map.shape().btf_value_type_id);
    by_btf(map, |btf| against(map, btf, ids, key, value))
}

/// Proves by the kernel's BTF of a map, or else by that of the object it was created
/// for. `against` gives an error for a difference; inside, why nothing could be
/// compared.
fn by_btf(
    map: &RawMap,
    against: impl Fn(&Btf) -> Result<Result<(), Unproved>, OpenError>,
) -> Result<Proof, OpenError> {
    let shape = map.shape();
    // The same id is the same BTF: a map that the object took from a pin or
    // another object has another.
    let declared = map.declared().filter(|declared| declared.id() == shape.btf_id);
    let unproved = match own_btf(shape, declared) {
        Ok(btf) => match against(&btf)? {
            Ok(()) => return Ok(Proof::Btf),
            Err(unproved) => unproved,
        },
        Err(unproved) => unproved,
    };
    if let Some(btf) = declared.and_then(Declared::own) {
        if against(btf)?.is_ok() {
            return Ok(Proof::ObjectBtf);
        }
    }
    Ok(Proof::SizesOnly(unproved))
}

/// The map's BTF from the kernel; all maps of an object have the same.
fn own_btf<'a>(shape: &Shape, declared: Option<&'a Declared>) -> Result<Cow<'a, Btf>, Unproved> {
    // An id of 0 is unknown, not void: the kernel wants none for some kinds.
    if shape.btf_id == 0 || (shape.btf_key_type_id, shape.btf_value_type_id) == (0, 0) {
        return Err(Unproved::NoBtf);
    }
    let fetch = || {
        let bytes = crate::sys::btf::by_id(shape.btf_id).map_err(|errno| match errno {
            Errno::PERM | Errno::ACCES => Unproved::NotPermitted,
            errno => Unproved::Unreadable(errno.to_string()),
        })?;
        Btf::parse(&bytes).map_err(|error| Unproved::Unreadable(error.to_string()))
    };
    match declared {
        Some(declared) => declared.kernels(fetch).map(Cow::Borrowed),
        None => fetch().map(Cow::Owned),
    }
}

/// Both types against BTF. An error for a difference; inside, why they could
/// not be compared.
fn against(
    map: &RawMap,
    btf: &Btf,
    ids: (TypeId, TypeId),
    key: &Layout,
    value: &Layout,
) -> Result<Result<(), Unproved>, OpenError> {
    let mut mismatches = Vec::new();
    for (role, layout, id) in [("key", key, ids.0), ("value", value, ids.1)] {
        // An array's index is the kernel's: 4 bytes, whatever C calls them.
        if id == 0 || (role == "key" && map.kind().is_array()) {
            continue;
        }
        match compare(role, layout, btf, id) {
            Ok(mismatch) => mismatches.extend(mismatch),
            Err(error) => return Ok(Err(Unproved::Unreadable(error.to_string()))),
        }
    }
    if mismatches.is_empty() {
        return Ok(Ok(()));
    }
    Err(OpenError::Types { map: map.name(), mismatches })
}
