//! The capabilities of the calling thread.

use nix::libc;

/// `_LINUX_CAPABILITY_VERSION_3`: 64 capabilities in two halves.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, of 32 capabilities.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Those in effect, a bit each; none where the kernel does not tell. One `capget`.
pub(crate) fn effective() -> u64 {
    // 0 is the calling thread.
    let mut header = Header { version: VERSION, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: the kernel reads and writes a header, and of this version writes two halves;
    // both are as the kernel lays them out, and writable.
    let ret = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    if ret != 0 {
        return 0;
    }
    let [low, high] = halves.map(|half| u64::from(half.effective));
    low | high << 32
}
