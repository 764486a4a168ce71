//! [`RawMap`]: an owned descriptor and the map's shape. Bytes only.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::caps::Capability;
use crate::cursor::Buffers;
pub use crate::declared::Declared;
use crate::error::{Errno, Error, Op, OpenError};
use crate::explain::{is_bpffs, no_pin, open_denied};
use crate::info::{FdInfo, MapInfo, not_a_map};
pub use crate::kind::{MapKind, MapName};
pub use crate::shape::{Shape, Spec};
use crate::source::MapSource;
use crate::sys::bpf::{self, Map};
use crate::sys::commands::Commands;

/// A map of any kind, as an owned descriptor without types.
///
/// The typed maps are made of one; use it to learn about a map of which the
/// type is not known. Clones share the descriptor.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let map = bpf_atlas::RawMap::open_pinned("/sys/fs/bpf/flows")?;
/// println!("{} is a {} of {} entries", map.name(), map.kind(), map.max_entries());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RawMap {
    inner: Arc<Inner>,
    batch: Option<u32>,
    declared: Option<Declared>,
}

struct Inner {
    map: Map,
    /// Walk buffers kept for the next walk, so that it allocates nothing.
    spare: Mutex<Option<Buffers>>,
}

impl RawMap {
    /// Opens any map of libbpf-rs, or any descriptor, by duplicating it. With
    /// another map of this crate it shares the descriptor, which costs nothing.
    ///
    /// Two system calls (`fcntl`, `BPF_OBJ_GET_INFO_BY_FD`) and a look at
    /// `/proc`. Since Linux 4.13.
    ///
    /// # Errors
    /// [`OpenError::NotLoaded`], [`OpenError::NotAMap`], [`OpenError::Sys`].
    pub fn open(source: impl MapSource) -> Result<Self, OpenError> {
        if let Some(map) = source.raw() {
            return Ok(Self { batch: None, ..map.clone() });
        }
        let fd = source.map_fd()?;
        let what = "this descriptor";
        let fd = fd.try_clone_to_owned().map_err(|error| OpenError::Sys {
            what: what.into(),
            op: Op::Duplicate,
            errno: Errno(error.raw_os_error().unwrap_or(0)),
        })?;
        Self::from_fd(fd, what)
    }

    /// With the BTF of the map's object.
    pub(crate) fn with_declared(self, declared: Option<Declared>) -> Self {
        Self { declared, ..self }
    }

    pub(crate) fn declared(&self) -> Option<&Declared> {
        self.declared.as_ref()
    }

