//! Commands of `bpf(2)` as the kernel answers them, where the library hides
//! what a test is about.
#![allow(unsafe_code, reason = "the library's safe calls never show ENOSPC")]

use std::os::fd::{AsFd, AsRawFd};

/// How the kernel answered a batch of one size from one place.
pub struct Answer {
    /// Zero, or the error number.
    pub errno: i32,
    pub entries: Vec<(u32, u64)>,
    /// Where the next batch starts.
    pub next: u32,
}

/// One `BPF_MAP_LOOKUP_BATCH` for `count` entries of a hash of `u32` to `u64`.
pub fn lookup_batch(map: impl AsFd, from: Option<u32>, count: u32) -> Answer {
    let (mut keys, mut values) = (vec![0_u32; count as usize], vec![0_u64; count as usize]);
    let (mut from, mut next, mut found) = (from, 0_u32, count);
    let opts = libbpf_sys::bpf_map_batch_opts {
        sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as _,
        ..Default::default()
    };
    let from = from.as_mut().map_or(std::ptr::null_mut(), |from| std::ptr::from_mut(from).cast());
    // SAFETY: keys are of 4 bytes, values of 8 and a hash's cursor of 4, as the
    // caller promises; there is room for `count` of each.
    let ret = unsafe {
        libbpf_sys::bpf_map_lookup_batch(
            map.as_fd().as_raw_fd(),
            from,
            std::ptr::from_mut(&mut next).cast(),
            keys.as_mut_ptr().cast(),
            values.as_mut_ptr().cast(),
            &mut found,
            &opts,
        )
    };
    keys.truncate(found as usize);
    Answer { errno: -ret, entries: keys.into_iter().zip(values).collect(), next }
}
