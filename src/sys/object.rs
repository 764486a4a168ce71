//! What libbpf knows of the maps of an object.

use std::ffi::CStr;

use libbpf_rs::{AsRawLibbpf, Map, Object};

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

/// The BTF that the object brought with it.
pub(crate) fn btf(object: &Object) -> Option<Vec<u8>> {
    let mut len = 0;
    // SAFETY: the object is borrowed and open; libbpf gives its BTF or null.
    let btf = unsafe { libbpf_sys::bpf_object__btf(object.as_libbpf_object().as_ptr()) };
    if btf.is_null() {
        return None;
    }
    // SAFETY: `btf` belongs to the object, which is borrowed.
    let data = unsafe { libbpf_sys::btf__raw_data(btf, &mut len) };
    if data.is_null() {
        return None;
    }
    // SAFETY: libbpf says that `len` bytes lie there, which it keeps as long as
    // the object; they are copied at once.
    Some(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len as usize) }.to_vec())
}

/// The kernel's id of the BTF that the object was loaded with.
pub(crate) fn btf_id(object: &Object) -> Option<u32> {
    // SAFETY: the object is borrowed; takes it and returns an integer.
    let fd = unsafe { libbpf_sys::bpf_object__btf_fd(object.as_libbpf_object().as_ptr()) };
    if fd < 0 {
        return None;
    }
    let mut info = libbpf_sys::bpf_btf_info::default();
    let mut len = size_of::<libbpf_sys::bpf_btf_info>() as u32;
    // SAFETY: `info` is writable for `len` bytes, and asks for no bytes of BTF.
    let ret = unsafe { libbpf_sys::bpf_btf_get_info_by_fd(fd, &mut info, &mut len) };
    (ret == 0).then_some(info.id)
}
