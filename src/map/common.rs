//! What every kind of map has, written once.
//!
//! A macro and not a trait, so that the methods need no import and each kind
//! documents its own.

/// The type of a kind, its constructors and what concerns the map as a whole.
macro_rules! map_kind {
    (
        $(#[$doc:meta])*
        $name:ident<$($param:ident),+>, key: $key:ty, kind: $kind:ident
    ) => {
        $(#[$doc])*
        pub struct $name<$($param),+> {
            pub(crate) typed: $crate::typed::Typed<$key, V>,
        }

        impl<$($param: $crate::Pod),+> $name<$($param),+> {
            const KIND: $crate::MapKind = $crate::MapKind::$kind;

            /// Opens a map of this kind from any libbpf-rs map or handle, a
            /// descriptor, or another map of this crate.
            ///
            /// The descriptor is duplicated, or shared with another map of this crate,
            /// so the result is `'static` and the skeleton can go. Costs `fcntl`,
            /// `BPF_OBJ_GET_INFO_BY_FD` and a look at `/proc`, once, and where the map
            /// has BTF three system calls for it, once for all maps of an object.
            ///
            /// # Errors
            /// [`Kind`](crate::OpenError::Kind), [`KeySize`](crate::OpenError::KeySize),
            /// [`ValueSize`](crate::OpenError::ValueSize) or
            /// [`Types`](crate::OpenError::Types), with a table of all differences,
            /// when the types are not those of the map, [`NotLoaded`](crate::OpenError::NotLoaded),
            /// [`NotAMap`](crate::OpenError::NotAMap), [`Sys`](crate::OpenError::Sys).
            pub fn open(map: impl $crate::MapSource) -> Result<Self, $crate::OpenError> {
                let typed = $crate::typed::Typed::open(map, Self::KIND, stringify!($name))?;
                Ok(Self { typed })
            }

            /// Opens the map pinned at `path`, as [`open`](Self::open). Since Linux 4.4.
            ///
            /// # Errors
            /// As [`open`](Self::open), and
            /// [`NotFound`](crate::OpenError::NotFound) where nothing is pinned,
            /// [`NotAMap`](crate::OpenError::NotAMap) where something else is,
            /// [`PermissionDenied`](crate::OpenError::PermissionDenied).
            pub fn open_pinned(
                path: impl AsRef<std::path::Path>,
            ) -> Result<Self, $crate::OpenError> {
                let path = path.as_ref();
                let typed =
                    $crate::typed::Typed::open_pinned(path, Self::KIND, stringify!($name))?;
                Ok(Self { typed })
            }

            /// Opens the map with the kernel's `id`, as `bpftool map` lists it.
            /// Needs `CAP_SYS_ADMIN`. Since Linux 4.13.
            ///
            /// # Errors
            /// As [`open`](Self::open), and
            /// [`NotFound`](crate::OpenError::NotFound) for an id that is gone,
            /// [`PermissionDenied`](crate::OpenError::PermissionDenied).
            pub fn open_id(id: u32) -> Result<Self, $crate::OpenError> {
                let typed = $crate::typed::Typed::open_id(id, Self::KIND, stringify!($name))?;
                Ok(Self { typed })
            }

            /// Creates a map of this kind that no program has yet. It lives as
            /// long as a handle, a program or a pin holds it. One `BPF_MAP_CREATE`.
            /// The kernel keeps 15 bytes of the name.
            ///
            /// # Errors
            /// [`InvalidArgument`](crate::OpenError::InvalidArgument) for no entries,
            /// types without bytes or a name the kernel would refuse,
            /// [`PermissionDenied`](crate::OpenError::PermissionDenied),
            /// [`Unsupported`](crate::OpenError::Unsupported),
            /// [`Sys`](crate::OpenError::Sys).
            pub fn create(name: &str, max_entries: u32) -> Result<Self, $crate::OpenError> {
                Self::create_with(name, max_entries, $crate::CreateFlags::NONE)
            }

            /// As [`create`](Self::create), with flags.
            ///
            /// # Errors
            /// As [`create`](Self::create).
            pub fn create_with(
                name: &str,
                max_entries: u32,
                flags: $crate::CreateFlags,
            ) -> Result<Self, $crate::OpenError> {
                let typed = $crate::typed::Typed::create(
                    name,
                    max_entries,
                    flags.bits(),
                    Self::KIND,
                    stringify!($name),
                )?;
                Ok(Self { typed })
            }

            /// The same map, walked with batches of `entries`, or as many as fit
            /// in 256 MiB, instead of a size chosen by measurement. It changes
            /// speed and memory, never what a walk finds.
            ///
            /// # Errors
            /// [`InvalidArgument`](crate::Error::InvalidArgument) for 0.
            pub fn with_batch_size(self, entries: u32) -> $crate::Result<Self> {
                Ok(Self { typed: self.typed.with_batch(entries)? })
            }

            /// The name that the kernel keeps, at most 15 bytes.
            pub fn name(&self) -> $crate::MapName {
                self.typed.raw.name()
            }

            /// The most entries that the map takes.
            pub fn max_entries(&self) -> u32 {
                self.typed.raw.max_entries()
            }

            /// What the kernel tells of the map: id, sizes, flags, BTF, memory,
            /// whether it is frozen. Reads `/proc/self/fdinfo`.
            pub fn info(&self) -> $crate::MapInfo {
                self.typed.raw.info()
            }

            /// How many entries there are: a walk, with all that
            /// [`iter`](Self::iter) says of one.
            ///
            /// # Errors
            /// As [`iter`](Self::iter).
            pub fn count(&self) -> $crate::Result<usize> {
                self.typed.count()
            }

            /// Pins the map at `path` in a mounted BPF file system, so that it
            /// outlives the process; to remove the pin, remove the file. One
            /// `BPF_OBJ_PIN`. Since Linux 4.4.
            ///
            /// # Errors
            /// [`Pin`](crate::Error::Pin), with the reason in words.
            pub fn pin(&self, path: impl AsRef<std::path::Path>) -> $crate::Result<()> {
                self.typed.raw.pin(path)
            }

            /// Makes the map read-only to user space, for good; programs still
            /// write it. Frozen already is success. One `BPF_MAP_FREEZE`. Since
            /// Linux 5.2.
            ///
            /// # Errors
            /// [`Busy`](crate::Error::Busy) while it is mapped into memory for writing,
            /// [`ReadOnly`](crate::Error::ReadOnly) through a read-only descriptor.
            pub fn freeze(&self) -> $crate::Result<()> {
                self.typed.raw.freeze()
            }

            /// How far the types were proved when the map was opened.
            pub fn proof(&self) -> &$crate::Proof {
                self.typed.proof()
            }

            /// The same map, if its types were proved field by field: where sizes
            /// are all that could be compared, a field that moved would go
            /// unnoticed. No system call.
            ///
            /// ```no_run
            /// # fn main() -> Result<(), bpf_atlas::OpenError> {
            /// use bpf_atlas::Hash;
            /// let counts = Hash::<u32, u64>::open_pinned("/sys/fs/bpf/counts")?.require_proof()?;
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            /// [`Unproved`](crate::OpenError::Unproved), with the reason.
            pub fn require_proof(self) -> Result<Self, $crate::OpenError> {
                self.proof().required(self.name())?;
                Ok(self)
            }

            /// The map without its types.
            pub fn raw(&self) -> &$crate::RawMap {
                &self.typed.raw
            }
        }

        impl<$($param),+> Clone for $name<$($param),+> {
            /// Another handle on the same map and descriptor.
            fn clone(&self) -> Self {
                Self { typed: self.typed.clone() }
            }
        }

        impl<$($param),+> std::fmt::Debug for $name<$($param),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.typed.raw).finish()
            }
        }

        impl<$($param),+> std::os::fd::AsFd for $name<$($param),+> {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.typed.raw.as_fd()
            }
        }

        impl<$($param),+> $crate::source::sealed::Sealed for $name<$($param),+> {}
        impl<$($param),+> $crate::MapSource for $name<$($param),+> {
            fn map_fd(&self) -> Result<std::os::fd::BorrowedFd<'_>, $crate::OpenError> {
                Ok(std::os::fd::AsFd::as_fd(self))
            }

            fn raw(&self) -> Option<&$crate::RawMap> {
                Some(&self.typed.raw)
            }
        }
    };
}

