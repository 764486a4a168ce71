//! [`Op`] and [`ReadOnlyBecause`]: the words of errors.

use std::fmt;

/// The command that an error came from, in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `BPF_MAP_LOOKUP_ELEM`
    Lookup,
    /// `BPF_MAP_UPDATE_ELEM`
    Update,
    /// `BPF_MAP_DELETE_ELEM`
    Delete,
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`
    LookupAndDelete,
    /// `BPF_MAP_GET_NEXT_KEY`
    GetNextKey,
    /// `BPF_MAP_LOOKUP_BATCH`
    LookupBatch,
    /// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`
    LookupAndDeleteBatch,
    /// `BPF_MAP_UPDATE_BATCH`
    UpdateBatch,
    /// `BPF_MAP_DELETE_BATCH`
    DeleteBatch,
    /// `BPF_MAP_FREEZE`
    Freeze,
    /// `BPF_OBJ_PIN`
    Pin,
    /// `BPF_OBJ_GET`
    ObjGet,
    /// `BPF_OBJ_GET_INFO_BY_FD`
    Info,
    /// `BPF_MAP_GET_FD_BY_ID`
    GetFdById,
    /// `BPF_MAP_CREATE`
    Create,
    /// `mmap(2)`
    Mmap,
    /// `ppoll(2)`
    Poll,
    /// `BPF_PROG_TEST_RUN`
    Run,
    /// `BPF_ITER_CREATE`, and `read(2)` of the iterator
    ReadIter,
    /// The choice of a [`WakeUp`](crate::WakeUp)
    WakeUp,
    /// The reading of a ring's totals
    RingTotals,
    /// `fcntl(2)` that duplicates a descriptor
    Duplicate,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "BPF_MAP_LOOKUP_ELEM",
            Self::Update => "BPF_MAP_UPDATE_ELEM",
            Self::Delete => "BPF_MAP_DELETE_ELEM",
            Self::LookupAndDelete => "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
            Self::GetNextKey => "BPF_MAP_GET_NEXT_KEY",
            Self::LookupBatch => "BPF_MAP_LOOKUP_BATCH",
            Self::LookupAndDeleteBatch => "BPF_MAP_LOOKUP_AND_DELETE_BATCH",
            Self::UpdateBatch => "BPF_MAP_UPDATE_BATCH",
            Self::DeleteBatch => "BPF_MAP_DELETE_BATCH",
            Self::Freeze => "BPF_MAP_FREEZE",
            Self::Pin => "BPF_OBJ_PIN",
            Self::ObjGet => "BPF_OBJ_GET",
            Self::Info => "BPF_OBJ_GET_INFO_BY_FD",
            Self::GetFdById => "BPF_MAP_GET_FD_BY_ID",
            Self::Create => "BPF_MAP_CREATE",
            Self::Mmap => "mmap",
            Self::Poll => "ppoll",
            Self::Run => "BPF_PROG_TEST_RUN",
            Self::ReadIter => "BPF_ITER_CREATE and read",
            Self::WakeUp => "choosing a wake-up",
            Self::RingTotals => "reading the totals",
            Self::Duplicate => "fcntl(F_DUPFD_CLOEXEC)",
        })
    }
}

/// Why a map refuses to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadOnlyBecause {
    /// It was frozen: no program of user space may ever write it again.
    Frozen,
    /// This descriptor was opened read-only (`BPF_F_RDONLY`).
    Descriptor,
}

impl fmt::Display for ReadOnlyBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frozen => "it is frozen, for good: create it anew to write it from user space",
            Self::Descriptor => {
                "this descriptor is read-only (BPF_F_RDONLY): open the map without that flag"
            }
        })
    }
}
