//! [`OpenError`].

use super::{Errno, Op};
use crate::caps::Capability;
use crate::{MapKind, MapName, Mismatch, Unproved};

/// A map could not be opened, created or taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The descriptor or pin is a BPF program, a link or something else.
    #[error("{what} is not a BPF map but {found}")]
    NotAMap {
        /// What was opened.
        what: String,
        /// What it is.
        found: String,
    },

    /// The map was never created in the kernel: its object is not loaded, or
    /// the map has `autocreate` off.
    #[error(
        "map `{map}` does not exist in the kernel: its object is not loaded or the map's \
         autocreate is off"
    )]
    NotLoaded {
        /// The map.
        map: MapName,
    },

    /// The map is of another kind.
    #[error("map `{map}` is a {found}; {wanted} wraps {expected}")]
    Kind {
        /// The map.
        map: MapName,
        /// The Rust type it was to be opened as.
        wanted: &'static str,
        /// The kind which that type wraps.
        expected: MapKind,
        /// The kind that the map has.
        found: MapKind,
    },

    /// The key type has another size than the map's keys.
    #[error("map `{map}` has keys of {kernel} bytes; the Rust type `{type_name}` has {rust} bytes")]
    KeySize {
        /// The map.
        map: MapName,
        /// The Rust type.
        type_name: &'static str,
        /// Its size.
        rust: usize,
        /// The size of the map's keys.
        kernel: u32,
    },

    /// The value type has another size than the map's values.
    #[error(
        "map `{map}` has values of {kernel} bytes; the Rust type `{type_name}` has {rust} bytes"
    )]
    ValueSize {
        /// The map.
        map: MapName,
        /// The Rust type.
        type_name: &'static str,
        /// Its size.
        rust: usize,
        /// The size of the map's values.
        kernel: u32,
    },

    /// A type's fields are not those of the C type: a table of all differences.
    #[error("map `{map}`: {}", join(.mismatches))]
    Types {
        /// The map.
        map: MapName,
        /// What differs: in the key, the value, or both.
        mismatches: Vec<Mismatch>,
    },

    /// A proof of the types was asked for, and the kernel gives none: sizes are
    /// all that could be compared.
    #[error("map `{map}`: its types are not proved, and a proof was required: {why}")]
    Unproved {
        /// The map.
        map: MapName,
        /// Why there is no proof.
        why: Unproved,
    },

    /// There is no such pin or map id.
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for.
        what: String,
    },

    /// The process may not do this.
    #[error("{what} needs {missing}; {}", missing.advice())]
    PermissionDenied {
        /// What was tried.
        what: String,
        /// The capability that the process lacks.
        missing: Capability,
    },

    /// This kernel, or this map, cannot do it.
    #[error("{what} is not supported here; it needs {needs}")]
    Unsupported {
        /// What was tried.
        what: String,
        /// What it would take.
        needs: &'static str,
    },

    /// An argument that the kernel would refuse without a reason.
    #[error("{what}")]
    InvalidArgument {
        /// What is wrong with it.
        what: String,
    },

    /// The ring has a reader already, or a user ring its sender; two would tear its
    /// records.
    #[error("ring `{map}` is in use already{}", by(.pid))]
    InUse {
        /// The ring.
        map: MapName,
        /// The process that reads it, where the kernel tells.
        pid: Option<u32>,
    },

    /// Anything else that the kernel refused.
    #[error("{what}: {op} failed: {errno}")]
    Sys {
        /// What was tried.
        what: String,
        /// The command.
        op: Op,
        /// What the kernel said.
        errno: Errno,
    },
}

fn join(mismatches: &[Mismatch]) -> String {
    mismatches.iter().map(Mismatch::to_string).collect::<Vec<_>>().join("\n")
}

fn by(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", by process {pid}"))
}

impl OpenError {
    /// The kernel's error number, where the error came with one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Sys { errno, .. } => Some(*errno),
            Self::PermissionDenied { .. } => Some(Errno::PERM),
            Self::NotFound { .. } => Some(Errno::NOENT),
            _ => None,
        }
    }
}
