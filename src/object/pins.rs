//! Pinned maps of other versions of a program: refused with all differences,
//! before libbpf would refuse them with none.

use std::path::Path;

use libbpf_rs::OpenMapMut;

use super::{MapSpec, ObjectError};
use crate::error::OpenError;
use crate::kind::MapKind;
use crate::proof;
use crate::raw::RawMap;

/// Whether a map can be taken for another that the object declares.
fn check_types(spec: &MapSpec, raw: &RawMap, require_proof: bool) -> Result<(), OpenError> {
    let map = raw.name();
    if raw.kind() != spec.kind() {
        let (expected, found) = (spec.kind(), raw.kind());
        return Err(OpenError::Kind { map, wanted: spec.name(), expected, found });
    }
    let (key, value) = spec.types();
    if let (Some(key), Some(value)) = (key, value) {
        // The table of differences tells more than two sizes do.
        let proof = proof::of_map(raw, key, value)?;
        if require_proof && spec.is_typed() {
            proof.required(map)?;
        }
    }
    if let Some(key) = key.filter(|key| key.size != raw.key_size() as usize) {
        let kernel = raw.key_size();
        return Err(OpenError::KeySize { map, type_name: key.name, rust: key.size, kernel });
    }
    if let Some(value) = value.filter(|value| value.size != raw.value_size() as usize) {
        let kernel = raw.value_size();
        return Err(OpenError::ValueSize { map, type_name: value.name, rust: value.size, kernel });
    }
    Ok(())
}

/// Whether a map of another object can take this one's place.
pub(super) fn check_shared(
    spec: &MapSpec,
    shared: &RawMap,
    require_proof: bool,
) -> Result<(), ObjectError> {
    Ok(check_types(spec, shared, require_proof)?)
}

/// Whether what is pinned at `path`, if anything is, can be gone on with.
pub(super) fn check(
    spec: &MapSpec,
    map: &OpenMapMut<'_>,
    path: &Path,
    require_proof: bool,
) -> Result<(), ObjectError> {
    let name = spec.name();
    let refuse = |why| ObjectError::Pin { map: name, path: path.into(), why };
    let raw = match RawMap::open_pinned(path) {
        Ok(raw) => raw,
        // Nothing is pinned there: libbpf will.
        Err(OpenError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(refuse(error)),
    };
    check_types(spec, &raw, require_proof).map_err(refuse)?;
    let pinned = raw.info();
    // libbpf finds out a perf array's number of CPUs later, and the kernel adds
    // a flag to the maps of devices.
    let counted = spec.kind() == MapKind::PerfEventArray;
    let flagged = matches!(spec.kind(), MapKind::DevMap | MapKind::DevMapHash);
    let facts = [
        ("max_entries", pinned.max_entries, map.max_entries(), counted),
        ("map_flags", pinned.flags, map.map_flags(), flagged),
        ("the key size", pinned.key_size, map.key_size(), false),
        ("the value size", pinned.value_size, map.value_size(), false),
    ];
    for (what, there, here, may_differ) in facts {
        if there != here && !may_differ {
            let what = format!("{what} is {there} there and {here} here");
            return Err(ObjectError::PinShape { map: name, path: path.into(), what });
        }
    }
    Ok(())
}
