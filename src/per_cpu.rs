//! [`PerCpu<V>`]: one value for each CPU that the kernel may ever have.

use std::fmt;
use std::mem::{MaybeUninit, size_of};
use std::ops::{Deref, DerefMut};

use crate::accumulate::Accumulate;
use crate::error::Error;
use crate::raw::{MapName, Shape};
use crate::sys::pod::{self, Pod, RawBytes};

/// The values of one key on every *possible* CPU, by CPU number.
///
/// Possible, not online: a CPU that went offline keeps its count, and leaving
/// it out would lose it. Dereferences to a slice. It owns its values, so each is an
/// allocation of its own: a walk that shall make none uses `sums` or `for_each`.
///
/// ```
/// use bpf_atlas::PerCpu;
/// let value = PerCpu::from(vec![3_u64, 4]);
/// assert_eq!(value.sum(), 7);
/// assert_eq!(value[1], 4);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PerCpu<V> {
    values: Box<[V]>,
}

impl<V: Pod> PerCpu<V> {
    /// The same value for each CPU. Reads the number of possible CPUs, which
    /// libbpf asks once a process.
    pub fn splat(value: V) -> Self {
        let cpus = crate::sys::bpf::possible_cpus().unwrap_or(1);
        Self { values: vec![value; cpus].into() }
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
    pub fn sum(&self) -> V
    where
        V: Accumulate,
    {
        let mut sum = pod::zeroed::<V>();
        let fours = self.values.chunks_exact(4);
        let rest = fours.remainder();
        for four in fours {
            four.iter().for_each(|value| sum.accumulate(*value));
        }
        for value in rest {
            sum.accumulate(*value);
        }
        sum
    }

    /// From the kernel's bytes of one key.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self { values: slots(bytes).collect() }
    }

    /// Overwrites the values with the kernel's bytes, in the memory at hand.
    #[inline]
    pub(crate) fn refill(&mut self, bytes: &[u8]) {
        // In fours, as in `each_slot`.
        let put = |(value, slot): (&mut V, &[u8])| *value = pod::read(&slot[..size_of::<V>()]);
        let mut values = self.values.chunks_exact_mut(4);
        let slots = bytes.chunks_exact(4 * stride::<V>());
        let rest = slots.remainder();
        for (values, slots) in values.by_ref().zip(slots) {
            values.iter_mut().zip(slots.chunks_exact(stride::<V>())).for_each(put);
        }
        let values = values.into_remainder().iter_mut();
        values.zip(rest.chunks_exact(stride::<V>())).for_each(put);
    }

    /// An all-zero value with a slot for each CPU of the map.
    pub(crate) fn scratch(shape: &Shape) -> Self {
        Self { values: vec![pod::zeroed(); shape.cpus].into() }
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
        for (slot, value) in slots.zip(&self.values) {
            slot[..size_of::<V>()].copy_from_slice(pod::bytes_of(value));
        }
    }

    pub(crate) fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.check_len(shape.cpus, shape.name)
    }

    fn check_len(&self, cpus: usize, map: MapName) -> Result<(), Error> {
        if self.values.len() == cpus {
            return Ok(());
        }
        let what = format!(
            "a per-CPU value needs {cpus} values, one for each possible CPU; this one has {}",
            self.values.len()
        );
        Err(Error::InvalidArgument { map, what })
    }
}

/// The bytes from the value of one CPU to that of the next. A constant: cutting memory by a
/// number that is known only later takes a division, and adds up one value at a time.
pub(crate) const fn stride<V>() -> usize {
    size_of::<V>().next_multiple_of(8)
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

    fn deref(&self) -> &[V] {
        &self.values
    }
}

impl<V> DerefMut for PerCpu<V> {
    fn deref_mut(&mut self) -> &mut [V] {
        &mut self.values
    }
}

impl<V> From<Vec<V>> for PerCpu<V> {
    fn from(values: Vec<V>) -> Self {
        Self { values: values.into() }
    }
}

impl<V> FromIterator<V> for PerCpu<V> {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        Self { values: values.into_iter().collect() }
    }
}

impl<V> IntoIterator for PerCpu<V> {
    type Item = V;
    type IntoIter = std::vec::IntoIter<V>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_vec().into_iter()
    }
}

impl<'a, V> IntoIterator for &'a PerCpu<V> {
    type Item = &'a V;
    type IntoIter = std::slice::Iter<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.iter()
    }
}

impl<V: fmt::Debug> fmt::Debug for PerCpu<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter()).finish()
    }
}
