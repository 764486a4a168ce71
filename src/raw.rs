//! [`RawMap`]: an owned descriptor and the map's shape. Bytes only.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::caps::Capability;
use crate::cursor::Buffers;
use crate::error::{Errno, Error, Op, OpenError, ReadOnlyBecause};
pub use crate::kind::{MapKind, MapName};
use crate::source::MapSource;
use crate::sys::bpf::{self, Map};
use crate::sys::commands::Commands;

/// What the kernel says of a map that cannot change while it lives.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub(crate) kind: MapKind,
    pub(crate) id: u32,
    pub(crate) name: MapName,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) btf_id: u32,
    pub(crate) btf_key_type_id: u32,
    pub(crate) btf_value_type_id: u32,
    /// How many values a key has: the possible CPUs for a per-CPU kind, else 1.
    pub(crate) cpus: usize,
}

impl Shape {
    /// The bytes between the values of two CPUs: per-CPU values are rounded up
    /// to 8, others are not.
    pub(crate) fn value_stride(&self) -> usize {
        let size = self.value_size as usize;
        if self.kind.is_per_cpu() { size.next_multiple_of(8) } else { size }
    }

    /// The bytes of one key's value in a command's buffer, all CPUs included.
    pub(crate) fn value_span(&self) -> usize {
        self.value_stride() * self.cpus
    }

    /// The bytes of a batch cursor. The hash kinds write 4 whatever the size
    /// of the key; the others write a key.
    pub(crate) fn cursor_size(&self) -> usize {
        (self.key_size as usize).max(8)
    }
}

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
}

struct Inner {
    map: Map,
    /// Walk buffers kept for the next walk, so that it allocates nothing.
    spare: Mutex<Option<Buffers>>,
}

impl RawMap {
    /// Opens any map of libbpf-rs, or any descriptor, by duplicating it.
    ///
    /// Two system calls (`fcntl`, `BPF_OBJ_GET_INFO_BY_FD`) and a look at
    /// `/proc`. Since Linux 4.13.
    ///
    /// # Errors
    /// [`OpenError::NotLoaded`], [`OpenError::NotAMap`], [`OpenError::Sys`].
    pub fn open(source: impl MapSource) -> Result<Self, OpenError> {
        let fd = source.map_fd()?;
        let what = "this descriptor";
        let fd = fd.try_clone_to_owned().map_err(|error| OpenError::Sys {
            what: what.into(),
            op: Op::Duplicate,
            errno: Errno(error.raw_os_error().unwrap_or(0)),
        })?;
        Self::from_fd(fd, what)
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
        if spec.key_size == 0 && spec.kind != MapKind::RingBuf {
            return refuse("the key type has no bytes");
        }
        if spec.value_size == 0 && spec.kind != MapKind::RingBuf {
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
                Ok(Self { inner: Arc::new(Inner { map, spare: Mutex::new(None) }), batch: None })
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

/// What a map is to be created as.
pub(crate) struct Spec<'a> {
    pub(crate) kind: MapKind,
    pub(crate) name: &'a str,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

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
struct FdInfo {
    frozen: bool,
    read_only: bool,
    write_only: bool,
    memory: u64,
}

impl FdInfo {
    fn of(fd: BorrowedFd<'_>) -> Self {
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
fn not_a_map(fd: BorrowedFd<'_>) -> Option<String> {
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

fn open_denied(what: String, op: Op, errno: Errno, wanted: &[Capability]) -> OpenError {
    if matches!(errno, Errno::PERM | Errno::ACCES) {
        return OpenError::PermissionDenied { what, missing: Capability::first_missing(wanted) };
    }
    OpenError::Sys { what, op, errno }
}

/// Why nothing was opened at `path`, which is `what`.
fn no_pin(path: &Path, what: &str, errno: Errno) -> OpenError {
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

fn is_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path)
        .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC)
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
    fn fdinfo_tells_access_and_freezing() {
        let info = FdInfo::parse("pos:\t0\nflags:\t02000002\nmemlock:\t4096\nfrozen:\t1\n");
        assert!(info.frozen && !info.read_only && !info.write_only);
        assert_eq!(info.memory, 4096);
        assert!(FdInfo::parse("flags:\t02000000\n").read_only);
        assert!(FdInfo::parse("flags:\t02000001\n").write_only);
        let unknown = FdInfo::parse("");
        assert!(!unknown.read_only && !unknown.write_only && !unknown.frozen);
    }

    #[test]
    fn a_file_is_not_a_map() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let error = RawMap::open(file.as_fd()).unwrap_err();
        assert!(matches!(error, OpenError::NotAMap { .. }), "{error}");
    }

    #[test]
    fn per_cpu_values_are_rounded_up_to_eight() {
        let mut shape = Shape {
            kind: MapKind::PerCpuHash,
            id: 1,
            name: MapName::default(),
            key_size: 2,
            value_size: 5,
            max_entries: 1,
            flags: 0,
            btf_id: 0,
            btf_key_type_id: 0,
            btf_value_type_id: 0,
            cpus: 3,
        };
        assert_eq!((shape.value_span(), shape.cursor_size()), (24, 8));
        (shape.kind, shape.cpus, shape.key_size) = (MapKind::Hash, 1, 16);
        assert_eq!((shape.value_span(), shape.cursor_size()), (5, 16));
    }
}
