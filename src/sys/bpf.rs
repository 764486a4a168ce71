//! A map's file descriptor and the `bpf(2)` commands on its elements.

use std::ffi::CString;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{ptr, slice};

use super::commands::{BatchOp, Commands, Errno};
use super::pod::{Pod, RawBytes};
use crate::raw::{MapKind, MapName, Shape};

/// A map: its descriptor, and its shape as the kernel told it.
///
/// The shape is read from the descriptor itself and neither can be exchanged,
/// so its sizes are what the kernel reads and writes.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    shape: Shape,
}

fn check(ret: i32) -> Result<(), Errno> {
    // libbpf 1.x returns the negative error number.
    if ret < 0 { Err(Errno(-ret)) } else { Ok(()) }
}

fn own(ret: i32) -> Result<OwnedFd, Errno> {
    check(ret)?;
    // SAFETY: a non-negative return of the commands below is a descriptor that
    // the kernel has just made for this process; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(ret) })
}

/// `BPF_OBJ_GET`: a descriptor of whatever is pinned at `path`.
pub(crate) fn obj_get(path: &CString) -> Result<OwnedFd, Errno> {
    // SAFETY: `path` is a C string that outlives the call.
    own(unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) })
}

/// `BPF_MAP_GET_FD_BY_ID`.
pub(crate) fn fd_by_id(id: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes and returns integers.
    own(unsafe { libbpf_sys::bpf_map_get_fd_by_id(id) })
}

/// `BPF_MAP_CREATE` without BTF.
pub(crate) fn create(
    kind: u32,
    name: &CString,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
) -> Result<OwnedFd, Errno> {
    let opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
        map_flags: flags,
        ..Default::default()
    };
    // SAFETY: `name` and `opts` outlive the call; `sz` is the size of `opts`.
    own(unsafe {
        libbpf_sys::bpf_map_create(kind, name.as_ptr(), key_size, value_size, max_entries, &opts)
    })
}

/// The CPUs that the kernel may ever have, each of which has a slot in a
/// per-CPU value.
pub(crate) fn possible_cpus() -> Result<usize, Errno> {
    // SAFETY: takes nothing, returns an integer.
    let cpus = unsafe { libbpf_sys::libbpf_num_possible_cpus() };
    check(cpus)?;
    Ok(cpus as usize)
}

