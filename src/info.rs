//! [`MapInfo`], and what `/proc` tells of a map's descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::kind::{MapKind, MapName};

/// What the kernel tells of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapInfo {
    /// Unique while the map lives.
    pub id: u32,
    /// At most 15 bytes.
    pub name: MapName,
    /// The kind of map.
    pub kind: MapKind,
    /// The size of a key in bytes.
    pub key_size: u32,
    /// The size of a value in bytes, of one CPU for a per-CPU kind.
    pub value_size: u32,
    /// The most entries; a ring buffer's size in bytes.
    pub max_entries: u32,
    /// `BPF_F_…` as the map was created.
    pub flags: u32,
    /// The BTF object that describes the types; 0 for unknown.
    pub btf_id: u32,
    /// The key's type in it; 0 for unknown.
    pub btf_key_type_id: u32,
    /// The value's type in it; 0 for unknown.
    pub btf_value_type_id: u32,
    /// Whether user space may no longer write it.
    pub frozen: bool,
    /// Kernel memory in bytes, as far as the kernel accounts it; 0 for unknown.
    pub memory: u64,
}

/// What `/proc/self/fdinfo` says of a descriptor.
#[derive(Default)]
pub(crate) struct FdInfo {
    pub(crate) frozen: bool,
    pub(crate) read_only: bool,
    pub(crate) write_only: bool,
    pub(crate) memory: u64,
}

impl FdInfo {
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Self {
        let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
        Self::parse(&std::fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        // The access mode of open(2): 0 read-only, 1 write-only, 2 both.
        let access = field("flags").and_then(|flags| u32::from_str_radix(flags, 8).ok());
        let access = access.map_or(2, |flags| flags & 3);
        Self {
            frozen: field("frozen") == Some("1"),
            read_only: access == 0,
            write_only: access == 1,
            memory: field("memlock").and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
        }
    }
}

/// What a descriptor is, when it is certainly no map. The kernel answers an
/// info command for programs, links and BTF too, with other fields.
pub(crate) fn not_a_map(fd: BorrowedFd<'_>) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    let target = target.to_string_lossy().into_owned();
    match target.strip_prefix("anon_inode:") {
        Some("bpf-map") => None,
        Some("bpf-prog") => Some("a BPF program".into()),
        Some("bpf_link") => Some("a BPF link".into()),
        Some("btf") => Some("a BTF object".into()),
        _ => Some(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_tells_access_and_freezing() {
        let info = FdInfo::parse("pos:\t0\nflags:\t02000002\nmemlock:\t4096\nfrozen:\t1\n");
        assert!(info.frozen && !info.read_only && !info.write_only);
        assert_eq!(info.memory, 4096);
        assert!(FdInfo::parse("flags:\t02000000\n").read_only);
        assert!(FdInfo::parse("flags:\t02000001\n").write_only);
        let unknown = FdInfo::parse("");
        assert!(!unknown.read_only && !unknown.write_only && !unknown.frozen);
    }
}
