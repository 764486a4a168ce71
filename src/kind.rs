//! [`MapKind`] and [`MapName`]: the kernel's words for a map.

use std::fmt;

macro_rules! kinds {
    ($($variant:ident = $number:literal, $word:literal;)*) => {
        /// A kind of BPF map, in the kernel's words: `BPF_MAP_TYPE_…`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum MapKind {
            $(
                #[doc = concat!("`BPF_MAP_TYPE_", $word, "`")]
                $variant,
            )*
            /// A kind that this version of the crate has no name for.
            Other(u32),
        }

        impl MapKind {
            /// From the kernel's number, `enum bpf_map_type`.
            pub const fn from_raw(raw: u32) -> Self {
                match raw {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }

            /// The kernel's number.
            pub const fn as_raw(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(other) => other,
                }
            }
        }

        impl fmt::Display for MapKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str(concat!("BPF_MAP_TYPE_", $word)),)*
                    Self::Other(other) => write!(f, "BPF_MAP_TYPE number {other}"),
                }
            }
        }
    };
}

kinds! {
    Hash = 1, "HASH";
    Array = 2, "ARRAY";
    ProgArray = 3, "PROG_ARRAY";
    PerfEventArray = 4, "PERF_EVENT_ARRAY";
    PerCpuHash = 5, "PERCPU_HASH";
    PerCpuArray = 6, "PERCPU_ARRAY";
    StackTrace = 7, "STACK_TRACE";
    CgroupArray = 8, "CGROUP_ARRAY";
    LruHash = 9, "LRU_HASH";
    LruPerCpuHash = 10, "LRU_PERCPU_HASH";
    LpmTrie = 11, "LPM_TRIE";
    ArrayOfMaps = 12, "ARRAY_OF_MAPS";
    HashOfMaps = 13, "HASH_OF_MAPS";
    DevMap = 14, "DEVMAP";
    SockMap = 15, "SOCKMAP";
    CpuMap = 16, "CPUMAP";
    XskMap = 17, "XSKMAP";
    SockHash = 18, "SOCKHASH";
    CgroupStorage = 19, "CGROUP_STORAGE";
    ReusePortSockArray = 20, "REUSEPORT_SOCKARRAY";
    PerCpuCgroupStorage = 21, "PERCPU_CGROUP_STORAGE";
    Queue = 22, "QUEUE";
    Stack = 23, "STACK";
    SkStorage = 24, "SK_STORAGE";
    DevMapHash = 25, "DEVMAP_HASH";
    StructOps = 26, "STRUCT_OPS";
    RingBuf = 27, "RINGBUF";
    InodeStorage = 28, "INODE_STORAGE";
    TaskStorage = 29, "TASK_STORAGE";
    BloomFilter = 30, "BLOOM_FILTER";
    UserRingBuf = 31, "USER_RINGBUF";
    CgrpStorage = 32, "CGRP_STORAGE";
    Arena = 33, "ARENA";
    InsnArray = 34, "INSN_ARRAY";
}

impl MapKind {
    /// Whether each possible CPU has a value of its own.
    pub const fn is_per_cpu(self) -> bool {
        matches!(
            self,
            Self::PerCpuHash | Self::PerCpuArray | Self::LruPerCpuHash | Self::PerCpuCgroupStorage
        )
    }

    /// Whether it has records, and neither keys nor values.
    pub(crate) const fn is_ring(self) -> bool {
        matches!(self, Self::RingBuf | Self::UserRingBuf)
    }

    /// Whether its keys are the numbers from 0 to `max_entries`.
    pub(crate) const fn is_array(self) -> bool {
        matches!(self, Self::Array | Self::PerCpuArray)
    }
}

/// The name of a map as the kernel keeps it: at most 15 bytes.
///
/// Copied into every error, so that a message always says which map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MapName([u8; 16]);

impl MapName {
    /// From the kernel's NUL-terminated bytes.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From text, cut at the kernel's 15 bytes.
    pub(crate) fn from_text(text: &str) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes[..15].iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self(bytes)
    }

    /// The name as text; empty for a map without one.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..len]).unwrap_or("?")
    }
}

impl fmt::Display for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.as_str() {
            "" => "(unnamed)",
            name => name,
        })
    }
}

impl fmt::Debug for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq<str> for MapName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for MapName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_where_the_kernel_cuts_them() {
        assert_eq!(MapName::from_text("a_map_with_a_long_name"), "a_map_with_a_lo");
        assert_eq!(MapName::default().to_string(), "(unnamed)");
    }

    #[test]
    fn kinds_keep_the_numbers_of_the_kernel() {
        for raw in 0..64 {
            assert_eq!(MapKind::from_raw(raw).as_raw(), raw);
        }
        assert_eq!(MapKind::from_raw(libbpf_sys::BPF_MAP_TYPE_RINGBUF), MapKind::RingBuf);
        assert_eq!(MapKind::from_raw(libbpf_sys::BPF_MAP_TYPE_ARENA), MapKind::Arena);
        assert_eq!(MapKind::LruHash.to_string(), "BPF_MAP_TYPE_LRU_HASH");
    }
}
