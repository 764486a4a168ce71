//! What libbpf-rs cannot ask of a map that is not loaded yet.

use libbpf_rs::{AsRawLibbpf, OpenMapMut};

use super::commands::Errno;

/// Takes back that the map is to be pinned.
pub(crate) fn forget_pin_path(map: &mut OpenMapMut<'_>) -> Result<(), Errno> {
    let ptr = map.as_libbpf_object().as_ptr();
    // SAFETY: `ptr` points to the `bpf_map` that `map` borrows alone; no path
    // means that there is none.
    match unsafe { libbpf_sys::bpf_map__set_pin_path(ptr, std::ptr::null()) } {
        0 => Ok(()),
        error => Err(Errno(-error)),
    }
}
