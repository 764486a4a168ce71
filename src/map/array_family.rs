//! What `Array` and `PerCpuArray` share: keys are the numbers from 0.

/// Implements the methods of an array.
macro_rules! array_methods {
    ($name:ident, value: $value:ty, iter: $iter:ident, values: $values:ident) => {
        impl<V: Pod> $name<V> {
            /// Walks the array: every index once, in order, as `(index, value)`.
            ///
            /// One `BPF_MAP_LOOKUP_BATCH` for some thousand entries, where the
            /// kernel has it, else one call an index. Values are read one by
            /// one: not the array at one instant.
            ///
            /// # Errors
            /// Yielded once, after what was read before it, then the walk ends:
            /// [`WriteOnly`](Error::WriteOnly),
            /// [`PermissionDenied`](Error::PermissionDenied),
            /// [`OutOfMemory`](Error::OutOfMemory), [`Sys`](Error::Sys).
            pub fn iter(&self) -> $iter<u32, V> {
                Walk::new(&self.typed.raw)
            }

            /// Walks the values in order of their index; as [`iter`](Self::iter).
            pub fn values(&self) -> $values<u32, V> {
                Walk::new(&self.typed.raw)
            }

            /// All values added up, as [`Accumulate`](crate::Accumulate) defines it.
            ///
            /// # Errors
            /// As [`iter`](Self::iter).
            pub fn sum(&self) -> Result<V>
            where
                V: Accumulate,
            {
                self.typed.sum()
            }

            fn out_of_range(&self, index: u32) -> Error {
                Error::IndexOutOfRange { map: self.name(), index, max_entries: self.max_entries() }
            }

            fn check_index(&self, index: u32) -> Result<()> {
                if index < self.max_entries() { Ok(()) } else { Err(self.out_of_range(index)) }
            }

            /// Runs a batch of writes over the entries before the first index
            /// that the array does not have.
            fn checked_all<T>(
                &self,
                entries: impl IntoIterator<Item = (u32, T)>,
                write: impl FnOnce(&mut dyn Iterator<Item = (u32, T)>) -> Result<usize>,
            ) -> Result<usize> {
                let mut refused = None;
                let mut good =
                    entries.into_iter().map_while(|(index, value)| match self.check_index(index) {
                        Ok(()) => Some((index, value)),
                        Err(error) => {
                            refused = Some(error);
                            None
                        }
                    });
                let done = write(&mut good)?;
                match refused {
                    None => Ok(done),
                    Some(error) if done == 0 => Err(error),
                    Some(error) => Err(Error::Partial {
                        map: self.name(),
                        op: crate::error::Op::UpdateBatch,
                        done,
                        source: Box::new(error),
                    }),
                }
            }
        }

        impl<V: Pod> IntoIterator for &$name<V> {
            type Item = Result<(u32, $value)>;
            type IntoIter = $iter<u32, V>;

            /// As `iter`.
            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }
    };
}
