//! [`ProbeError`].

use crate::agent::LoadError;
use crate::caps::Capability;
use crate::error::{Errno, Error, OpenError};
use crate::object::ObjectError;

use super::AttachKind;

/// A probe could not be attached or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The process may not do this. Found before anything was loaded.
    #[error("{probe} needs {missing}; {}", missing.advice())]
    PermissionDenied {
        /// The probe.
        probe: &'static str,
        /// The first capability that the process lacks.
        missing: Capability,
    },

    /// An option that no probe could do.
    #[error("{probe}: {what}")]
    InvalidOption {
        /// The probe.
        probe: &'static str,
        /// What is wrong with it.
        what: String,
    },

    /// None of the ways to attach worked on this kernel.
    #[error("{probe} cannot be attached here{}", list(.tried))]
    NotAttached {
        /// The probe.
        probe: &'static str,
        /// Each way that was tried, with the reason that it failed.
        tried: Vec<(AttachKind, Box<ProbeError>)>,
    },

    /// This kernel or system lacks what a way to attach needs.
    #[error("{what} needs {needs}")]
    Unsupported {
        /// What was tried.
        what: String,
        /// What it would take.
        needs: &'static str,
    },

    /// The program could not be loaded or attached.
    #[error(transparent)]
    Load(#[from] LoadError),

    /// A map of the program is not what the probe takes it for.
    #[error(transparent)]
    Open(#[from] OpenError),

    /// The object of the program is not what the probe takes it for.
    #[error(transparent)]
    Object(ObjectError),

    /// A map could not be read.
    #[error(transparent)]
    Map(#[from] Error),

    /// The system refused something else.
    #[error("{what} failed: {errno}")]
    Sys {
        /// What was tried.
        what: String,
        /// What the kernel said.
        errno: Errno,
    },
}

impl From<ObjectError> for ProbeError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Load(error) => Self::Load(error),
            ObjectError::Map(error) => Self::Open(error),
            error => Self::Object(error),
        }
    }
}

/// A line for each reason, with the ways that it kept from working.
fn list(tried: &[(AttachKind, Box<ProbeError>)]) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    for (kind, error) in tried {
        let why = error.to_string();
        match lines.last_mut() {
            Some((kinds, last)) if *last == why => *kinds += &format!(", {kind}"),
            _ => lines.push((kind.to_string(), why)),
        }
    }
    lines.iter().map(|(kinds, why)| format!("\n  as {kinds}: {why}")).collect()
}

impl ProbeError {
    /// The capability that the process lacks, where that is the cause.
    pub fn missing(&self) -> Option<Capability> {
        match self {
            Self::PermissionDenied { missing, .. }
            | Self::Open(OpenError::PermissionDenied { missing, .. })
            | Self::Map(Error::PermissionDenied { missing, .. }) => Some(*missing),
            // The verifier's refusals have the same error number.
            Self::Load(error) if error.verifier_log().is_none() => error.missing(),
            Self::NotAttached { tried, .. } => tried.iter().find_map(|(_, error)| error.missing()),
            _ => None,
        }
    }
}
