//! What an error number means, by what is known of the map and the process.

use std::os::fd::AsFd;
use std::path::Path;

use crate::caps::Capability;
use crate::error::{Errno, Error, Op, OpenError, ReadOnlyBecause};
use crate::info::FdInfo;
use crate::raw::RawMap;

impl RawMap {
    /// The error for `errno`, explained by what is known of the map.
    #[cold]
    pub(crate) fn explain(&self, op: Op, errno: Errno) -> Error {
        let map = self.name();
        match errno {
            Errno::TOOBIG | Errno::NOSPC if matches!(op, Op::Update | Op::UpdateBatch) => {
                Error::Full { map, max_entries: self.max_entries() }
            }
            Errno::PERM | Errno::ACCES => self.explain_denied(op),
            Errno::NOTSUPP | Errno::OPNOTSUPP => Error::Unsupported { map, op, needs: needs(op) },
            errno if errno.is_transient() => Error::Busy { map, op, errno },
            errno => Error::Sys { map, op, errno },
        }
    }

    fn explain_denied(&self, op: Op) -> Error {
        let map = self.name();
        let facts = FdInfo::of(self.as_fd());
        let writes = !matches!(op, Op::Lookup | Op::LookupBatch | Op::GetNextKey);
        let reads = !matches!(op, Op::Update | Op::Delete | Op::UpdateBatch | Op::DeleteBatch);
        if writes && facts.frozen {
            return Error::ReadOnly { map, because: ReadOnlyBecause::Frozen };
        }
        if writes && facts.read_only {
            return Error::ReadOnly { map, because: ReadOnlyBecause::Descriptor };
        }
        if reads && facts.write_only {
            return Error::WriteOnly { map };
        }
        let missing = Capability::first_missing(&[Capability::Bpf]);
        Error::PermissionDenied { map, op, missing }
    }
}

/// What a command that the kernel does not know would take.
fn needs(op: Op) -> &'static str {
    match op {
        Op::LookupAndDelete => "Linux 5.14 for a hash, and a kind that can take an element out",
        Op::LookupBatch | Op::UpdateBatch | Op::DeleteBatch | Op::LookupAndDeleteBatch => {
            "Linux 5.6 (5.13 for per-CPU arrays)"
        }
        Op::Freeze => "Linux 5.2",
        Op::Mmap => "Linux 5.5 and a map created with BPF_F_MMAPABLE",
        _ => "another kind of map or a newer kernel",
    }
}

pub(crate) fn open_denied(what: String, op: Op, errno: Errno, wanted: &[Capability]) -> OpenError {
    if matches!(errno, Errno::PERM | Errno::ACCES) {
        return OpenError::PermissionDenied { what, missing: Capability::first_missing(wanted) };
    }
    OpenError::Sys { what, op, errno }
}

/// Why nothing was opened at `path`, which is `what`.
pub(crate) fn no_pin(path: &Path, what: &str, errno: Errno) -> OpenError {
    let what = what.into();
    if errno == Errno::NOENT {
        return OpenError::NotFound { what };
    }
    // The kernel answers EACCES to what is no pin, as to a pin of somebody else.
    let found = match path.metadata() {
        Ok(_) if !is_bpffs(path) => Some(format!("a file outside the BPF file system ({errno})")),
        Ok(file) if file.is_dir() => Some("a folder".into()),
        _ => None,
    };
    if let Some(found) = found {
        return OpenError::NotAMap { what, found };
    }
    // The permissions of a file are no matter of BPF's capabilities.
    let wanted: &[_] = if errno == Errno::ACCES { &[] } else { &[Capability::Bpf] };
    open_denied(what, Op::ObjGet, errno, wanted)
}

pub(crate) fn is_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path)
        .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC)
}
