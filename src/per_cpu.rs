//! [`PerCpu<V>`]: one value for each CPU that the kernel may ever have.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::mem::{MaybeUninit, size_of};
use std::ops::{Deref, DerefMut, Range};

use crate::accumulate::Accumulate;
use crate::error::Error;
use crate::raw::{MapName, Shape};
use crate::sys::block::{Block, Piece};
use crate::sys::inline::{Inline, WORDS};
use crate::sys::pod::{self, Pod, RawBytes, stride};

/// The values of one key on every *possible* CPU, by CPU number.
///
/// Possible, not online: a CPU that went offline keeps its count, and leaving
/// it out would lose it. Dereferences to a slice, and owns it.
///
/// # Memory
/// Up to 32 bytes of values (four CPUs, eight bytes each) lie in it. Larger ones
/// that come from a walk lie in the buffer that the kernel wrote them to, without a copy.
/// So a walk makes at most one allocation a batch of up to 4,096 entries, and none while
/// what it yields is dropped as it goes; and **one value that is kept keeps the whole
/// batch**: up to 2 MiB, or what a `with_batch_size` or 16 entries of large values
/// take. To keep a few values of a walk over a large map for long, keep a
/// [`clone`](Clone::clone), which has memory of its own, or the sum. A type aligned to
/// more than 16 bytes is copied, to an allocation a value.
///
/// ```
/// use bpf_atlas::PerCpu;
/// let value = PerCpu::from(vec![3_u64, 4]);
/// assert_eq!(value.sum(), 7);
/// assert_eq!(value[1], 4);
/// ```
pub struct PerCpu<V> {
    values: Values<V>,
}

enum Values<V> {
    Inline(Inline<V>),
    Boxed(Box<[V]>),
    /// Of a batch.
    Piece(Piece<V>),
}

impl<V: Pod> PerCpu<V> {
    /// The same value for each CPU. Reads the number of possible CPUs, which
    /// libbpf asks once a process.
    pub fn splat(value: V) -> Self {
        let cpus = crate::sys::bpf::possible_cpus().unwrap_or(1);
        let values = match Inline::splat(value, cpus) {
            Some(inline) => Values::Inline(inline),
            None => Values::Boxed(vec![value; cpus].into()),
        };
        Self { values }
    }

    /// `value` for `cpu` and zero for all others.
    ///
    /// # Panics
    /// When the machine can have no such CPU.
    pub fn on_cpu(cpu: usize, value: V) -> Self {
        let mut all = Self::splat(pod::zeroed());
        all[cpu] = value;
        all
    }

    /// The sum over all CPUs, as [`Accumulate`] defines it.
    #[inline]
    pub fn sum(&self) -> V
    where
        V: Accumulate,
    {
        match &self.values {
            Values::Inline(inline) => {
                let mut sum = pod::zeroed::<V>();
                inline.each(|value| sum.accumulate(value));
                sum
            }
            Values::Boxed(boxed) => sum_of_many(boxed),
            Values::Piece(piece) => sum_of_many(piece.as_slice()),
        }
    }

    /// From the kernel's bytes of one key.
    #[inline]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let values = match Inline::from_slots(bytes) {
            Some(inline) => Values::Inline(inline),
            None => Values::Boxed(slots(bytes).collect()),
        };
        Self { values }
    }

    /// Whether the values of a map need no memory of their own.
    #[inline]
    pub(crate) fn is_inline(shape: &Shape) -> bool {
        shape.cpus <= Inline::<V>::ROOM
    }

    /// From the kernel's bytes of one key of such a map.
    #[inline]
    pub(crate) fn from_words(words: [u64; WORDS], shape: &Shape) -> Self {
        Self { values: Values::Inline(Inline::from_words(words, shape.cpus)) }
    }

    /// From the kernel's bytes in the buffer of a batch, which is the result's from here on
    /// where that saves a copy.
    #[inline]
    pub(crate) fn take(buffer: &mut Block, at: usize, cpus: usize) -> Self {
        if cpus <= Inline::<V>::ROOM {
            return Self { values: Values::Inline(Inline::from_window(buffer.window(at), cpus)) };
        }
        Self::take_many(buffer, at, cpus)
    }

    #[inline]
    fn take_many(buffer: &mut Block, at: usize, cpus: usize) -> Self {
        let values = if Piece::<V>::IS_POSSIBLE {
            Values::Piece(buffer.split(at, cpus))
        } else {
            Values::Boxed(slots(buffer.bytes(at, stride::<V>() * cpus)).collect())
        };
        Self { values }
    }

    /// The kernel's form of the values, behind what `bytes` holds.
    pub(crate) fn append(
        &self,
        bytes: &mut Vec<MaybeUninit<u8>>,
        shape: &Shape,
    ) -> Result<(), Error> {
        self.check(shape)?;
        let start = bytes.len();
        bytes.resize(start + shape.value_span(), MaybeUninit::new(0));
        self.write(&mut bytes[start..]);
        Ok(())
    }

    /// The kernel's form of the values, into memory of `value_span` bytes.
    pub(crate) fn write(&self, bytes: &mut RawBytes) {
        let slots = bytes.chunks_exact_mut(stride::<V>());
        for (slot, value) in slots.zip(self) {
            slot[..size_of::<V>()].copy_from_slice(pod::bytes_of(value));
        }
    }

    pub(crate) fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.check_len(shape.cpus, shape.name)
    }

    fn check_len(&self, cpus: usize, map: MapName) -> Result<(), Error> {
        if self.len() == cpus {
            return Ok(());
        }
        let what = format!(
            "a per-CPU value needs {cpus} values, one for each possible CPU; this one has {}",
            self.len()
        );
        Err(Error::InvalidArgument { map, what })
    }
}

