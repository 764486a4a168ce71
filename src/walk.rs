//! [`Walk`] and [`Drain`]: the typed face of the cursor.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::mem::size_of;

use crate::accumulate::Accumulate;
use crate::cursor::Cursor;
use crate::error::{Error, Op, Result};
use crate::per_cpu::{PerCpu, sum_of_slots};

pub use crate::per_cpu::IntoIter as PerCpuIntoIter;
use crate::raw::RawMap;
use crate::sys::block::Block;
use crate::sys::commands::{BatchOp, Errno};
use crate::sys::pod::{self, Pod, raw, stride};

/// What a walk makes of the bytes of an entry. Sealed.
pub trait Decode {
    /// What the iterator yields, inside a `Result`.
    type Item;

    /// How many bytes of a key it looks at: all or none. A constant, so that nothing is
    /// multiplied or compared an entry but the entry's number.
    #[doc(hidden)]
    const KEY: usize;

    /// The same of a value on so many CPUs.
    #[doc(hidden)]
    fn span(cpus: usize) -> usize;

    #[doc(hidden)]
    fn decode(key: &[u8], value: Stored<'_>) -> Self::Item;
}

/// The value of an entry, in the buffer of its walk.
#[doc(hidden)]
pub struct Stored<'a> {
    buffer: &'a mut Block,
    at: usize,
    span: usize,
    cpus: usize,
}

impl<'a> Stored<'a> {
    #[inline]
    fn bytes(self) -> &'a [u8] {
        self.buffer.bytes(self.at, self.span)
    }

    #[inline]
    fn take<V: Pod>(self) -> PerCpu<V> {
        PerCpu::take(self.buffer, self.at, self.cpus)
    }
}

/// Decodes to `(K, V)`.
pub struct Entry<K, V>(PhantomData<fn() -> (K, V)>);
/// Decodes to `(K, PerCpu<V>)`.
pub struct CpuEntry<K, V>(PhantomData<fn() -> (K, V)>);
/// Decodes to `(K, V)`, added up over the CPUs.
pub struct SumEntry<K, V>(PhantomData<fn() -> (K, V)>);
/// Decodes to `K`.
pub struct Key<K>(PhantomData<fn() -> K>);
/// Decodes to the value alone of another decoder.
pub struct Value<D>(PhantomData<fn() -> D>);

impl<K: Pod, V: Pod> Decode for Entry<K, V> {
    type Item = (K, V);

    const KEY: usize = size_of::<K>();

    #[inline]
    fn span(_: usize) -> usize {
        size_of::<V>()
    }

    #[inline]
    fn decode(key: &[u8], value: Stored<'_>) -> (K, V) {
        (pod::read(key), pod::read(value.bytes()))
    }
}

impl<K: Pod, V: Pod> Decode for CpuEntry<K, V> {
    type Item = (K, PerCpu<V>);

    const KEY: usize = size_of::<K>();

    #[inline]
    fn span(cpus: usize) -> usize {
        stride::<V>() * cpus
    }

    #[inline]
    fn decode(key: &[u8], value: Stored<'_>) -> Self::Item {
        (pod::read(key), value.take())
    }
}

impl<K: Pod, V: Accumulate> Decode for SumEntry<K, V> {
    type Item = (K, V);

    const KEY: usize = size_of::<K>();

    #[inline]
    fn span(cpus: usize) -> usize {
        stride::<V>() * cpus
    }

    #[inline]
    fn decode(key: &[u8], value: Stored<'_>) -> (K, V) {
        (pod::read(key), sum_of_slots(value.bytes()))
    }
}

impl<K: Pod> Decode for Key<K> {
    type Item = K;

    const KEY: usize = size_of::<K>();

    #[inline]
    fn span(_: usize) -> usize {
        0
    }

    #[inline]
    fn decode(key: &[u8], _: Stored<'_>) -> K {
        pod::read(key)
    }
}

impl<K: Pod, V: Pod> Decode for Value<Entry<K, V>> {
    type Item = V;

    const KEY: usize = 0;

