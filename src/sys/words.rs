//! Values inside other values: the members of unions and bitfields, which the
//! generated types reach through here, and values made of bytes at run time.

use std::mem::{MaybeUninit, size_of};

use super::pod::{Pod, bytes_of, read};
use crate::chars::CharArray;
use crate::layout::{Layout, LayoutKind};

// SAFETY: a transparent newtype over bytes: no padding, no invalid bit pattern.
unsafe impl<const N: usize> Pod for CharArray<N> {
    const LAYOUT: Layout = Layout::array(N, 1, &u8::LAYOUT, N);
}

// SAFETY: as above; `Plain` asks for less than `Pod`.
unsafe impl<const N: usize> plain::Plain for CharArray<N> {}

/// Whether all of it is vouched for as initialised: nothing of an
/// [`AssumePlain`](crate::AssumePlain) type inside, which may have padding.
pub(crate) const fn is_initialised(layout: &Layout) -> bool {
    match layout.kind {
        LayoutKind::Opaque => false,
        LayoutKind::Array { element, .. } => is_initialised(element),
        LayoutKind::Struct { fields } => {
            let mut at = 0;
            while at < fields.len() {
                if !is_initialised(fields[at].layout) {
                    return false;
                }
                at += 1;
            }
            true
        }
        _ => true,
    }
}

/// The bytes of a value that has no padding at all.
pub(crate) fn initialised<T: Pod>(value: &T) -> &[u8] {
    const {
        assert!(
            is_initialised(&T::LAYOUT),
            "the bytes of an `AssumePlain` type may not all be defined: derive `Pod` for it"
        );
    }
    let raw = bytes_of(value);
    // SAFETY: `Pod` promises that every byte belongs to a field, and the
    // assertion that no type inside was adopted without that promise, so all
    // bytes are initialised.
    unsafe { std::slice::from_raw_parts(raw.as_ptr().cast::<u8>(), raw.len()) }
}

/// An integer that unions are stored as. Sealed.
pub trait Word: Pod + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! words {
    ($($t:ty),*) => {$(
        impl sealed::Sealed for $t {}
        impl Word for $t {}
    )*};
}

words!(u8, u16, u32, u64, u128);

/// What lies `at` bytes behind the start of a value, all of which must be vouched for
/// ([`is_initialised`]).
#[cfg(feature = "gather")]
pub(crate) fn read_at<V: Pod, T: Pod>(value: &V, at: usize) -> T {
    assert!(is_initialised(&V::LAYOUT));
    let raw = &bytes_of(value)[at..][..size_of::<T>()];
    // SAFETY: as in `initialised`, with the assertion at run time.
    read(unsafe { std::slice::from_raw_parts(raw.as_ptr().cast::<u8>(), raw.len()) })
}

/// The value that lies `at` bytes behind the start of `words`.
pub fn get<W: Word, const N: usize, T: Pod>(words: &[W; N], at: usize) -> T {
    read(&initialised(words)[at..at + size_of::<T>()])
}

/// Puts a value `at` bytes behind the start of `words`.
pub fn set<W: Word, const N: usize, T: Pod>(words: &mut [W; N], at: usize, value: T) {
    let from = initialised(&value);
    assert!(at <= size_of::<[W; N]>() && from.len() <= size_of::<[W; N]>() - at);
    // SAFETY: the assertion keeps the copy inside `words`, which is borrowed
    // alone; the bytes are initialised and any are a valid integer.
    unsafe {
        let to = words.as_mut_ptr().cast::<u8>().add(at);
        std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
    }
}

/// A value on the heap made of `bytes`, without a stop on the stack.
///
/// Panics when the length is not that of `T`.
pub(crate) fn boxed<T: Pod>(bytes: &[u8]) -> Box<T> {
    assert_eq!(bytes.len(), size_of::<T>());
    let mut value: Box<MaybeUninit<T>> = Box::new_uninit();
    // SAFETY: the box has room for `T`, which is as long as `bytes`; the two
    // do not overlap. Then all bytes are set, and any are a valid `T`.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast(), bytes.len());
        value.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AssumePlain;

    #[test]
    fn values_lie_where_they_were_put() {
        let mut words = [0_u32; 4];
        set(&mut words, 2, 0x0403_0201_u32.to_le());
        set(&mut words, 13, [7_u8, 8, 9]);
        assert_eq!(get::<_, 4, u16>(&words, 3), u16::from_ne_bytes([2, 3]));
        assert_eq!(get::<_, 4, [u8; 3]>(&words, 13), [7, 8, 9]);
    }

    #[test]
    #[should_panic(expected = "assertion")]
    fn nothing_is_put_outside() {
        set(&mut [0_u32; 1], 1, 1_u32);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn nothing_is_taken_from_outside() {
        get::<_, 1, u64>(&[0_u32; 1], 0);
    }

    #[test]
    fn adopted_types_are_not_vouched_for() {
        #[derive(Clone, Copy)]
        struct Theirs;
        // SAFETY: it has no bytes.
        unsafe impl plain::Plain for Theirs {}
        assert!(!is_initialised(&<[AssumePlain<Theirs>; 2]>::LAYOUT));
        assert!(is_initialised(&<[CharArray<4>; 2]>::LAYOUT));
    }

    #[test]
    fn boxes_hold_the_bytes() {
        assert_eq!(*boxed::<[u8; 4]>(&[1, 2, 3, 4]), [1, 2, 3, 4]);
    }
}