/// In fours: what the compiler makes of a plain loop is slow to begin.
#[inline(never)]
fn sum_of_many<V: Accumulate>(values: &[V]) -> V {
    let mut sum = pod::zeroed::<V>();
    let fours = values.chunks_exact(4);
    let rest = fours.remainder();
    for four in fours {
        four.iter().for_each(|value| sum.accumulate(*value));
    }
    for value in rest {
        sum.accumulate(*value);
    }
    sum
}

/// The values of the CPUs in the kernel's bytes of one key, added up.
#[inline]
pub(crate) fn sum_of_slots<V: Accumulate>(bytes: &[u8]) -> V {
    let mut sum = pod::zeroed::<V>();
    each_slot(bytes, |value| sum.accumulate(value));
    sum
}

/// Calls `f` for the value of each CPU, in order. In fours: what the compiler makes of a plain
/// loop is fast for many CPUs, but begins with more than the two additions of a small machine.
#[inline]
fn each_slot<V: Pod>(bytes: &[u8], mut f: impl FnMut(V)) {
    let mut slot = |slot: &[u8]| f(pod::read(&slot[..size_of::<V>()]));
    let fours = bytes.chunks_exact(4 * stride::<V>());
    let rest = fours.remainder();
    for four in fours {
        four.chunks_exact(stride::<V>()).for_each(&mut slot);
    }
    // Written out for the compiler, which would make a loop over fours of this too.
    for at in 0..3 {
        if let Some(last) = rest.get(at * stride::<V>()..(at + 1) * stride::<V>()) {
            slot(last);
        }
    }
}

/// The values of the CPUs in the kernel's bytes of one key, or of several.
#[inline]
pub(crate) fn slots<V: Pod>(bytes: &[u8]) -> impl ExactSizeIterator<Item = V> {
    bytes.chunks_exact(stride::<V>()).map(|slot| pod::read(&slot[..size_of::<V>()]))
}

impl<V> Deref for PerCpu<V> {
    type Target = [V];

    #[inline]
    fn deref(&self) -> &[V] {
        match &self.values {
            Values::Inline(inline) => inline.as_slice(),
            Values::Boxed(boxed) => boxed,
            Values::Piece(piece) => piece.as_slice(),
        }
    }
}

impl<V> DerefMut for PerCpu<V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [V] {
        match &mut self.values {
            Values::Inline(inline) => inline.as_mut_slice(),
            Values::Boxed(boxed) => boxed,
            Values::Piece(piece) => piece.as_mut_slice(),
        }
    }
}

/// The clone has memory of its own, and nothing of a batch.
impl<V: Clone> Clone for PerCpu<V> {
    fn clone(&self) -> Self {
        let values = match &self.values {
            Values::Inline(inline) => Values::Inline(*inline),
            _ => Values::Boxed(self.to_vec().into()),
        };
        Self { values }
    }
}

impl<V: PartialEq> PartialEq for PerCpu<V> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<V: Eq> Eq for PerCpu<V> {}

impl<V: Hash> Hash for PerCpu<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<V> From<Vec<V>> for PerCpu<V> {
    fn from(values: Vec<V>) -> Self {
        Self { values: Values::Boxed(values.into()) }
    }
}

impl<V> FromIterator<V> for PerCpu<V> {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        values.into_iter().collect::<Vec<V>>().into()
    }
}

/// The values of a [`PerCpu`], one after the other.
#[derive(Clone, Debug)]
pub struct IntoIter<V> {
    values: PerCpu<V>,
    left: Range<usize>,
}

impl<V: Copy> Iterator for IntoIter<V> {
    type Item = V;

    #[inline]
    fn next(&mut self) -> Option<V> {
        self.left.next().map(|cpu| self.values[cpu])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl<V: Copy> DoubleEndedIterator for IntoIter<V> {
    fn next_back(&mut self) -> Option<V> {
        self.left.next_back().map(|cpu| self.values[cpu])
    }
}

impl<V: Copy> ExactSizeIterator for IntoIter<V> {}
impl<V: Copy> FusedIterator for IntoIter<V> {}

impl<V: Copy> IntoIterator for PerCpu<V> {
    type Item = V;
    type IntoIter = IntoIter<V>;

    fn into_iter(self) -> IntoIter<V> {
        let left = 0..self.len();
        IntoIter { values: self, left }
    }
}

impl<'a, V> IntoIterator for &'a PerCpu<V> {
    type Item = &'a V;
    type IntoIter = std::slice::Iter<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<V: fmt::Debug> fmt::Debug for PerCpu<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
