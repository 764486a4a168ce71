//! [`OpenError`] when a map is opened, [`Error`] when it is used.
//!
//! No error is ever taken for an end or an absence, and each says which map,
//! which command and, where the kernel gave one, which error number.

mod open;

use std::path::PathBuf;

use crate::MapName;
use crate::caps::Capability;
pub use crate::op::{Op, ReadOnlyBecause};
pub use crate::sys::commands::Errno;
pub use open::OpenError;

/// What the crate's fallible calls on an open map return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A command on an open map failed.
///
/// Every variant names the map; [`errno`](Self::errno) gives the kernel's error
/// number where there was one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A new key found no room (`E2BIG`, or `ENOSPC` of an LPM trie). Keys
    /// that are in the map can still be updated.
    #[error(
        "map `{map}` is full: it holds its {max_entries} entries and takes no new key; \
         raise max_entries or delete finished keys"
    )]
    Full {
        /// The map.
        map: MapName,
        /// The most entries it takes.
        max_entries: u32,
    },

    /// An array has no such index.
    #[error("map `{map}` has no index {index}: it has {max_entries} entries, from 0")]
    IndexOutOfRange {
        /// The map.
        map: MapName,
        /// The index asked for.
        index: u32,
        /// How many entries the array has.
        max_entries: u32,
    },

    /// The map cannot be written (`EPERM`).
    #[error("map `{map}` cannot be written: {because}")]
    ReadOnly {
        /// The map.
        map: MapName,
        /// Why.
        because: ReadOnlyBecause,
    },

    /// The map cannot be read through this descriptor (`EPERM`).
    #[error(
        "map `{map}` cannot be read: this descriptor is write-only (BPF_F_WRONLY); \
         open the map without that flag"
    )]
    WriteOnly {
        /// The map.
        map: MapName,
    },

    /// The process may not do this (`EPERM`).
    #[error("{op} on map `{map}` needs {missing}; {}", missing.advice())]
    PermissionDenied {
        /// The map.
        map: MapName,
        /// The command.
        op: Op,
        /// The capability that the process lacks.
        missing: Capability,
    },

    /// The kernel or this kind of map does not know the command (524
    /// `ENOTSUPP`, and `EINVAL` where that means the same).
    #[error("{op} on map `{map}` is not supported here; it needs {needs}")]
    Unsupported {
        /// The map.
        map: MapName,
        /// The command.
        op: Op,
        /// What it would take.
        needs: &'static str,
    },

    /// The map's lock, or memory for an element, was not to be had, also after
    /// retries (`EBUSY`, `EDEADLK`, `ETIMEDOUT`, `ENOMEM`, `EAGAIN`).
    #[error("{op} on map `{map}` {} ({errno})", busy(.op))]
    Busy {
        /// The map.
        map: MapName,
        /// The command.
        op: Op,
        /// What the kernel said last.
        errno: Errno,
    },

    /// A walk could not be finished. What it had found was delivered.
    #[error("the walk of map `{map}` was given up after {delivered} entries: {why}")]
    WalkInterrupted {
        /// The map.
        map: MapName,
        /// How many entries the walk had delivered.
        delivered: usize,
        /// Why it could not go on.
        why: &'static str,
    },

    /// This process has no memory for the buffers of the command.
    #[error("no memory for {bytes} bytes of buffers for map `{map}`")]
    OutOfMemory {
        /// The map.
        map: MapName,
        /// How much was asked for.
        bytes: usize,
    },

    /// An argument that no map could take.
    #[error("map `{map}`: {what}")]
    InvalidArgument {
        /// The map.
        map: MapName,
        /// What is wrong with it.
        what: String,
    },

    /// A batch of writes stopped half-way.
    #[error("{op} on map `{map}` stopped after {done} entries: {source}")]
    Partial {
        /// The map.
        map: MapName,
        /// The command.
        op: Op,
        /// How many entries were written or deleted before.
        done: usize,
        /// Why it stopped.
        source: Box<Error>,
    },

    /// A record of a ring buffer does not have the size of the event type. It
    /// was passed over and counted.
    #[error(
        "ring `{map}`: a record of {found} bytes where the event type has {expected}{}",
        if *.tail { " or more" } else { "; if bytes behind the event are meant, open the ring `with_tail`" }
    )]
    RecordSize {
        /// The ring.
        map: MapName,
        /// The size of the Rust type.
        expected: usize,
        /// The size of the record.
        found: usize,
        /// Whether bytes behind the event are allowed.
        tail: bool,
    },

    /// A record of a ring of several types of event has a tag that none of them
    /// has. It was passed over and counted.
    #[error("ring `{map}`: a record of {found} bytes is of kind {tag}, which no event has")]
    RecordKind {
        /// The ring.
        map: MapName,
        /// What the record says it is.
        tag: u64,
        /// The size of the record.
        found: usize,
    },

    /// A record for programs found no room in a user ring buffer: they have not
    /// taken enough of what was sent before.
    #[error(
        "ring `{map}` is full: programs have not taken {waiting} of its {capacity} bytes; wait, or \
         drain it more often"
    )]
    RingFull {
        /// The ring.
        map: MapName,
        /// Its size in bytes.
        capacity: usize,
        /// The bytes that are not taken yet, headers included.
        waiting: usize,
    },

    /// The positions or headers of a ring buffer make no sense: something else
    /// writes its consumer page.
    #[error("ring `{map}` is corrupt ({what}): does something else read the same ring?")]
    RingCorrupt {
        /// The ring.
        map: MapName,
        /// What made no sense.
        what: &'static str,
    },

    /// Pinning failed.
    #[error("cannot pin map `{map}` at {}: {why}", path.display())]
    Pin {
        /// The map.
        map: MapName,
        /// The path asked for.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
        /// That in words.
        why: String,
    },

    /// Anything else that the kernel refused.
    #[error("{op} on map `{map}` failed: {errno}")]
    Sys {
        /// The map.
        map: MapName,
        /// The command.
        op: Op,
        /// What the kernel said.
        errno: Errno,
    },
}

fn busy(op: &Op) -> &'static str {
    match op {
        Op::Freeze => "is refused while its memory is mapped for writing; drop its MappedArray",
        _ => "kept failing for want of a lock or memory; try again",
    }
}

impl Error {
    /// The kernel's error number, where the error came with one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Full { .. } => Some(Errno::TOOBIG),
            Self::ReadOnly { .. } | Self::WriteOnly { .. } | Self::PermissionDenied { .. } => {
                Some(Errno::PERM)
            }
            Self::Busy { errno, .. } | Self::Sys { errno, .. } | Self::Pin { errno, .. } => {
                Some(*errno)
            }
            Self::Partial { source, .. } => source.errno(),
            _ => None,
        }
    }

    /// Whether a new key, also half-way through a batch, or a record found no room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } | Self::RingFull { .. } => true,
            Self::Partial { source, .. } => source.is_full(),
            _ => false,
        }
    }
}
