//! What `PerCpuHash` and `LruPerCpuHash` share: keys with a value on each CPU.

/// Implements the methods of a hash whose keys have a value on each CPU.
macro_rules! per_cpu_hash_methods {
    ($name:ident) => {
        impl<K: $crate::Pod, V: $crate::Pod> $name<K, V> {
            /// The values of `key` on every possible CPU. One
            /// `BPF_MAP_LOOKUP_ELEM`, and one allocation where the values take
            /// more than 32 bytes.
            ///
            /// # Concurrency
            /// Aligned words of 8 bytes are never torn; a wider value may be
            /// read half before and half after a program's write. While the
            /// key is deleted and its element reused by another key, the
            /// kernel may answer with that key's values.
            ///
            /// # Errors
            /// [`WriteOnly`](crate::Error::WriteOnly),
            /// [`PermissionDenied`](crate::Error::PermissionDenied),
            /// [`Sys`](crate::Error::Sys).
            pub fn lookup(
                &self,
                key: impl std::borrow::Borrow<K>,
            ) -> $crate::Result<Option<$crate::PerCpu<V>>> {
                self.typed.lookup_cpus(key.borrow())
            }

            /// The values of `key` added up over the CPUs. As
            /// [`lookup`](Self::lookup), without an allocation for values of up
            /// to 1 KiB on all CPUs together.
            ///
            /// # Errors
            /// As [`lookup`](Self::lookup).
            pub fn sum_of(&self, key: impl std::borrow::Borrow<K>) -> $crate::Result<Option<V>>
            where
                V: $crate::Accumulate,
            {
                self.typed.lookup_sum(key.borrow())
            }

            /// Sets the values of `key` on all CPUs (`BPF_ANY`). A key that is
            /// there is written in place: what programs add meanwhile is lost.
            ///
            /// # Errors
            /// [`Full`](crate::Error::Full) (never for an LRU map),
            /// [`InvalidArgument`](crate::Error::InvalidArgument) when there is not a
            /// value for each CPU, [`ReadOnly`](crate::Error::ReadOnly),
            /// [`Busy`](crate::Error::Busy),
            /// [`PermissionDenied`](crate::Error::PermissionDenied),
            /// [`Sys`](crate::Error::Sys).
            pub fn update(
                &self,
                key: impl std::borrow::Borrow<K>,
                value: &$crate::PerCpu<V>,
            ) -> $crate::Result<()> {
                self.typed.update_cpus(key.borrow(), value, $crate::typed::Mode::Any).map(drop)
            }

            /// Inserts `key` if it is not there (`BPF_NOEXIST`); whether it was inserted.
            ///
            /// # Errors
            /// As [`update`](Self::update).
            pub fn insert(
                &self,
                key: impl std::borrow::Borrow<K>,
                value: &$crate::PerCpu<V>,
            ) -> $crate::Result<bool> {
                self.typed.update_cpus(key.borrow(), value, $crate::typed::Mode::NoExist)
            }

            /// Replaces the values of `key` if it is there (`BPF_EXIST`); whether it was.
            ///
            /// # Errors
            /// As [`update`](Self::update), without `Full`.
            pub fn replace(
                &self,
                key: impl std::borrow::Borrow<K>,
                value: &$crate::PerCpu<V>,
            ) -> $crate::Result<bool> {
                self.typed.update_cpus(key.borrow(), value, $crate::typed::Mode::Exist)
            }

            /// Removes `key` and gives its values, in one step
            /// (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`). Since Linux 5.14.
            ///
            /// # Errors
            /// As [`delete`](Self::delete), and
            /// [`Unsupported`](crate::Error::Unsupported) before 5.14.
            pub fn take(
                &self,
                key: impl std::borrow::Borrow<K>,
            ) -> $crate::Result<Option<$crate::PerCpu<V>>> {
                self.typed.take_cpus(key.borrow())
            }

            /// Calls `f` for every entry; how many there were. As
            /// [`iter`](Self::iter), without an allocation once a walk of this
            /// handle has made its buffers: the values are lent.
            ///
            /// # Errors
            /// As [`iter`](Self::iter); `f` has seen what came before.
            pub fn for_each(
                &self,
                f: impl FnMut(K, &$crate::PerCpu<V>),
            ) -> $crate::Result<usize> {
                self.typed.for_each_cpus(f)
            }

            /// Walks the entries with their values added up over the CPUs; as
            /// [`iter`](Self::iter).
            pub fn sums(&self) -> $crate::walk::Sums<K, V>
            where
                V: $crate::Accumulate,
            {
                $crate::walk::Walk::new(&self.typed.raw)
            }

            /// All values on all CPUs added up.
            ///
            /// # Errors
            /// As [`iter`](Self::iter).
            pub fn sum(&self) -> $crate::Result<V>
            where
                V: $crate::Accumulate,
            {
                self.typed.sum()
            }

            /// Sets many keys, 1,024 a `BPF_MAP_UPDATE_BATCH`; how many.
            ///
            /// # Errors
            /// As [`update`](Self::update), inside
            /// [`Partial`](crate::Error::Partial) once some were written.
            pub fn update_all<A, B>(
                &self,
                entries: impl IntoIterator<Item = (A, B)>,
            ) -> $crate::Result<usize>
            where
                A: std::borrow::Borrow<K>,
                B: std::borrow::Borrow<$crate::PerCpu<V>>,
            {
                self.typed.update_all_cpus(entries)
            }

            /// All entries of a walk, added up over the CPUs, with the time it
            /// was taken.
            ///
            /// # Errors
            /// As [`iter`](Self::iter).
            pub fn snapshot(&self) -> $crate::Result<$crate::Snapshot<K, V>>
            where
                V: $crate::Accumulate,
            {
                let mut snapshot = $crate::Snapshot::new();
                self.snapshot_into(&mut snapshot)?;
                Ok(snapshot)
            }

            /// As [`snapshot`](Self::snapshot), in the memory of an earlier one.
            ///
            /// # Errors
            /// As [`iter`](Self::iter); the snapshot then holds what was read before.
            pub fn snapshot_into(
                &self,
                snapshot: &mut $crate::Snapshot<K, V>,
            ) -> $crate::Result<()>
            where
                V: $crate::Accumulate,
            {
                snapshot.fill(|entries| self.typed.collect_sums(entries))
            }
        }

        keyed_kind!(
            $name,
            value: $crate::PerCpu<V>,
            iter: PerCpuIter,
            entry: CpuEntry,
            values: PerCpuValues
        );

        impl<K: $crate::Pod, V: $crate::Accumulate> $crate::rates::sealed::Totals for $name<K, V> {
            type Key = K;
            type Total = V;

            fn totals(&self, f: &mut dyn FnMut(K, V)) -> $crate::Result<usize> {
                self.typed.for_each_sum(f)
            }
        }

        #[cfg(feature = "gather")]
        impl<K: $crate::Pod, V: $crate::Accumulate> $crate::rates::sealed::Raw for $name<K, V> {
            fn raw(&self) -> &$crate::RawMap {
                &self.typed.raw
            }
        }
    };
}
