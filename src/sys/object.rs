//! What libbpf knows of the maps of an object.

use std::ffi::CStr;

use libbpf_rs::{AsRawLibbpf, Map};

use crate::error::OpenError;
use crate::kind::MapName;

/// Whether the map exists in the kernel. libbpf-rs panics when asked for the
/// descriptor of one that does not.
pub(crate) fn loaded(map: &Map<'_>) -> Result<(), OpenError> {
    let ptr = map.as_libbpf_object().as_ptr();
    // SAFETY: `ptr` points to the `bpf_map` that `map` borrows.
    if unsafe { libbpf_sys::bpf_map__fd(ptr) } >= 0 {
        return Ok(());
    }
    // SAFETY: as above; libbpf's name is a C string that lives as long as the
    // map.
    let name = unsafe { CStr::from_ptr(libbpf_sys::bpf_map__name(ptr)) };
    Err(OpenError::NotLoaded { map: MapName::from_text(&name.to_string_lossy()) })
}
