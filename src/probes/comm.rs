//! [`Comm`]: the kernel's name of a task.

use std::borrow::Cow;
use std::fmt;

use crate::Pod;

/// The name of a task (`comm`): up to 15 bytes of any kind, which the task
/// chose itself. Not to be trusted, nor to be printed on a terminal as it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Pod)]
#[repr(transparent)]
pub struct Comm([u8; 16]);

impl Comm {
    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// As text; what is not UTF-8 becomes `U+FFFD`.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl From<[u8; 16]> for Comm {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_string_lossy())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string_lossy(), f)
    }
}
