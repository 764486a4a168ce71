//! [`CreateFlags`].

use std::ops::BitOr;

/// Flags of a map at its creation, joined with `|`.
///
/// ```
/// use bpf_atlas::CreateFlags;
/// let flags = CreateFlags::MMAPABLE | CreateFlags::RDONLY_PROG;
/// assert!(flags.contains(CreateFlags::MMAPABLE));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CreateFlags(u32);

impl CreateFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// `BPF_F_NO_PREALLOC`: a hash allocates elements as they come. Since Linux 4.6.
    pub const NO_PREALLOC: Self = Self(libbpf_sys::BPF_F_NO_PREALLOC);
    /// `BPF_F_NO_COMMON_LRU`: an LRU map keeps a list, and a share of the
    /// entries, for each CPU. Since Linux 4.10.
    pub const NO_COMMON_LRU: Self = Self(libbpf_sys::BPF_F_NO_COMMON_LRU);
    /// `BPF_F_RDONLY`: the new descriptor can only read. Since Linux 4.15.
    pub const RDONLY: Self = Self(libbpf_sys::BPF_F_RDONLY);
    /// `BPF_F_WRONLY`: the new descriptor can only write. Since Linux 4.15.
    pub const WRONLY: Self = Self(libbpf_sys::BPF_F_WRONLY);
    /// `BPF_F_RDONLY_PROG`: programs can only read. Since Linux 5.2.
    pub const RDONLY_PROG: Self = Self(libbpf_sys::BPF_F_RDONLY_PROG);
    /// `BPF_F_WRONLY_PROG`: programs can only write. Since Linux 5.2.
    pub const WRONLY_PROG: Self = Self(libbpf_sys::BPF_F_WRONLY_PROG);
    /// `BPF_F_MMAPABLE`: an array whose memory can be mapped. Since Linux 5.5.
    pub const MMAPABLE: Self = Self(libbpf_sys::BPF_F_MMAPABLE);

    /// The kernel's bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From the kernel's bits, known to this crate or not.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for CreateFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
