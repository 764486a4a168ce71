//! A value that tells whose it is, and whether it is whole.

use bpf_atlas::Pod;

/// 64 bytes, written to one key: eight words that all follow from the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod)]
#[repr(C)]
pub struct Stamp {
    key: u64,
    version: u64,
    checks: [u64; 6],
}

impl Stamp {
    pub fn new(key: u32, version: u64) -> Self {
        let check = |n: u64| version.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(key) ^ n;
        Self {
            key: key.into(),
            version,
            checks: [check(0), check(1), check(2), check(3), check(4), check(5)],
        }
    }

    /// Whether this was written, as a whole, to `key`.
    pub fn is_of(&self, key: u32) -> bool {
        *self == Self::new(key, self.version)
    }

    /// Whether this was written, as a whole, to any key.
    pub fn is_whole(&self) -> bool {
        *self == Self::new(self.key as u32, self.version)
    }
}
