//! Modules that bpf-atlas-build wrote, for the tests beside.

#![deny(warnings, missing_docs)]

use bpf_atlas::Pod;

bpf_atlas::include_bpf!(pub reference);
bpf_atlas::include_bpf!(pub kinds);
bpf_atlas::include_bpf!(pub events);
bpf_atlas::include_bpf!(pub keywords);
bpf_atlas::include_bpf!(pub pinned_v1);
bpf_atlas::include_bpf!(pub pinned_grown);
bpf_atlas::include_bpf!(pub pinned_shrunk);
bpf_atlas::include_bpf!(pub pinned_reordered);
bpf_atlas::include_bpf!(pub attach);
bpf_atlas::include_bpf!(pub ops);
bpf_atlas::include_bpf!(pub told);
bpf_atlas::include_bpf!(pub wide);
bpf_atlas::include_bpf!(pub kconfig);
pub mod safe;

/// Takes the place of C's `struct event` in `attach`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod)]
#[repr(C)]
pub struct Event {
    /// Calls.
    pub calls: u64,
    /// CPU.
    pub cpu: u32,
    /// Unused.
    pub pad: u32,
}