/// What all kinds with keys have in common: they are keyed by `K` and can be
/// deleted from.
macro_rules! keyed_kind {
    ($name:ident, value: $value:ty, iter: $iter:ident, entry: $entry:ident, values: $values:ident) => {
        impl<K: $crate::Pod, V: $crate::Pod> $name<K, V> {
            /// Whether `key` is in the map. One `BPF_MAP_LOOKUP_ELEM`.
            ///
            /// # Concurrency and errors
            /// As [`lookup`](Self::lookup).
            pub fn contains_key(&self, key: impl std::borrow::Borrow<K>) -> $crate::Result<bool> {
                self.typed.contains(key.borrow())
            }

            /// Deletes `key`; whether it was there. One `BPF_MAP_DELETE_ELEM`.
            ///
            /// # Concurrency
            /// A program that holds a pointer to the value at this moment goes
            /// on writing to it: the increment is lost, or lands on the next
            /// key that reuses the element. Delete keys that are finished, and
            /// count live ones with [`Rates`](crate::Rates) or
            /// [`Swap`](crate::Swap).
            ///
            /// # Errors
            /// [`ReadOnly`](crate::Error::ReadOnly), [`Busy`](crate::Error::Busy),
            /// [`PermissionDenied`](crate::Error::PermissionDenied),
            /// [`Sys`](crate::Error::Sys).
            pub fn delete(&self, key: impl std::borrow::Borrow<K>) -> $crate::Result<bool> {
                self.typed.delete(key.borrow())
            }

            /// Walks the map: every key present throughout exactly once, none
            /// twice, whatever is inserted, updated or deleted meanwhile. Keys
            /// that came or went may appear. A snapshot of each bucket, not of
            /// the map at one instant.
            ///
            /// One `BPF_MAP_LOOKUP_BATCH` for some thousand entries. Since
            /// Linux 5.6; before, by key: bounded, without repeats, and
            /// possibly incomplete while keys are replaced. Source:
            /// `__htab_map_lookup_and_delete_batch`, kernel/bpf/hashtab.c.
            ///
            /// # Errors
            /// Yielded once, after what was read before it, then the walk ends:
            /// [`WriteOnly`](crate::Error::WriteOnly),
            /// [`PermissionDenied`](crate::Error::PermissionDenied),
            /// [`Busy`](crate::Error::Busy), [`OutOfMemory`](crate::Error::OutOfMemory),
            /// [`WalkInterrupted`](crate::Error::WalkInterrupted),
            /// [`Sys`](crate::Error::Sys).
            pub fn iter(&self) -> $crate::walk::$iter<K, V> {
                $crate::walk::Walk::new(&self.typed.raw)
            }

            /// Walks the keys; as [`iter`](Self::iter).
            pub fn keys(&self) -> $crate::walk::Keys<K> {
                $crate::walk::Walk::new(&self.typed.raw)
            }

            /// Walks the values; as [`iter`](Self::iter).
            pub fn values(&self) -> $crate::walk::$values<K, V> {
                $crate::walk::Walk::new(&self.typed.raw)
            }

            /// Takes every entry out of the map, each exactly once, as an
            /// iterator. **For entries that are finished**: an increment that a
            /// program has under way at this moment is lost, or lands on the
            /// next key that reuses the element. Measured against a program
            /// that keeps counting 64 keys: 0.1 to 0.4 % of the counts. To
            /// reset live counters exactly use [`Swap`](crate::Swap) or
            /// [`MappedArray::take`](crate::MappedArray::take); to read them,
            /// [`Rates`](crate::Rates).
            ///
            /// Entries that are not yielded are put back when the drain is
            /// dropped. One `BPF_MAP_LOOKUP_AND_DELETE_BATCH` for some thousand
            /// entries. Since Linux 5.6.
            ///
            /// # Errors
            /// As [`iter`](Self::iter), and [`ReadOnly`](crate::Error::ReadOnly).
            pub fn drain(&self) -> $crate::walk::Drain<$crate::walk::$entry<K, V>> {
                $crate::walk::Drain::new(&self.typed.raw)
            }

            /// Deletes every entry; how many. What [`drain`](Self::drain) says
            /// of live counters holds here too.
            ///
            /// # Errors
            /// As [`drain`](Self::drain);
            /// [`Partial`](crate::Error::Partial) with the number deleted before.
            pub fn clear(&self) -> $crate::Result<usize> {
                self.typed.clear()
            }

            /// Deletes `keys`, passing over those that are not there; how many
            /// were. One `BPF_MAP_DELETE_BATCH` for 1,024 keys and one more for
            /// each that is missing. Since Linux 5.6; before, one by one.
            ///
            /// # Errors
            /// As [`delete`](Self::delete), inside
            /// [`Partial`](crate::Error::Partial) once some were deleted.
            pub fn delete_all<B: std::borrow::Borrow<K>>(
                &self,
                keys: impl IntoIterator<Item = B>,
            ) -> $crate::Result<usize> {
                self.typed.delete_all(keys)
            }
        }

        impl<K: $crate::Pod, V: $crate::Pod> IntoIterator for &$name<K, V> {
            type Item = $crate::Result<(K, $value)>;
            type IntoIter = $crate::walk::$iter<K, V>;

            /// As `iter`.
            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }
    };
}