    #[inline]
    fn span(_: usize) -> usize {
        size_of::<V>()
    }

    #[inline]
    fn decode(_: &[u8], value: Stored<'_>) -> V {
        pod::read(value.bytes())
    }
}

impl<K: Pod, V: Pod> Decode for Value<CpuEntry<K, V>> {
    type Item = PerCpu<V>;

    const KEY: usize = 0;

    #[inline]
    fn span(cpus: usize) -> usize {
        stride::<V>() * cpus
    }

    #[inline]
    fn decode(_: &[u8], value: Stored<'_>) -> PerCpu<V> {
        value.take()
    }
}

/// A walk under way: an iterator of `Result`.
///
/// It owns what it needs, so it outlives the handle it came from and can move
/// to another thread. After an error it ends. One system call
/// (`BPF_MAP_LOOKUP_BATCH`) for some thousand entries.
#[must_use = "a walk does nothing until it is iterated"]
pub struct Walk<D> {
    cursor: Cursor<RawMap>,
    cpus: usize,
    count: usize,
    at: usize,
    decode: PhantomData<fn() -> D>,
}

/// Entries of a map, `(K, V)`.
pub type Iter<K, V> = Walk<Entry<K, V>>;
/// Entries of a per-CPU map, `(K, PerCpu<V>)`.
pub type PerCpuIter<K, V> = Walk<CpuEntry<K, V>>;
/// Entries of a per-CPU map added up over the CPUs, `(K, V)`.
pub type Sums<K, V> = Walk<SumEntry<K, V>>;
/// Keys of a map.
pub type Keys<K> = Walk<Key<K>>;
/// Values of a map.
pub type Values<K, V> = Walk<Value<Entry<K, V>>>;
/// Values of a per-CPU map, `PerCpu<V>`.
pub type PerCpuValues<K, V> = Walk<Value<CpuEntry<K, V>>>;

impl<D: Decode> Walk<D> {
    pub(crate) fn new(map: &RawMap) -> Self {
        Self::with(map, BatchOp::Lookup)
    }

    fn with(map: &RawMap, op: BatchOp) -> Self {
        let cursor = Cursor::over(map, op);
        Self { cursor, cpus: map.shape().cpus, count: 0, at: 0, decode: PhantomData }
    }

    /// Reads the next batch.
    #[inline(never)]
    fn fill(&mut self) -> Option<Result<()>> {
        (self.at, self.count) = (0, 0);
        match self.cursor.next_chunk()? {
            Ok(chunk) => self.count = chunk.count,
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(()))
    }
}

impl<D: Decode> Iterator for Walk<D> {
    type Item = Result<D::Item>;

    // A value that is handed on through memory takes longer than all the rest.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.count {
            if let Err(error) = self.fill()? {
                return Some(Err(error));
            }
        }
        let (at, cpus, span) = (self.at, self.cpus, D::span(self.cpus));
        let (key, buffer) = self.cursor.entry_mut(at, D::KEY);
        self.at += 1;
        Some(Ok(D::decode(key, Stored { buffer, at: at * span, span, cpus })))
    }
}

impl<D: Decode> FusedIterator for Walk<D> {}

impl<D> Drop for Walk<D> {
    fn drop(&mut self) {
        self.cursor.give_back();
    }
}

impl<D> fmt::Debug for Walk<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("map", self.cursor.map()).finish_non_exhaustive()
    }
}

/// A draining walk: each entry is taken out of the map as it is read.
///
/// The entries of a batch leave the map together. Those that were not yielded
/// when the drain is dropped are put back (unless their key has appeared anew),
/// so what you did not see is still there; [`put_back`](Self::put_back) does
/// the same and tells what failed.
#[must_use = "a drain does nothing until it is iterated"]
pub struct Drain<D: Decode> {
    walk: Walk<D>,
}

impl<D: Decode> Drain<D> {
    pub(crate) fn new(map: &RawMap) -> Self {
        Self { walk: Walk::with(map, BatchOp::LookupAndDelete) }
    }

