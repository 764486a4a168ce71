//! [`MappedArray`].

use std::fmt;

use crate::accumulate::Accumulate;
use crate::error::{Error, Op, ReadOnlyBecause, Result};
use crate::raw::{MapName, RawMap};
use crate::sys::atomic::{Atomic, Slot, Slots};
use crate::sys::commands::Errno;
use crate::sys::mmap::{Mapping, page_size};

/// An [`Array`](crate::Array)'s own memory: reads and writes without a system call.
///
/// Every access is an atomic load, store or swap of the whole value, so it is
/// never torn and needs no lock. Made by [`Array::mapped`](crate::Array::mapped);
/// holds the map's memory by itself. Since Linux 5.5.
///
/// ```no_run
/// use bpf_atlas::{Array, CreateFlags};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let slots = Array::<u64>::create_with("slots", 64, CreateFlags::MMAPABLE)?;
/// let mapped = slots.mapped()?;
/// mapped.store(3, 7)?;
/// assert_eq!(slots.lookup(3)?, 7);
/// assert_eq!(mapped.take(3)?, 7); // now zero: an exact reset
/// # Ok(())
/// # }
/// ```
#[doc(alias = "BPF_F_MMAPABLE")]
pub struct MappedArray<V> {
    slots: Slots<V>,
    name: MapName,
    len: u32,
}

/// Values of an array lie 8 bytes apart at least.
const fn stride<V>() -> usize {
    size_of::<V>().next_multiple_of(8)
}

impl<V: Atomic> MappedArray<V> {
    pub(crate) fn new(map: &RawMap) -> Result<Self> {
        let (name, len) = (map.name(), map.max_entries());
        if map.shape().flags & libbpf_sys::BPF_F_MMAPABLE == 0 {
            let needs = "a map created with BPF_F_MMAPABLE (Linux 5.5)";
            return Err(Error::Unsupported { map: name, op: Op::Mmap, needs });
        }
        let bytes = (len as usize * stride::<V>()).next_multiple_of(page_size());
        let fd = std::os::fd::AsFd::as_fd(map);
        let memory = match Mapping::new(fd, 0, bytes, true) {
            // A frozen map can be mapped for reading. Through a read-only
            // descriptor the kernel maps nothing; why is in its first answer.
            Err(errno @ (Errno::PERM | Errno::ACCES)) => {
                Mapping::new(fd, 0, bytes, false).map_err(|_| errno)
            }
            result => result,
        };
        let memory = memory.map_err(|errno| map.explain(Op::Mmap, errno))?;
        Ok(Self { slots: Slots::new(memory, len as usize), name, len })
    }

    /// How many values there are.
    #[expect(clippy::len_without_is_empty, reason = "the kernel refuses an array without entries")]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    fn offset(&self, index: u32) -> Result<usize> {
        if index < self.len {
            return Ok(index as usize * stride::<V>());
        }
        Err(self.out_of_range(index))
    }

    #[cold]
    fn out_of_range(&self, index: u32) -> Error {
        Error::IndexOutOfRange { map: self.name, index, max_entries: self.len }
    }

    fn writable(&self) -> Result<()> {
        if self.slots.memory().0.is_writable() {
            return Ok(());
        }
        Err(Error::ReadOnly { map: self.name, because: ReadOnlyBecause::Frozen })
    }

    /// The value at `index`: one atomic load.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](Error::IndexOutOfRange).
    #[inline]
    pub fn load(&self, index: u32) -> Result<V> {
        match self.slots.as_slice().get(index as usize) {
            Some(slot) => Ok(slot.load()),
            None => Err(self.out_of_range(index)),
        }
    }

    /// Sets the value at `index`: one atomic store. What programs add between a
    /// load and a store is lost; to reset a counter use [`take`](Self::take).
    ///
    /// # Errors
    /// [`IndexOutOfRange`](Error::IndexOutOfRange), [`ReadOnly`](Error::ReadOnly).
    pub fn store(&self, index: u32, value: V) -> Result<()> {
        self.writable()?;
        value.store(self.slots.memory(), self.offset(index)?);
        Ok(())
    }

    /// The value at `index`, leaving zero: one atomic swap. Exact against
    /// programs that add atomically: each increment is in this take or in a
    /// later one.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](Error::IndexOutOfRange), [`ReadOnly`](Error::ReadOnly).
    pub fn take(&self, index: u32) -> Result<V> {
        self.writable()?;
        Ok(crate::sys::pod::zeroed::<V>().swap(self.slots.memory(), self.offset(index)?))
    }

    /// The values in order: an atomic load each, so not the array at one instant.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = V> + '_ {
        self.slots.as_slice().iter().map(Slot::load)
    }

    /// All values added up.
    pub fn sum(&self) -> V
    where
        V: Accumulate,
    {
        // Several sums side by side: a single one would wait for each addition before the next.
        // It makes no difference to the result: the values are integers.
        let mut sums = [crate::sys::pod::zeroed::<V>(); 4];
        let several = self.slots.as_slice().chunks_exact(sums.len());
        let rest = several.remainder();
        for slots in several {
            for (sum, slot) in sums.iter_mut().zip(slots) {
                sum.accumulate(slot.load());
            }
        }
        let [mut sum, others @ ..] = sums;
        for value in others.into_iter().chain(rest.iter().map(Slot::load)) {
            sum.accumulate(value);
        }
        sum
    }
}

impl<V> fmt::Debug for MappedArray<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedArray").field("name", &self.name).field("len", &self.len).finish()
    }
}
