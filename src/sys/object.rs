//! What libbpf knows of the maps of an object.

use std::ffi::CStr;

use libbpf_rs::{AsRawLibbpf, Map};

use crate::error::OpenError;
use crate::kind::MapName;

/// Whether the map exists in the kernel. libbpf-rs panics when asked for the
/// descriptor of one whose object is not loaded; for one with autocreate off
/// libbpf gives the descriptor of an empty file that holds the map's place.
pub(crate) fn loaded(map: &Map<'_>) -> Result<(), OpenError> {
    let ptr = map.as_libbpf_object().as_ptr();
    // SAFETY: `ptr` points to the `bpf_map` that `map` borrows.
    let fd = unsafe { libbpf_sys::bpf_map__fd(ptr) };
    // A map that was not created may still be one that was reused.
    if fd >= 0 && (map.autocreate() || !is_placeholder(fd)) {
        return Ok(());
    }
    // SAFETY: as above; libbpf's name is a C string that lives as long as the
    // map.
    let name = unsafe { CStr::from_ptr(libbpf_sys::bpf_map__name(ptr)) };
    Err(OpenError::NotLoaded { map: MapName::from_text(&name.to_string_lossy()) })
}

fn is_placeholder(fd: i32) -> bool {
    let target = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    target.is_ok_and(|target| target.to_string_lossy().contains("libbpf-placeholder-fd"))
}
