//! The pins of a ring and of the maps beside it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{OpenError, Result};
use crate::raw::{MapName, RawMap};

pub(super) const LOST: &str = "_lost";
pub(super) const WAKE: &str = "_wake";

fn path_beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = OsString::from(path);
    beside.push(suffix);
    beside.into()
}

/// Refuses the map that `ATLAS_RING` has declared beside another ring.
pub(super) fn check_name(ring: MapName, map: MapName, suffix: &str) -> Result<(), OpenError> {
    // The kernel keeps 15 bytes of a name.
    let own = MapName::from_text(&format!("{ring}{suffix}"));
    if map == own || !map.as_str().ends_with(suffix) {
        return Ok(());
    }
    let what = format!("map `{map}` belongs to another ring than `{ring}`, which has `{own}`");
    Err(OpenError::InvalidArgument { what })
}

/// The map that is pinned beside the ring at `path`, if one is.
pub(super) fn beside(path: &Path, suffix: &str) -> Result<Option<RawMap>, OpenError> {
    match RawMap::open_pinned(path_beside(path, suffix)) {
        Ok(map) => Ok(Some(map)),
        Err(OpenError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Pins all or none. The ring last: where it is, the others are.
pub(super) fn pin(
    path: &Path,
    ring: &RawMap,
    lost: Option<&RawMap>,
    wake: Option<&RawMap>,
) -> Result<()> {
    let mut pinned = Vec::new();
    let maps = [(lost, LOST), (wake, WAKE), (Some(ring), "")];
    for (map, suffix) in maps {
        let Some(map) = map else { continue };
        let at = path_beside(path, suffix);
        if let Err(error) = map.pin(&at) {
            for pin in pinned {
                // What is left of a failure is told by the failure.
                let _ = fs::remove_file(pin);
            }
            return Err(error);
        }
        pinned.push(at);
    }
    Ok(())
}
