//! [`Typed`]: what the map kinds have in common, once.
//!
//! The public kinds in `map/` are thin faces over it: each offers what its
//! kind can do and documents it.

use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::accumulate::{Accumulate, fold};
use crate::cursor::Cursor;
use crate::error::{Error, Op, OpenError, Result};
use crate::per_cpu::{PerCpu, slots, sum_of_slots};
use crate::proof::{self, Proof};
use crate::raw::{MapKind, RawMap, Shape, Spec};
use crate::source::MapSource;
use crate::sys::commands::{BatchOp, Commands, Errno};
use crate::sys::pod::{self, Pod, RawBytes, bytes_of, stride};
use crate::walk;

/// How a write treats a key that is, or is not, there.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Any,
    NoExist,
    Exist,
}

impl Mode {
    pub(crate) fn flags(self) -> u64 {
        u64::from(match self {
            Self::Any => libbpf_sys::BPF_ANY,
            Self::NoExist => libbpf_sys::BPF_NOEXIST,
            Self::Exist => libbpf_sys::BPF_EXIST,
        })
    }
}

/// A command is tried so often when a lock or memory is not to be had: for
/// some 50 ms, since per-CPU memory comes from a thread of the kernel.
pub(crate) const TRIES: u32 = 64;

/// A map whose kind and sizes were compared with `K` and `V`.
pub(crate) struct Typed<K, V> {
    pub(crate) raw: RawMap,
    proof: Arc<Proof>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Typed<K, V> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), proof: self.proof.clone(), types: PhantomData }
    }
}

/// Lets others run before a command is tried again.
pub(crate) fn pause(tries: u32) {
    if tries <= 8 {
        std::thread::yield_now();
    } else {
        std::thread::sleep(Duration::from_micros(50) * (tries - 8).min(20));
    }
}

/// Tries again while the kernel has no lock or memory to give.
fn patient<T>(mut command: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for tries in 1..TRIES {
        match command() {
            Err(errno) if errno.is_transient() => pause(tries),
            result => return result,
        }
    }
    command()
}

impl<K: Pod, V: Pod> Typed<K, V> {
    pub(crate) fn check(
        raw: RawMap,
        kind: MapKind,
        wanted: &'static str,
    ) -> Result<Self, OpenError> {
        let map = raw.name();
        if raw.kind() != kind {
            return Err(OpenError::Kind { map, wanted, expected: kind, found: raw.kind() });
        }
        // Before the sizes, since a table of the fields tells more.
        let proof = proof::of_map(&raw, &K::LAYOUT, &V::LAYOUT)?;
        if size_of::<K>() != raw.key_size() as usize {
            return Err(OpenError::KeySize {
                map,
                type_name: std::any::type_name::<K>(),
                rust: size_of::<K>(),
                kernel: raw.key_size(),
            });
        }
        if size_of::<V>() != raw.value_size() as usize {
            return Err(OpenError::ValueSize {
                map,
                type_name: std::any::type_name::<V>(),
                rust: size_of::<V>(),
                kernel: raw.value_size(),
            });
        }
        Ok(Self { raw, proof: Arc::new(proof), types: PhantomData })
    }

    pub(crate) fn open(
        source: impl MapSource,
        kind: MapKind,
        wanted: &'static str,
    ) -> Result<Self, OpenError> {
        Self::check(RawMap::open(source)?, kind, wanted)
    }

    pub(crate) fn open_pinned(
        path: &Path,
        kind: MapKind,
        wanted: &'static str,
    ) -> Result<Self, OpenError> {
        Self::check(RawMap::open_pinned(path)?, kind, wanted)
    }

    pub(crate) fn open_id(id: u32, kind: MapKind, wanted: &'static str) -> Result<Self, OpenError> {
        Self::check(RawMap::open_id(id)?, kind, wanted)
    }

    pub(crate) fn create(
        name: &str,
        max_entries: u32,
        flags: u32,
        kind: MapKind,
        wanted: &'static str,
    ) -> Result<Self, OpenError> {
        let raw = RawMap::create(&Spec {
            kind,
            name,
            key_size: size_of::<K>() as u32,
            value_size: size_of::<V>() as u32,
            max_entries,
            flags,
        })?;
        Self::check(raw, kind, wanted)
    }

    pub(crate) fn with_batch(self, batch: u32) -> Result<Self> {
        Ok(Self { raw: self.raw.with_batch(batch)?, ..self })
    }

    pub(crate) fn proof(&self) -> &Proof {
        &self.proof
    }