    /// Opens the map pinned at `path`. One `BPF_OBJ_GET` more than [`open`](Self::open).
    ///
    /// # Errors
    /// [`OpenError::NotFound`] without such a pin, [`OpenError::NotAMap`] for a
    /// pinned program or link or for a file that is no pin,
    /// [`OpenError::PermissionDenied`], [`OpenError::Sys`].
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let what = format!("the pin {}", path.display());
        let fd = bpf::obj_get(&c_path(path)?).map_err(|errno| no_pin(path, &what, errno))?;
        Self::from_fd(fd, &what)
    }

    /// Opens the map with the kernel's `id`, as `bpftool map` lists it.
    /// One `BPF_MAP_GET_FD_BY_ID` more than [`open`](Self::open).
    ///
    /// # Errors
    /// [`OpenError::NotFound`] for an id that is gone,
    /// [`OpenError::PermissionDenied`] without `CAP_SYS_ADMIN`.
    pub fn open_id(id: u32) -> Result<Self, OpenError> {
        let what = format!("the map with id {id}");
        match bpf::fd_by_id(id) {
            Ok(fd) => Self::from_fd(fd, &what),
            Err(Errno::NOENT) => Err(OpenError::NotFound { what }),
            Err(errno) => Err(open_denied(what, Op::GetFdById, errno, &[Capability::SysAdmin])),
        }
    }

    /// Creates a map, without BTF.
    pub(crate) fn create(spec: &Spec<'_>) -> Result<Self, OpenError> {
        let what = format!("creating the {} `{}`", spec.kind, spec.name.escape_debug());
        let refuse = |why: &str| Err(OpenError::InvalidArgument { what: format!("{what}: {why}") });
        if spec.max_entries == 0 {
            return refuse("max_entries is 0; a map needs room for one entry at least");
        }
        if spec.key_size == 0 && !spec.kind.is_ring() {
            return refuse("the key type has no bytes");
        }
        if spec.value_size == 0 && !spec.kind.is_ring() {
            return refuse("the value type has no bytes");
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if !spec.name.chars().all(allowed) {
            return refuse("a map's name is made of ASCII letters, digits, `_` and `.`");
        }
        // The kernel keeps 15 bytes; libbpf cuts what is longer, and so do we.
        let name = CString::new(MapName::from_text(spec.name).as_str()).unwrap_or_default();
        let fd = bpf::create(
            spec.kind.as_raw(),
            &name,
            spec.key_size,
            spec.value_size,
            spec.max_entries,
            spec.flags,
        );
        match fd {
            Ok(fd) => Self::from_fd(fd, &what),
            Err(errno @ (Errno::PERM | Errno::ACCES)) => {
                Err(open_denied(what, Op::Create, errno, &[Capability::Bpf]))
            }
            Err(Errno::TOOBIG) => refuse(
                "keys, values or max_entries are larger than the kernel takes (a per-CPU value: 32 KiB)",
            ),
            Err(Errno::NOTSUPP | Errno::OPNOTSUPP) => Err(OpenError::Unsupported {
                what,
                needs: "a kernel that knows this kind of map with these flags",
            }),
            Err(errno) => Err(OpenError::Sys { what, op: Op::Create, errno }),
        }
    }

    fn from_fd(fd: OwnedFd, what: &str) -> Result<Self, OpenError> {
        if let Some(found) = not_a_map(fd.as_fd()) {
            return Err(OpenError::NotAMap { what: what.into(), found });
        }
        match Map::new(fd) {
            Ok(map) => {
                let inner = Arc::new(Inner { map, spare: Mutex::new(None) });
                Ok(Self { inner, batch: None, declared: None })
            }
            Err(errno) => Err(open_denied(what.into(), Op::Info, errno, &[Capability::Bpf])),
        }
    }

    pub(crate) fn sys(&self) -> &Map {
        &self.inner.map
    }

    pub(crate) fn shape(&self) -> &Shape {
        self.inner.map.shape()
    }

    /// The name that the kernel keeps, at most 15 bytes.
    pub fn name(&self) -> MapName {
        self.shape().name
    }

    /// The kind of map.
    pub fn kind(&self) -> MapKind {
        self.shape().kind
    }

    /// The kernel's id, unique while the map lives.
    pub fn id(&self) -> u32 {
        self.shape().id
    }

    /// The size of a key in bytes.
    pub fn key_size(&self) -> u32 {
        self.shape().key_size
    }

    /// The size of a value in bytes; of one CPU's value for a per-CPU kind.
    pub fn value_size(&self) -> u32 {
        self.shape().value_size
    }

    /// The most entries that the map takes; a ring buffer's size in bytes.
    pub fn max_entries(&self) -> u32 {
        self.shape().max_entries
    }

    /// Entries a batch asks for, where the user has chosen.
    pub(crate) fn batch(&self) -> Option<u32> {
        self.batch
    }

    pub(crate) fn with_batch(mut self, batch: u32) -> Result<Self, Error> {
        if batch == 0 {
            return Err(Error::InvalidArgument {
                map: self.name(),
                what: "a batch of 0 entries would never end; ask for 1 at least".into(),
            });
        }
        self.batch = Some(batch);
        Ok(self)
    }

    pub(crate) fn take_spare(&self) -> Option<Buffers> {
        self.inner.spare.try_lock().ok()?.take()
    }

    pub(crate) fn give_spare(&self, buffers: Buffers) {
        if let Ok(mut spare) = self.inner.spare.try_lock() {
            *spare = Some(buffers);
        }
    }

    /// What the kernel tells of the map now: a walk over `/proc`, no `bpf(2)` call.
    pub fn info(&self) -> MapInfo {
        let shape = self.shape();
        let facts = FdInfo::of(self.as_fd());
        MapInfo {
            id: shape.id,
            name: shape.name,
            kind: shape.kind,
            key_size: shape.key_size,
            value_size: shape.value_size,
            max_entries: shape.max_entries,
            flags: shape.flags,
            btf_id: shape.btf_id,
            btf_key_type_id: shape.btf_key_type_id,
            btf_value_type_id: shape.btf_value_type_id,
            frozen: facts.frozen,
            memory: facts.memory,
        }
    }

    /// Pins the map at `path`, in a mounted BPF file system, so that it
    /// outlives the process. One `BPF_OBJ_PIN`. Since Linux 4.4.
    ///
    /// # Errors
    /// [`Error::Pin`]: the path is taken, or lies outside a BPF file system.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let failed = |errno: Errno, why: String| Error::Pin {
            map: self.name(),
            path: path.into(),
            errno,
            why,
        };
        let c_path = c_path(path).map_err(|error| failed(Errno::INVAL, error.to_string()))?;
        self.sys().pin(&c_path).map_err(|errno| {
            let why = match errno {
                Errno::EXIST => "something is pinned there; remove it first".into(),
                Errno::NOENT => "its folder does not exist".into(),
                Errno::INVAL | Errno::PERM if path.parent().is_some_and(|dir| !is_bpffs(dir)) => {
                    "not in a BPF file system; mount one with `mount -t bpf none /sys/fs/bpf`"
                        .into()
                }
                errno => errno.to_string(),
            };
            failed(errno, why)
        })
    }

    /// Makes the map read-only to user space, for good; programs still write
    /// it. Frozen already is success. One `BPF_MAP_FREEZE`. Since Linux 5.2.
    ///
    /// # Errors
    /// [`Error::Busy`] while it is mapped into memory for writing,
    /// [`Error::ReadOnly`] through a read-only descriptor.
    pub fn freeze(&self) -> Result<(), Error> {
        match self.sys().freeze() {
            Ok(()) => Ok(()),
            Err(_) if FdInfo::of(self.as_fd()).frozen => Ok(()),
            Err(errno) => Err(self.explain(Op::Freeze, errno)),
        }
    }
}

impl AsFd for RawMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.map.as_fd()
    }
}

impl fmt::Debug for RawMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.shape();
        f.debug_struct("RawMap")
            .field("name", &shape.name)
            .field("kind", &shape.kind)
            .field("id", &shape.id)
            .field("key_size", &shape.key_size)
            .field("value_size", &shape.value_size)
            .field("max_entries", &shape.max_entries)
            .finish()
    }
}

fn c_path(path: &Path) -> Result<CString, OpenError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| OpenError::InvalidArgument {
        what: format!("the path {} holds a NUL byte", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_not_a_map() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let error = RawMap::open(file.as_fd()).unwrap_err();
        assert!(matches!(error, OpenError::NotAMap { .. }), "{error}");
    }
}
