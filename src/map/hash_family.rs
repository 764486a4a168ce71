//! What `Hash` and `LruHash` share: keys with one value each.

/// Implements the methods of a hash whose keys have one value.
macro_rules! hash_methods {
    ($name:ident) => {
        impl<K: $crate::Pod, V: $crate::Pod> $name<K, V> {
            /// The value of `key`. One `BPF_MAP_LOOKUP_ELEM`, no allocation.
            ///
            /// # Concurrency
            /// While someone *replaces* this key's element (`update` on a key
            /// that is there) or deletes it, the kernel may answer `None` for a
            /// key that is there throughout, bytes of two values, or the value
            /// of the key that reuses the element: measured, up to some hundred in
            /// 100,000 under constant replacement. Programs that write in place (an
            /// atomic add through the pointer) do not cause this. A walk never
            /// has it, nor [`lookup_walked`](Self::lookup_walked). Aligned
            /// fields of up to 8 bytes are never torn by writers in place.
            ///
            /// # Errors
            /// [`WriteOnly`](crate::Error::WriteOnly),
            /// [`PermissionDenied`](crate::Error::PermissionDenied),
            /// [`Sys`](crate::Error::Sys).
            #[inline]
            pub fn lookup(&self, key: impl std::borrow::Borrow<K>) -> $crate::Result<Option<V>> {
                self.typed.lookup(key.borrow())
            }

            /// The value of `key` as a walk finds it: under the lock of its
            /// bucket, so never missed, mixed or another key's, whoever
            /// replaces it. Costs a walk up to that key.
            ///
            /// # Errors
            /// As [`iter`](Self::iter).
            pub fn lookup_walked(
                &self,
                key: impl std::borrow::Borrow<K>,
            ) -> $crate::Result<Option<V>>
            where
                K: PartialEq,
            {
                for entry in self.iter() {
                    let (found, value) = entry?;
                    if found == *key.borrow() {
                        return Ok(Some(value));
                    }
                }
                Ok(None)
            }

            /// Sets `key` to `value`, whether it is there or not
            /// (`BPF_MAP_UPDATE_ELEM`, `BPF_ANY`). A key that is there gets a
            /// new element: see [`lookup`](Self::lookup) for what a reader can
            /// see, and [`delete`](Self::delete) for what happens to an
            /// increment under way.
            ///
            /// # Errors
            /// [`Full`](crate::Error::Full) (never for an LRU map),
            /// [`ReadOnly`](crate::Error::ReadOnly), [`Busy`](crate::Error::Busy),
            /// [`PermissionDenied`](crate::Error::PermissionDenied),
            /// [`Sys`](crate::Error::Sys).
            pub fn update(
                &self,
                key: impl std::borrow::Borrow<K>,
                value: impl std::borrow::Borrow<V>,
            ) -> $crate::Result<()> {
                self.typed
                    .update(key.borrow(), value.borrow(), $crate::typed::Mode::Any)
                    .map(drop)
            }

            /// Inserts `key` if it is not there (`BPF_NOEXIST`); whether it was inserted.
            ///
            /// # Errors
            /// As [`update`](Self::update).
            pub fn insert(
                &self,
                key: impl std::borrow::Borrow<K>,
                value: impl std::borrow::Borrow<V>,
            ) -> $crate::Result<bool> {
                self.typed.update(key.borrow(), value.borrow(), $crate::typed::Mode::NoExist)
            }

            /// Replaces the value of `key` if it is there (`BPF_EXIST`); whether it was.
            ///
            /// # Errors
            /// As [`update`](Self::update), without `Full`.
            pub fn replace(
                &self,
                key: impl std::borrow::Borrow<K>,
                value: impl std::borrow::Borrow<V>,
            ) -> $crate::Result<bool> {
                self.typed.update(key.borrow(), value.borrow(), $crate::typed::Mode::Exist)
            }

            /// Removes `key` and gives its value, in one step
            /// (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`). Since Linux 5.14. For live
            /// counters as unsuited as [`delete`](Self::delete).
            ///
            /// # Errors
            /// As [`delete`](Self::delete), and
            /// [`Unsupported`](crate::Error::Unsupported) before 5.14.
            pub fn take(&self, key: impl std::borrow::Borrow<K>) -> $crate::Result<Option<V>> {
                self.typed.take(key.borrow())
            }

            /// Calls `f` for every entry; how many there were. As
            /// [`iter`](Self::iter), without an allocation once a walk of this
            /// handle has made its buffers.
            ///
            /// # Errors
            /// As [`iter`](Self::iter); `f` has seen what came before.
            pub fn for_each(&self, f: impl FnMut(K, V)) -> $crate::Result<usize> {
                self.typed.for_each(f)
            }

            /// The values of all keys added up, as [`Accumulate`](crate::Accumulate) defines it.
            ///
            /// # Errors
            /// As [`iter`](Self::iter).
            pub fn sum(&self) -> $crate::Result<V>
            where
                V: $crate::Accumulate,
            {
                self.typed.sum()
            }

            /// Sets many keys, 1,024 a `BPF_MAP_UPDATE_BATCH`; how many. Since
            /// Linux 5.6; before, one by one.
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
                B: std::borrow::Borrow<V>,
            {
                self.typed.update_all(entries)
            }

            /// All entries of a walk, with the time it was taken.
            ///
            /// # Errors
            /// As [`iter`](Self::iter).
            pub fn snapshot(&self) -> $crate::Result<$crate::Snapshot<K, V>> {
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
            ) -> $crate::Result<()> {
                snapshot.fill(|entries| self.typed.collect(entries))
            }
        }

        keyed_kind!($name, value: V, iter: Iter, entry: Entry, values: Values);

        impl<K: $crate::Pod, V: $crate::Accumulate> $crate::rates::sealed::Totals for $name<K, V> {
            type Key = K;
            type Total = V;

            fn totals(&self, f: &mut dyn FnMut(K, V)) -> $crate::Result<usize> {
                self.typed.for_each(f)
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
