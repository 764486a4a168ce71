//! The map commands of `bpf(2)` as a trait, so that the walk can be tested
//! against a kernel that fails on demand.

use std::fmt;
use std::mem::MaybeUninit;

use super::pod::RawBytes;
use crate::raw::Shape;

/// An error number of the kernel.
///
/// `Display` gives the symbolic name and the text of the C library; 524, which
/// the C library does not know, is `ENOTSUPP`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    pub(crate) const PERM: Self = Self(libc_errno::EPERM as i32);
    pub(crate) const NOENT: Self = Self(libc_errno::ENOENT as i32);
    pub(crate) const INTR: Self = Self(libc_errno::EINTR as i32);
    pub(crate) const TOOBIG: Self = Self(libc_errno::E2BIG as i32);
    pub(crate) const AGAIN: Self = Self(libc_errno::EAGAIN as i32);
    pub(crate) const NOMEM: Self = Self(libc_errno::ENOMEM as i32);
    pub(crate) const ACCES: Self = Self(libc_errno::EACCES as i32);
    pub(crate) const BUSY: Self = Self(libc_errno::EBUSY as i32);
    pub(crate) const EXIST: Self = Self(libc_errno::EEXIST as i32);
    pub(crate) const INVAL: Self = Self(libc_errno::EINVAL as i32);
    pub(crate) const NOSPC: Self = Self(libc_errno::ENOSPC as i32);
    pub(crate) const DEADLK: Self = Self(libc_errno::EDEADLK as i32);
    pub(crate) const TIMEDOUT: Self = Self(libc_errno::ETIMEDOUT as i32);
    /// The kernel's internal `ENOTSUPP`, which reaches user space unchanged.
    pub(crate) const NOTSUPP: Self = Self(524);
    pub(crate) const OPNOTSUPP: Self = Self(libc_errno::EOPNOTSUPP as i32);

    /// The lock of a bucket, or memory, was not to be had; trying again helps.
    pub(crate) fn is_transient(self) -> bool {
        matches!(
            self,
            Self::INTR | Self::AGAIN | Self::BUSY | Self::DEADLK | Self::TIMEDOUT | Self::NOMEM
        )
    }
}

use nix::errno::Errno as libc_errno;

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 524 {
            return f.write_str("ENOTSUPP: not supported by this kernel for this kind of map");
        }
        let errno = libc_errno::from_raw(self.0);
        match errno {
            libc_errno::UnknownErrno => write!(f, "errno {}", self.0),
            known => write!(f, "{known:?}: {}", known.desc()),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}, {self})", self.0)
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

impl From<libc_errno> for Errno {
    fn from(errno: libc_errno) -> Self {
        Self(errno as i32)
    }
}

/// What a batch command does with the entries it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchOp {
    Lookup,
    LookupAndDelete,
}

/// The commands that a walk needs.
pub(crate) trait Commands {
    fn shape(&self) -> &Shape;

    /// One `LOOKUP_BATCH` or `LOOKUP_AND_DELETE_BATCH` for at most `*count`
    /// entries. `from` is `None` for the start of the map; `next` receives the
    /// cursor. On return `*count` says how many entries were written, also
    /// beside most errors.
    fn batch(
        &self,
        op: BatchOp,
        from: Option<&[u8]>,
        next: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
        count: &mut u32,
    ) -> Result<(), Errno>;

    /// The key behind `key`, or the first one.
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno>;

    /// The value of `key`, all CPUs of it for a per-CPU kind. The result is the
    /// part of `value` that was written.
    fn lookup<'v>(
        &self,
        key: &RawBytes,
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno>;

    /// Removes `key` and gives its value.
    fn lookup_and_delete<'v>(
        &self,
        key: &RawBytes,
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno>;
}
