//! [`MapSource`]: whatever a map can be opened from.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libbpf_rs::{Map, MapHandle, MapMut};

use crate::error::OpenError;
use crate::raw::RawMap;
use crate::sys::object;

/// Anything that stands for a map in the kernel: libbpf-rs's `Map`, `MapMut`
/// and `MapHandle`, a descriptor, a map of this crate, or a reference to one.
///
/// The trait is sealed: it lists what this crate knows how to ask.
pub trait MapSource: sealed::Sealed {
    /// The map's descriptor.
    ///
    /// # Errors
    /// [`OpenError::NotLoaded`] for a map that is not in the kernel, where
    /// libbpf-rs would panic.
    fn map_fd(&self) -> Result<BorrowedFd<'_>, OpenError>;

    /// The map itself where it is one of this crate.
    #[doc(hidden)]
    fn raw(&self) -> Option<&RawMap> {
        None
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Map<'_> {}
impl MapSource for Map<'_> {
    fn map_fd(&self) -> Result<BorrowedFd<'_>, OpenError> {
        object::loaded(self)?;
        Ok(self.as_fd())
    }
}

impl sealed::Sealed for MapMut<'_> {}
impl MapSource for MapMut<'_> {
    fn map_fd(&self) -> Result<BorrowedFd<'_>, OpenError> {
        object::loaded(self)?;
        Ok(self.as_fd())
    }
}

impl<S: MapSource + ?Sized> sealed::Sealed for &S {}
impl<S: MapSource + ?Sized> MapSource for &S {
    fn map_fd(&self) -> Result<BorrowedFd<'_>, OpenError> {
        (**self).map_fd()
    }

    fn raw(&self) -> Option<&RawMap> {
        (**self).raw()
    }
}

macro_rules! source {
    ($($t:ty),*) => {$(
        impl sealed::Sealed for $t {}
        impl MapSource for $t {
            fn map_fd(&self) -> Result<BorrowedFd<'_>, OpenError> {
                Ok(self.as_fd())
            }
        }
    )*};
}

source!(MapHandle, OwnedFd, BorrowedFd<'_>);

impl sealed::Sealed for RawMap {}
impl MapSource for RawMap {
    fn map_fd(&self) -> Result<BorrowedFd<'_>, OpenError> {
        Ok(self.as_fd())
    }

    fn raw(&self) -> Option<&RawMap> {
        Some(self)
    }
}