    pub(crate) fn shape(&self) -> &Shape {
        self.raw.shape()
    }

    pub(crate) fn explain(&self, op: Op, errno: Errno) -> Error {
        self.raw.explain(op, errno)
    }

    // Single elements.

    #[inline]
    pub(crate) fn lookup(&self, key: &K) -> Result<Option<V>> {
        match self.raw.sys().lookup_value(bytes_of(key)) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => {
                self.again(Op::Lookup, errno, || self.raw.sys().lookup_value(bytes_of(key)))
            }
        }
    }

    /// `ENOENT` as `None`, any other error explained.
    fn absent<T>(&self, op: Op, result: Result<T, Errno>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.explain(op, errno)),
        }
    }

    /// The kernel's bytes of a value, all CPUs included, handed to `f`.
    #[inline]
    fn lookup_bytes<T>(&self, op: Op, key: &K, f: impl Fn(&[u8]) -> T) -> Result<Option<T>> {
        let sys = self.raw.sys();
        let command = |buffer: &mut RawBytes| match op {
            Op::LookupAndDelete => {
                sys.lookup_and_delete(bytes_of(key), buffer).map(|bytes| f(bytes))
            }
            _ => sys.lookup(bytes_of(key), buffer).map(|bytes| f(bytes)),
        };
        with_buffer(self.shape().value_span(), |buffer| match command(buffer) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => self.again(op, errno, || command(buffer)),
        })
    }

    /// A lookup that has failed, tried again where that may help.
    #[cold]
    fn again<T>(
        &self,
        op: Op,
        errno: Errno,
        command: impl FnMut() -> Result<T, Errno>,
    ) -> Result<Option<T>> {
        if !errno.is_transient() {
            return Err(self.explain(op, errno));
        }
        self.absent(op, patient(command))
    }

    #[inline]
    pub(crate) fn lookup_cpus(&self, key: &K) -> Result<Option<PerCpu<V>>> {
        self.lookup_few(key, |value| value, || self.lookup_many(key))
    }

    #[inline(never)]
    fn lookup_many(&self, key: &K) -> Result<Option<PerCpu<V>>> {
        self.lookup_bytes(Op::Lookup, key, PerCpu::from_bytes)
    }

    #[inline]
    pub(crate) fn lookup_sum(&self, key: &K) -> Result<Option<V>>
    where
        V: Accumulate,
    {
        let many = || self.lookup_bytes(Op::Lookup, key, sum_of_slots);
        self.lookup_few(key, |value| value.sum(), many)
    }

    /// A value on few CPUs, which needs no memory, handed to `f`. `otherwise` does the same for
    /// one on many, and for a command that has failed and is to be tried again or explained.
    #[inline]
    fn lookup_few<T>(
        &self,
        key: &K,
        f: impl FnOnce(PerCpu<V>) -> T,
        otherwise: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if PerCpu::<V>::is_inline(self.shape()) {
            match self.raw.sys().lookup_words(bytes_of(key)) {
                Ok(words) => return Ok(Some(f(PerCpu::from_words(words, self.shape())))),
                Err(Errno::NOENT) => return Ok(None),
                Err(_) => {}
            }
        }
        otherwise()
    }

    pub(crate) fn contains(&self, key: &K) -> Result<bool> {
        Ok(self.lookup_bytes(Op::Lookup, key, |_| ())?.is_some())
    }

    pub(crate) fn take(&self, key: &K) -> Result<Option<V>> {
        let result = patient(|| self.raw.sys().take_value(bytes_of(key)));
        // Before Linux 5.14 a hash answers EINVAL.
        let result = result.map_err(|e| if e == Errno::INVAL { Errno::NOTSUPP } else { e });
        self.absent(Op::LookupAndDelete, result)
    }

    pub(crate) fn take_cpus(&self, key: &K) -> Result<Option<PerCpu<V>>> {
        self.lookup_bytes(Op::LookupAndDelete, key, PerCpu::from_bytes)
    }

    /// Writes the kernel's bytes of a value. Whether the mode's condition held.
    #[inline]
    fn write(&self, key: &K, value: &RawBytes, mode: Mode) -> Result<bool> {
        match self.raw.sys().update(bytes_of(key), value, mode.flags()) {
            Ok(()) => Ok(true),
            Err(errno) => self.write_again(key, value, mode, errno),
        }
    }

    #[cold]
    fn write_again(&self, key: &K, value: &RawBytes, mode: Mode, errno: Errno) -> Result<bool> {
        let write = || self.raw.sys().update(bytes_of(key), value, mode.flags());
        match if errno.is_transient() { patient(write) } else { Err(errno) } {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) if matches!(mode, Mode::NoExist) => Ok(false),
            Err(Errno::NOENT) if matches!(mode, Mode::Exist) => Ok(false),
            Err(errno) => Err(self.explain(Op::Update, errno)),
        }
    }

    #[inline]
    pub(crate) fn update(&self, key: &K, value: &V, mode: Mode) -> Result<bool> {
        self.write(key, bytes_of(value), mode)
    }

    pub(crate) fn update_cpus(&self, key: &K, value: &PerCpu<V>, mode: Mode) -> Result<bool> {
        value.check(self.shape())?;
        with_buffer(self.shape().value_span(), |buffer| {
            buffer.fill(MaybeUninit::new(0));
            value.write(buffer);
            self.write(key, buffer, mode)
        })
    }

    #[inline]
    pub(crate) fn delete(&self, key: &K) -> Result<bool> {
        let delete = || self.raw.sys().delete(bytes_of(key));
        match delete() {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Ok(self.again(Op::Delete, errno, delete)?.is_some()),
        }
    }

    // Whole maps.

    pub(crate) fn for_each(&self, mut f: impl FnMut(K, V)) -> Result<usize> {
        walk::for_each(&self.raw, size_of::<V>(), |key, value| f(key, pod::read(value)))
    }

    pub(crate) fn for_each_cpus(&self, f: impl FnMut(K, &PerCpu<V>)) -> Result<usize> {
        walk::for_each_cpus(&self.raw, f)
    }

    pub(crate) fn for_each_sum(&self, mut f: impl FnMut(K, V)) -> Result<usize>
    where
        V: Accumulate,
    {
        walk::for_each(&self.raw, self.cpus_span(), |key, value| f(key, sum_of_slots(value)))
    }

    /// All entries, behind those of `into`; how many.
    pub(crate) fn collect(&self, into: &mut Vec<(K, V)>) -> Result<usize> {
        walk::collect(&self.raw, size_of::<V>(), into, pod::read)
    }

    /// The same, with the values added up over the CPUs.
    pub(crate) fn collect_sums(&self, into: &mut Vec<(K, V)>) -> Result<usize>
    where
        V: Accumulate,
    {
        walk::collect(&self.raw, self.cpus_span(), into, sum_of_slots)
    }

    /// The bytes of a value of a per-CPU kind.
    fn cpus_span(&self) -> usize {
        stride::<V>() * self.shape().cpus
    }

    /// Over every key, and every CPU of a per-CPU kind.
    pub(crate) fn sum(&self) -> Result<V>
    where
        V: Accumulate,
    {
        let mut sum = pod::zeroed::<V>();
        let per_cpu = self.raw.kind().is_per_cpu();
        walk::chunks(&self.raw, BatchOp::Lookup, |_, values| {
            // A value's slots lie one behind the other, and so do the values.
            let of_chunk = if per_cpu {
                fold(slots(values))
            } else {
                fold(values.chunks_exact(size_of::<V>()).map(pod::read))
            };
            sum.accumulate(of_chunk);
        })?;
        Ok(sum)
    }

    pub(crate) fn count(&self) -> Result<usize> {
        walk::chunks(&self.raw, BatchOp::Lookup, |_, _| {})
    }

    pub(crate) fn clear(&self) -> Result<usize> {
        let mut cursor = Cursor::over(&self.raw, BatchOp::LookupAndDelete);
        while let Some(chunk) = cursor.next_chunk() {
            if let Err(source) = chunk {
                let done = cursor.delivered();
                return Err(self.partial(Op::LookupAndDeleteBatch, done, source));
            }
        }
        let done = cursor.delivered();
        cursor.finish();
        Ok(done)
    }

    pub(crate) fn partial(&self, op: Op, done: usize, source: Error) -> Error {
        if done == 0 {
            return source;
        }
        Error::Partial { map: self.raw.name(), op, done, source: Box::new(source) }
    }
}

/// Memory for one value: on the stack where it is small.
#[inline]
fn with_buffer<T>(len: usize, f: impl FnOnce(&mut RawBytes) -> T) -> T {
    const SMALL: usize = 1024;
    let mut small = [MaybeUninit::uninit(); SMALL];
    let mut large = Vec::new();
    f(if len <= SMALL {
        &mut small[..len]
    } else {
        large.resize(len, MaybeUninit::uninit());
        &mut large
    })
}