    /// Puts entries that were taken out but not yielded back, and tells how
    /// many. One `BPF_MAP_UPDATE_ELEM` with `BPF_NOEXIST` each.
    ///
    /// # Errors
    /// [`Error::Partial`] with the number that was put back, when a key has
    /// appeared anew (`EEXIST`) or the map is full by now. All entries are
    /// tried before the first failure is told.
    pub fn put_back(mut self) -> Result<usize> {
        self.restore()
    }

    fn restore(&mut self) -> Result<usize> {
        let walk = &mut self.walk;
        let map = walk.cursor.map();
        let (key, value) = (map.shape().key_size as usize, map.shape().value_span());
        let (mut done, mut failed) = (0, None);
        for at in walk.at..walk.count {
            let (key, value) = walk.cursor.entry(at, key, value);
            let flags = u64::from(libbpf_sys::BPF_NOEXIST);
            let result = map.sys().update(raw(key), raw(value), flags);
            match result {
                Ok(()) => done += 1,
                Err(errno) => failed = failed.or(Some(errno)),
            }
        }
        let failed: Option<Errno> = failed;
        let result = match failed {
            None => Ok(done),
            Some(errno) => Err(Error::Partial {
                map: map.name(),
                op: Op::Update,
                done,
                source: Box::new(map.explain(Op::Update, errno)),
            }),
        };
        walk.at = walk.count;
        result
    }
}

impl<D: Decode> Iterator for Drain<D> {
    type Item = Result<D::Item>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.next()
    }
}

impl<D: Decode> FusedIterator for Drain<D> {}

impl<D: Decode> Drop for Drain<D> {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            log::warn!("a drain was dropped early and could not put all entries back: {error}");
        }
    }
}

impl<D: Decode> fmt::Debug for Drain<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("map", self.walk.cursor.map()).finish_non_exhaustive()
    }
}

/// Calls `f` for every key and the `span` bytes of its value; how many there were.
#[inline]
pub(crate) fn for_each<K: Pod>(
    map: &RawMap,
    span: usize,
    mut f: impl FnMut(K, &[u8]),
) -> Result<usize> {
    chunks(map, BatchOp::Lookup, |keys, values| {
        for (key, value) in entries(keys, values, span) {
            f(key, value);
        }
    })
}

/// Calls `f` for every key and its value on all CPUs; how many there were.
#[inline]
pub(crate) fn for_each_cpus<K: Pod, V: Pod>(
    map: &RawMap,
    mut f: impl FnMut(K, &PerCpu<V>),
) -> Result<usize> {
    let mut walk = PerCpuIter::new(map);
    for entry in walk.by_ref() {
        let (key, value) = entry?;
        f(key, &value);
    }
    Ok(walk.cursor.delivered())
}

/// Puts all entries behind those of `into`, of each value what `decode` makes of its `span`
/// bytes; how many there were.
#[inline]
pub(crate) fn collect<K: Pod, V>(
    map: &RawMap,
    span: usize,
    into: &mut Vec<(K, V)>,
    decode: impl Fn(&[u8]) -> V,
) -> Result<usize> {
    chunks(map, BatchOp::Lookup, |keys, values| {
        into.extend(entries(keys, values, span).map(|(key, value)| (key, decode(value))));
    })
}

/// The keys of a chunk with the bytes of their values.
#[inline]
fn entries<'a, K: Pod>(
    keys: &'a [u8],
    values: &'a [u8],
    span: usize,
) -> impl Iterator<Item = (K, &'a [u8])> {
    keys.chunks_exact(size_of::<K>()).map(pod::read).zip(values.chunks_exact(span))
}

/// Calls `f` for the keys and values of every batch; how many entries there were.
pub(crate) fn chunks(map: &RawMap, op: BatchOp, mut f: impl FnMut(&[u8], &[u8])) -> Result<usize> {
    let mut cursor = Cursor::over(map, op);
    while let Some(chunk) = cursor.next_chunk() {
        let chunk = chunk?;
        f(chunk.keys, chunk.values);
    }
    let delivered = cursor.delivered();
    cursor.finish();
    Ok(delivered)
}
