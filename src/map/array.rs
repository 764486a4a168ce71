//! [`Array`].

use std::borrow::Borrow;

use crate::error::{Error, Result};
use crate::typed::Mode;
use crate::walk::{Iter, Values, Walk};
use crate::{Accumulate, MappedArray, Pod, Snapshot};

map_kind! {
    /// An array of `max_entries` values, zero at first, that are always there.
    ///
    /// Since Linux 3.19. Elements never move and cannot be deleted, so there is
    /// no `delete`:
    ///
    /// ```compile_fail,E0599
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let slots = bpf_atlas::Array::<u64>::create("slots", 4)?;
    /// slots.delete(0)?; // no method named `delete`
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// ```no_run
    /// use bpf_atlas::Array;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let slots = Array::<u64>::create("slots", 4)?;
    /// slots.update(3, 7)?;
    /// assert_eq!(slots.lookup(3)?, 7);
    /// assert!(slots.lookup(4).is_err());
    /// assert_eq!(slots.sum()?, 7);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "BPF_MAP_TYPE_ARRAY")]
    Array<V>, key: u32, kind: Array
}

array_methods!(Array, value: V, iter: Iter, values: Values);

impl<V: Pod> Array<V> {
    /// The value at `index`. One `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Concurrency
    /// Aligned fields of up to 8 bytes are never torn; a wider value may be
    /// read half before and half after a write (measured for two words: 3.5 %
    /// under constant writing).
    ///
    /// # Errors
    /// [`IndexOutOfRange`](Error::IndexOutOfRange), [`WriteOnly`](Error::WriteOnly),
    /// [`PermissionDenied`](Error::PermissionDenied), [`Sys`](Error::Sys).
    #[inline]
    pub fn lookup(&self, index: u32) -> Result<V> {
        self.typed.lookup(&index)?.ok_or_else(|| self.out_of_range(index))
    }

    /// Sets the value at `index`, in place. One `BPF_MAP_UPDATE_ELEM`.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](Error::IndexOutOfRange), [`ReadOnly`](Error::ReadOnly),
    /// [`PermissionDenied`](Error::PermissionDenied), [`Sys`](Error::Sys).
    pub fn update(&self, index: u32, value: impl Borrow<V>) -> Result<()> {
        self.check_index(index)?;
        self.typed.update(&index, value.borrow(), Mode::Any).map(drop)
    }

    /// Sets many values, 1,024 a `BPF_MAP_UPDATE_BATCH`; how many. Since Linux
    /// 5.6; before, one by one.
    ///
    /// # Errors
    /// As [`update`](Self::update), inside [`Partial`](Error::Partial) once some
    /// were written.
    pub fn update_all<B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (u32, B)>,
    ) -> Result<usize> {
        self.checked_all(entries, |entries| self.typed.update_all(entries))
    }

    /// Calls `f` for every index and value; how many there were. As
    /// [`iter`](Self::iter), without an allocation once a walk of this handle
    /// has made its buffers.
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn for_each(&self, f: impl FnMut(u32, V)) -> Result<usize> {
        self.typed.for_each(f)
    }

    /// All values of a walk, with the time it was taken.
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn snapshot(&self) -> Result<Snapshot<u32, V>> {
        let mut snapshot = Snapshot::new();
        self.snapshot_into(&mut snapshot)?;
        Ok(snapshot)
    }

    /// As [`snapshot`](Self::snapshot), in the memory of an earlier one.
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn snapshot_into(&self, snapshot: &mut Snapshot<u32, V>) -> Result<()> {
        snapshot.fill(|entries| self.typed.collect(entries))
    }

    /// The array's memory itself, read and written without a system call.
    ///
    /// For arrays created with `BPF_F_MMAPABLE`
    /// ([`CreateFlags::MMAPABLE`](crate::CreateFlags::MMAPABLE)). One `mmap`.
    /// Since Linux 5.5.
    ///
    /// # Errors
    /// [`Unsupported`](Error::Unsupported) without that flag,
    /// [`ReadOnly`](Error::ReadOnly) or [`WriteOnly`](Error::WriteOnly) through
    /// a descriptor that is one of these, [`Sys`](Error::Sys). A frozen map is
    /// mapped for reading only.
    pub fn mapped(&self) -> Result<MappedArray<V>>
    where
        V: crate::Atomic,
    {
        MappedArray::new(&self.typed.raw)
    }
}

impl<V: Accumulate> crate::rates::sealed::Totals for Array<V> {
    type Key = u32;
    type Total = V;

    fn totals(&self, f: &mut dyn FnMut(u32, V)) -> Result<usize> {
        self.typed.for_each(f)
    }
}

#[cfg(feature = "gather")]
impl<V: Accumulate> crate::rates::sealed::Raw for Array<V> {
    fn raw(&self) -> &crate::RawMap {
        &self.typed.raw
    }
}
