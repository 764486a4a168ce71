//! Numbers that live in memory shared with the kernel.

use std::marker::PhantomData;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering,
};

use super::mmap::Mapping;
use super::pod::Pod;

/// A number that a CPU reads and writes whole: what [`MappedArray`] can hold.
///
/// Implemented for the integers of 1 to 8 bytes; sealed.
///
/// [`MappedArray`]: crate::MappedArray
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from mapped memory in one piece",
    note = "a mapped array holds integers of up to 8 bytes; read other values with `lookup` or a walk"
)]
pub trait Atomic: Pod + sealed::Sealed {
    #[doc(hidden)]
    fn load(map: &Mapped, offset: usize) -> Self;
    #[doc(hidden)]
    fn store(self, map: &Mapped, offset: usize);
    #[doc(hidden)]
    fn swap(self, map: &Mapped, offset: usize) -> Self;

    /// The number as the standard library's atomic.
    #[doc(hidden)]
    type Cell: sealed::Cell;
    #[doc(hidden)]
    fn get(cell: &Self::Cell) -> Self;
}

mod sealed {
    pub trait Sealed {}

    /// The standard library's atomics.
    pub trait Cell: Sized {}
}
use sealed::Cell;

/// The memory of a mapped array. Opaque.
#[derive(Debug)]
pub struct Mapped(pub(crate) Mapping);

macro_rules! atomic {
    ($($t:ty, $atomic:ty;)*) => {$(
        impl sealed::Sealed for $t {}
        impl Atomic for $t {
            #[inline]
            fn load(map: &Mapped, offset: usize) -> Self {
                cell::<$atomic>(map, offset, false).load(Ordering::Relaxed)
            }

            #[inline]
            fn store(self, map: &Mapped, offset: usize) {
                cell::<$atomic>(map, offset, true).store(self, Ordering::Relaxed);
            }

            #[inline]
            fn swap(self, map: &Mapped, offset: usize) -> Self {
                // Acquire and release: what was written before a take on
                // either side is seen after it.
                cell::<$atomic>(map, offset, true).swap(self, Ordering::AcqRel)
            }

            type Cell = $atomic;

            #[inline]
            fn get(cell: &$atomic) -> Self {
                cell.load(Ordering::Relaxed)
            }
        }

        impl sealed::Cell for $atomic {}
    )*};
}

atomic! {
    u8, AtomicU8;
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
    i8, AtomicI8;
    i16, AtomicI16;
    i32, AtomicI32;
    i64, AtomicI64;
}

#[inline]
fn cell<A: Cell>(map: &Mapped, offset: usize, write: bool) -> &A {
    assert!(!write || map.0.is_writable());
    let at = map.0.at(offset, size_of::<A>()).cast::<A>();
    assert!(at.is_aligned());
    // SAFETY: `at` is aligned and inside the mapping, which lives as long as
    // `map`. The memory is initialised (the kernel zeroes it) and is only ever
    // accessed through atomics here; what BPF programs do to it are accesses of
    // the same width by another agent, as with any shared memory. A read-only
    // mapping is never written: asserted above.
    unsafe { &*at }
}

/// A number in an array's memory, where each has 8 bytes to itself. For reading only.
#[derive(Debug)]
#[repr(C, align(8))]
pub(crate) struct Slot<V: Atomic>(V::Cell);

impl<V: Atomic> Slot<V> {
    #[inline]
    pub(crate) fn load(&self) -> V {
        V::get(&self.0)
    }
}

/// The memory of an array of numbers.
#[derive(Debug)]
pub(crate) struct Slots<V> {
    memory: Mapped,
    /// So many slots lie inside of it.
    len: usize,
    values: PhantomData<fn() -> V>,
}

impl<V: Atomic> Slots<V> {
    pub(crate) fn new(memory: Mapping, len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<Slot<V>>()).expect("they are in memory");
        assert!(memory.at(0, bytes).cast::<Slot<V>>().is_aligned());
        Self { memory: Mapped(memory), len, values: PhantomData }
    }

    pub(crate) fn memory(&self) -> &Mapped {
        &self.memory
    }

    /// All of them. Looked at as a slice, so that a loop has no bounds to check.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Slot<V>] {
        const { assert!(size_of::<Slot<V>>() == 8 && align_of::<Slot<V>>() == 8) };
        // SAFETY: `new` has seen that `len` slots lie inside the mapping, aligned; neither
        // changes, and the mapping lives as long as `self`. The memory is initialised (the
        // kernel zeroes it); a slot is an atomic number, for which every bit pattern is
        // valid, and padding, which is never looked at. As in `cell`, it is accessed
        // through atomics only, and through this slice only loaded from.
        unsafe { std::slice::from_raw_parts(self.memory.0.at(0, 0).cast(), self.len) }
    }
}
