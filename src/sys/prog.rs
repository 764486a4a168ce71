//! What the kernel tells of a program.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::commands::Errno;

/// `recursion_misses` of `BPF_OBJ_GET_INFO_BY_FD`; 0 from a kernel that does
/// not count them.
pub(crate) fn recursion_misses(program: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: `info` is writable for `len` bytes, and the kernel writes no more,
    // whatever kind of descriptor it is given. `info` is all zero: the arrays
    // that it could ask for have the length 0, so there is no pointer to write
    // through.
    let ret =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut len) };
    if ret < 0 { Err(Errno(-ret)) } else { Ok(info.recursion_misses) }
}
