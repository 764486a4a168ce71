//! [`PerCpuArray`].

use std::borrow::Borrow;

use crate::error::{Error, Result};
use crate::typed::Mode;
use crate::walk::{PerCpuIter, PerCpuValues, Sums, Walk};
use crate::{Accumulate, PerCpu, Pod, Snapshot};

map_kind! {
    /// An array whose elements have a value of their own on each CPU.
    ///
    /// Since Linux 4.6. Batches since 5.13; before, a walk is one call an index.
    ///
    /// ```no_run
    /// use bpf_atlas::{PerCpu, PerCpuArray};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let packets = PerCpuArray::<u64>::create("packets", 256)?;
    /// packets.update(17, &PerCpu::splat(2))?;
    /// println!("UDP: {} on all CPUs, {:?} on each", packets.sum_of(17)?, packets.lookup(17)?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "BPF_MAP_TYPE_PERCPU_ARRAY")]
    PerCpuArray<V>, key: u32, kind: PerCpuArray
}

array_methods!(PerCpuArray, value: PerCpu<V>, iter: PerCpuIter, values: PerCpuValues);

impl<V: Pod> PerCpuArray<V> {
    /// The values at `index` on every possible CPU. One `BPF_MAP_LOOKUP_ELEM`, and one
    /// allocation where the values take more than 32 bytes.
    ///
    /// # Concurrency
    /// Aligned words of 8 bytes are never torn; a wider value may be read half
    /// before and half after a program's write (measured for two words: 9 %
    /// under constant writing).
    ///
    /// # Errors
    /// [`IndexOutOfRange`](Error::IndexOutOfRange), [`WriteOnly`](Error::WriteOnly),
    /// [`PermissionDenied`](Error::PermissionDenied), [`Sys`](Error::Sys).
    pub fn lookup(&self, index: u32) -> Result<PerCpu<V>> {
        self.typed.lookup_cpus(&index)?.ok_or_else(|| self.out_of_range(index))
    }

    /// The values at `index` added up over the CPUs, without an allocation for
    /// values of up to 1 KiB on all CPUs together.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn sum_of(&self, index: u32) -> Result<V>
    where
        V: Accumulate,
    {
        self.typed.lookup_sum(&index)?.ok_or_else(|| self.out_of_range(index))
    }

    /// Sets the values at `index` on all CPUs, in place: what programs add
    /// meanwhile is lost. One `BPF_MAP_UPDATE_ELEM`.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](Error::IndexOutOfRange),
    /// [`InvalidArgument`](Error::InvalidArgument) when there is not a value for
    /// each CPU, [`ReadOnly`](Error::ReadOnly),
    /// [`PermissionDenied`](Error::PermissionDenied), [`Sys`](Error::Sys).
    pub fn update(&self, index: u32, value: &PerCpu<V>) -> Result<()> {
        self.check_index(index)?;
        self.typed.update_cpus(&index, value, Mode::Any).map(drop)
    }

    /// Sets many values, 1,024 a `BPF_MAP_UPDATE_BATCH`; how many.
    ///
    /// # Errors
    /// As [`update`](Self::update), inside [`Partial`](Error::Partial) once some
    /// were written.
    pub fn update_all<B: Borrow<PerCpu<V>>>(
        &self,
        entries: impl IntoIterator<Item = (u32, B)>,
    ) -> Result<usize> {
        self.checked_all(entries, |entries| self.typed.update_all_cpus(entries))
    }

    /// Calls `f` for every index and its values; how many there were. As
    /// [`iter`](Self::iter), without an allocation once a walk of this handle has made its
    /// buffers: the values are lent.
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn for_each(&self, f: impl FnMut(u32, &PerCpu<V>)) -> Result<usize> {
        self.typed.for_each_cpus(f)
    }

    /// Walks the array with the values added up over the CPUs; as [`iter`](Self::iter).
    pub fn sums(&self) -> Sums<u32, V>
    where
        V: Accumulate,
    {
        Walk::new(&self.typed.raw)
    }

    /// All values of a walk, added up over the CPUs, with the time it was taken.
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn snapshot(&self) -> Result<Snapshot<u32, V>>
    where
        V: Accumulate,
    {
        let mut snapshot = Snapshot::new();
        self.snapshot_into(&mut snapshot)?;
        Ok(snapshot)
    }

    /// As [`snapshot`](Self::snapshot), in the memory of an earlier one.
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn snapshot_into(&self, snapshot: &mut Snapshot<u32, V>) -> Result<()>
    where
        V: Accumulate,
    {
        snapshot.fill(|entries| self.typed.collect_sums(entries))
    }
}

impl<V: Accumulate> crate::rates::sealed::Totals for PerCpuArray<V> {
    type Key = u32;
    type Total = V;

    fn totals(&self, f: &mut dyn FnMut(u32, V)) -> Result<usize> {
        self.typed.for_each_sum(f)
    }
}

#[cfg(feature = "gather")]
impl<V: Accumulate> crate::rates::sealed::Raw for PerCpuArray<V> {
    fn raw(&self) -> &crate::RawMap {
        &self.typed.raw
    }
}
