//! Attaching XDP programs, in the mode that is asked for: libbpf's own
//! `bpf_program__attach_xdp` leaves the mode to the kernel.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::commands::Errno;

/// `BPF_LINK_CREATE` of `program` on an interface of the thread's network
/// namespace, with `XDP_FLAGS_*`. The program is attached as long as the link
/// is open. Since Linux 5.9.
pub(crate) fn link(program: BorrowedFd<'_>, ifindex: i32, flags: u32) -> Result<OwnedFd, Errno> {
    let opts = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        flags,
        ..Default::default()
    };
    // SAFETY: `opts` outlives the call, `sz` is its size, and all that libbpf
    // could follow a pointer from is zero. The other arguments are integers.
    let ret = unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex, libbpf_sys::BPF_XDP, &opts)
    };
    if ret < 0 {
        return Err(Errno(-ret));
    }
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(ret) })
}
