//! [`RingTotals`].

use crate::{Accumulate, Pod};

/// The totals beside a ring that `ATLAS_RING` of `bpf_atlas.h` declares: one
/// element a CPU, growing only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Accumulate)]
#[repr(C)]
pub struct RingTotals {
    /// Records handed over, those still unread among them.
    pub submitted: u64,
    /// Records that found no room.
    pub lost: u64,
}