impl Map {
    /// Takes over a descriptor that is known to be a map's.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let mut info = libbpf_sys::bpf_map_info::default();
        let mut len = size_of::<libbpf_sys::bpf_map_info>() as u32;
        // SAFETY: `info` is writable for `len` bytes; the kernel writes no more.
        check(unsafe { libbpf_sys::bpf_map_get_info_by_fd(fd.as_raw_fd(), &mut info, &mut len) })?;
        let kind = MapKind::from_raw(info.type_);
        let cpus = if kind.is_per_cpu() { possible_cpus()? } else { 1 };
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(info.name) {
            *to = from as u8;
        }
        let shape = Shape {
            kind,
            id: info.id,
            name: MapName::from_bytes(name),
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.map_flags,
            btf_id: info.btf_id,
            btf_key_type_id: info.btf_key_type_id,
            btf_value_type_id: info.btf_value_type_id,
            cpus,
        };
        Ok(Self { fd, shape })
    }

    fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn check_key(&self, key: &RawBytes) {
        assert_eq!(key.len(), self.shape.key_size as usize);
    }

    fn check_value(&self, value: &RawBytes) {
        assert_eq!(value.len(), self.shape.value_span());
    }

    /// Reads the value of `key`, and deletes the entry if `op` says so. The result is the
    /// part of `value` that was written.
    #[inline(always)]
    fn read<'v>(
        &self,
        op: BatchOp,
        key: &RawBytes,
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno> {
        self.check_key(key);
        let value = &mut value[..self.shape.value_span()];
        let call = match op {
            BatchOp::Lookup => libbpf_sys::bpf_map_lookup_elem,
            BatchOp::LookupAndDelete => libbpf_sys::bpf_map_lookup_and_delete_elem,
        };
        // SAFETY: the kernel reads `key_size` bytes and writes `value_span`
        // bytes: the lengths of the two slices.
        check(unsafe { call(self.raw_fd(), key.as_ptr().cast(), value.as_mut_ptr().cast()) })?;
        // SAFETY: same size and alignment; on success the kernel has written the whole
        // value.
        Ok(unsafe { &mut *(ptr::from_mut(value) as *mut [u8]) })
    }

    /// The same into the bytes of a `V`, from the first; how many.
    #[inline(always)]
    fn read_over<V: Pod>(
        &self,
        op: BatchOp,
        key: &RawBytes,
        value: &mut MaybeUninit<V>,
    ) -> Result<usize, Errno> {
        // SAFETY: the bytes of `value` are its own, may be uninitialised, and nothing else
        // looks at it as long as they are borrowed.
        let bytes = unsafe { slice::from_raw_parts_mut(value.as_mut_ptr().cast(), size_of::<V>()) };
        Ok(self.read(op, key, bytes)?.len())
    }

    #[inline(always)]
    fn read_value<V: Pod>(&self, op: BatchOp, key: &RawBytes) -> Result<V, Errno> {
        let mut value = MaybeUninit::<V>::uninit();
        let written = self.read_over(op, key, &mut value)?;
        assert_eq!(written, size_of::<V>());
        // SAFETY: every byte was written, and any bit pattern is a valid `V`.
        Ok(unsafe { value.assume_init() })
    }

    /// `BPF_MAP_LOOKUP_ELEM` into a typed value of a kind that is not per-CPU.
    #[inline]
    pub(crate) fn lookup_value<V: Pod>(&self, key: &RawBytes) -> Result<V, Errno> {
        self.read_value(BatchOp::Lookup, key)
    }

    /// `BPF_MAP_LOOKUP_ELEM`, all CPUs of a per-CPU kind, for a value of up to `N` words; zeroes
    /// follow it.
    #[inline]
    pub(crate) fn lookup_words<const N: usize>(&self, key: &RawBytes) -> Result<[u64; N], Errno> {
        let mut words = MaybeUninit::<[u64; N]>::zeroed();
        self.read_over(BatchOp::Lookup, key, &mut words)?;
        // SAFETY: zeroes are words, and so is whatever was written over them.
        Ok(unsafe { words.assume_init() })
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM` into a typed value.
    pub(crate) fn take_value<V: Pod>(&self, key: &RawBytes) -> Result<V, Errno> {
        self.read_value(BatchOp::LookupAndDelete, key)
    }

    /// `BPF_MAP_UPDATE_ELEM`; `value` holds all CPUs of a per-CPU kind.
    #[inline]
    pub(crate) fn update(&self, key: &RawBytes, value: &RawBytes, flags: u64) -> Result<(), Errno> {
        self.check_key(key);
        self.check_value(value);
        // SAFETY: the kernel reads `key_size` and `value_span` bytes, which are
        // the lengths of the buffers.
        check(unsafe {
            libbpf_sys::bpf_map_update_elem(
                self.raw_fd(),
                key.as_ptr().cast(),
                value.as_ptr().cast(),
                flags,
            )
        })
    }

    /// `BPF_MAP_DELETE_ELEM`.
    #[inline]
    pub(crate) fn delete(&self, key: &RawBytes) -> Result<(), Errno> {
        self.check_key(key);
        // SAFETY: the kernel reads `key_size` bytes, the length of `key`.
        check(unsafe { libbpf_sys::bpf_map_delete_elem(self.raw_fd(), key.as_ptr().cast()) })
    }

    /// `BPF_MAP_UPDATE_BATCH`; gives how many were written, also on an error.
    pub(crate) fn update_batch(
        &self,
        keys: &RawBytes,
        values: &RawBytes,
        count: u32,
    ) -> (u32, Result<(), Errno>) {
        let n = count as usize;
        assert_eq!(keys.len(), n * self.shape.key_size as usize);
        assert_eq!(values.len(), n * self.shape.value_span());
        let mut done = count;
        let opts = batch_opts();
        // SAFETY: the kernel reads `count` keys of `key_size` bytes and values
        // of `value_span` bytes: the lengths of the slices.
        let ret = check(unsafe {
            libbpf_sys::bpf_map_update_batch(
                self.raw_fd(),
                keys.as_ptr().cast(),
                values.as_ptr().cast(),
                &mut done,
                &opts,
            )
        });
        (batch_done(count, done, ret), ret)
    }

    /// `BPF_MAP_DELETE_BATCH`; gives how many were deleted, also on an error.
    pub(crate) fn delete_batch(&self, keys: &RawBytes, count: u32) -> (u32, Result<(), Errno>) {
        assert_eq!(keys.len(), count as usize * self.shape.key_size as usize);
        let mut done = count;
        let opts = batch_opts();
        // SAFETY: the kernel reads `count` keys of `key_size` bytes.
        let ret = check(unsafe {
            libbpf_sys::bpf_map_delete_batch(self.raw_fd(), keys.as_ptr().cast(), &mut done, &opts)
        });
        (batch_done(count, done, ret), ret)
    }

    /// `BPF_MAP_FREEZE`.
    pub(crate) fn freeze(&self) -> Result<(), Errno> {
        // SAFETY: takes and returns integers.
        check(unsafe { libbpf_sys::bpf_map_freeze(self.raw_fd()) })
    }

    /// `BPF_OBJ_PIN`.
    pub(crate) fn pin(&self, path: &CString) -> Result<(), Errno> {
        // SAFETY: `path` is a C string that outlives the call.
        check(unsafe { libbpf_sys::bpf_obj_pin(self.raw_fd(), path.as_ptr()) })
    }
}

fn batch_opts() -> libbpf_sys::bpf_map_batch_opts {
    libbpf_sys::bpf_map_batch_opts {
        sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as _,
        ..Default::default()
    }
}

/// How many elements an update or delete batch dealt with. A kernel that
/// refuses the command before it starts leaves the count as it was asked; a
/// failing batch has never done them all.
fn batch_done(asked: u32, count: u32, ret: Result<(), Errno>) -> u32 {
    if ret.is_err() && count >= asked { 0 } else { count.min(asked) }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Commands for Map {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn batch(
        &self,
        op: BatchOp,
        from: Option<&[u8]>,
        next: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
        count: &mut u32,
    ) -> Result<(), Errno> {
        let asked = *count as usize;
        let cursor = self.shape.cursor_size();
        assert!(from.is_none_or(|from| from.len() >= cursor) && next.len() >= cursor);
        assert!(keys.len() >= asked * self.shape.key_size as usize);
        assert!(values.len() >= asked * self.shape.value_span());
        let from = from.map_or(ptr::null_mut(), |from| from.as_ptr().cast_mut().cast());
        let call = match op {
            BatchOp::Lookup => libbpf_sys::bpf_map_lookup_batch,
            BatchOp::LookupAndDelete => libbpf_sys::bpf_map_lookup_and_delete_batch,
        };
        let opts = batch_opts();
        // SAFETY: the kernel reads at most `cursor_size` bytes of `from` (a
        // bucket number of 4 bytes for the hash kinds, a key for the others),
        // writes as many to `next`, and at most `asked` keys and values, whose
        // strides are `key_size` and `value_span`; the asserts above say that
        // the buffers hold that. Our cursor is only read: libbpf's parameter is
        // `void *` for want of `const`.
        let ret = check(unsafe {
            call(
                self.raw_fd(),
                from,
                next.as_mut_ptr().cast(),
                keys.as_mut_ptr().cast(),
                values.as_mut_ptr().cast(),
                count,
                &opts,
            )
        });
        // Whatever the kernel says, never more than fits.
        *count = (*count).min(asked as u32);
        ret
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let size = self.shape.key_size as usize;
        assert!(key.is_none_or(|key| key.len() == size) && next.len() == size);
        let key = key.map_or(ptr::null(), |key| key.as_ptr().cast());
        // SAFETY: the kernel reads and writes `key_size` bytes: the lengths.
        check(unsafe {
            libbpf_sys::bpf_map_get_next_key(self.raw_fd(), key, next.as_mut_ptr().cast())
        })
    }

    fn lookup<'v>(
        &self,
        key: &RawBytes,
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno> {
        self.read(BatchOp::Lookup, key, value)
    }

    fn lookup_and_delete<'v>(
        &self,
        key: &RawBytes,
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno> {
        self.read(BatchOp::LookupAndDelete, key, value)
    }
}
