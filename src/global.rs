//! [`Global`]: the global variables of a program, live.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::error::{Op, OpenError};
use crate::kind::{MapKind, MapName};
use crate::raw::RawMap;
use crate::source::MapSource;
use crate::sys::atomic::{Atomic, Mapped};
use crate::sys::commands::Errno;
use crate::sys::mmap::{Mapping, page_size};
use crate::sys::pod::{self, Pod};
use crate::sys::section;

/// The variables of a section of a program (`.bss`, `.data`, `.rodata`), in
/// the memory that the program itself uses.
///
/// bpf-atlas-build writes the type `T` of a section, and methods that read and
/// write each variable. It is a memory map of its own, so it lives as long as
/// it is needed, whatever becomes of the object it came from. Clones share it.
///
/// Reading costs no system call. Programs write meanwhile: each aligned
/// variable of up to 8 bytes is read whole, a longer one, or all of them
/// together, may be half old and half new. Since Linux 5.5.
pub struct Global<T> {
    memory: Arc<Mapped>,
    name: MapName,
    section: PhantomData<fn() -> T>,
}

impl<T: Pod> Global<T> {
    /// Opens the map that libbpf made of a section: an array of one element
    /// with `BPF_F_MMAPABLE`.
    ///
    /// # Errors
    /// [`OpenError::Kind`], [`OpenError::ValueSize`], [`OpenError::Unsupported`]
    /// for a map that cannot be mapped, [`OpenError::NotLoaded`], [`OpenError::Sys`].
    pub fn open(map: impl MapSource) -> Result<Self, OpenError> {
        let raw = RawMap::open(map)?;
        let shape = raw.shape();
        let map = shape.name;
        if shape.kind != MapKind::Array {
            let expected = MapKind::Array;
            return Err(OpenError::Kind { map, wanted: "Global", expected, found: shape.kind });
        }
        if shape.value_size as usize != size_of::<T>() {
            return Err(OpenError::ValueSize {
                map,
                type_name: std::any::type_name::<T>(),
                rust: size_of::<T>(),
                kernel: shape.value_size,
            });
        }
        if shape.flags & libbpf_sys::BPF_F_MMAPABLE == 0 {
            return Err(OpenError::Unsupported {
                what: format!("mapping the variables of `{map}` into memory"),
                needs: "Linux 5.5",
            });
        }
        let len = size_of::<T>().next_multiple_of(page_size());
        let memory = match Mapping::new(raw.as_fd(), 0, len, true) {
            // `.rodata` is frozen once it is loaded.
            Err(Errno::PERM | Errno::ACCES) => Mapping::new(raw.as_fd(), 0, len, false),
            result => result,
        };
        let memory = memory.map_err(|errno| OpenError::Sys {
            what: format!("mapping the variables of `{map}` into memory"),
            op: Op::Mmap,
            errno,
        })?;
        Ok(Self { memory: Arc::new(Mapped(memory)), name: map, section: PhantomData })
    }

    /// All variables, one after the other.
    pub fn read(&self) -> T {
        section::load(&self.memory.0, 0)
    }

    /// As [`read`](Self::read), without a stop on the stack: for large sections.
    pub fn read_boxed(&self) -> Box<T> {
        section::load_boxed(&self.memory.0, 0)
    }

    /// Whether the variables can be written: those of `.rodata` cannot.
    pub fn is_writable(&self) -> bool {
        self.memory.0.is_writable()
    }

    fn check<F>(at: usize) {
        assert!(at <= size_of::<T>() && size_of::<F>() <= size_of::<T>() - at);
    }

    /// The variable that lies `at` bytes into the section. For generated code.
    #[doc(hidden)]
    pub fn get<F: Pod>(&self, at: usize) -> F {
        Self::check::<F>(at);
        section::load(&self.memory.0, at)
    }

    /// Writes the variable `at` bytes into the section. For generated code.
    #[doc(hidden)]
    pub fn set<F: Pod>(&self, at: usize, value: F) {
        Self::check::<F>(at);
        section::store(&self.memory.0, at, value);
    }

    /// Swaps the variable for zero. For generated code.
    #[doc(hidden)]
    pub fn take<F: Atomic>(&self, at: usize) -> F {
        Self::check::<F>(at);
        pod::zeroed::<F>().swap(&self.memory, at)
    }
}

impl<T> Clone for Global<T> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), name: self.name, section: PhantomData }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Global<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Global").field(&self.name).field(&self.read_boxed()).finish()
    }
}
