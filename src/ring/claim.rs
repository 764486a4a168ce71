//! What rings of either direction do alike before their first record.

use std::os::fd::{AsFd, BorrowedFd};

use super::lock::ConsumerLock;
use crate::error::{Op, OpenError};
use crate::raw::{MapKind, RawMap, Spec};
use crate::sys::commands::Errno;
use crate::sys::mmap::page_size;

/// `BPF_F_RB_OVERWRITE`: producers overwrite what is not read yet, by another
/// protocol.
const OVERWRITE: u32 = 1 << 19;

/// A ring that is this process's to read, or to write, and its memory.
pub(super) struct Claim<P> {
    pub(super) raw: RawMap,
    pub(super) pages: P,
    pub(super) lock: ConsumerLock,
}

impl<P> Claim<P> {
    /// Claims a ring of `kind`, and maps it only then.
    pub(super) fn take(
        raw: RawMap,
        kind: MapKind,
        wanted: &'static str,
        pages: impl FnOnce(BorrowedFd<'_>, usize) -> Result<P, Errno>,
    ) -> Result<Self, OpenError> {
        let shape = raw.shape();
        let map = shape.name;
        if shape.kind != kind {
            return Err(OpenError::Kind { map, wanted, expected: kind, found: shape.kind });
        }
        if shape.flags & OVERWRITE != 0 {
            return Err(OpenError::Unsupported {
                what: format!("reading ring `{map}`, which overwrites (BPF_F_RB_OVERWRITE),"),
                needs: "a ring without that flag",
            });
        }
        let lock = ConsumerLock::take(shape.id, map)?;
        let pages = pages(raw.as_fd(), shape.max_entries as usize).map_err(|errno| {
            OpenError::Sys { what: format!("mapping ring `{map}`"), op: Op::Mmap, errno }
        })?;
        Ok(Self { raw, pages, lock })
    }
}

/// Creates a ring of `kind`, of a size that rings can have.
pub(super) fn create(kind: MapKind, name: &str, bytes: u32) -> Result<RawMap, OpenError> {
    let page = page_size() as u32;
    if !bytes.is_power_of_two() || bytes < page {
        return Err(OpenError::InvalidArgument {
            what: format!(
                "ring `{name}`: {bytes} bytes; a ring's size is a power of two and a multiple of \
                 the page of {page} bytes"
            ),
        });
    }
    RawMap::create(&Spec { kind, name, key_size: 0, value_size: 0, max_entries: bytes, flags: 0 })
}
