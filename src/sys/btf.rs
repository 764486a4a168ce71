//! BTF from the kernel, by its id.

use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::commands::Errno;

/// The bytes of the BTF object `id`: `BPF_BTF_GET_FD_BY_ID`, then
/// `BPF_OBJ_GET_INFO_BY_FD` twice, for the size and for the bytes.
pub(crate) fn by_id(id: u32) -> Result<Vec<u8>, Errno> {
    // SAFETY: takes and returns integers.
    let fd = unsafe { libbpf_sys::bpf_btf_get_fd_by_id(id) };
    if fd < 0 {
        return Err(Errno(-fd));
    }
    // SAFETY: a descriptor that the kernel has just made for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut bytes = Vec::new();
    loop {
        let mut info = libbpf_sys::bpf_btf_info {
            btf: bytes.as_mut_ptr() as u64,
            btf_size: bytes.len() as u32,
            ..Default::default()
        };
        let mut len = size_of::<libbpf_sys::bpf_btf_info>() as u32;
        // SAFETY: `info` is writable for `len` bytes, and the kernel writes at
        // most `btf_size` bytes to `btf`: the length of `bytes`.
        let ret =
            unsafe { libbpf_sys::bpf_btf_get_info_by_fd(fd.as_raw_fd(), &mut info, &mut len) };
        if ret < 0 {
            return Err(Errno(-ret));
        }
        let size = info.btf_size as usize;
        if size <= bytes.len() {
            bytes.truncate(size);
            return Ok(bytes);
        }
        bytes.resize(size, 0);
    }
}
