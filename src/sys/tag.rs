//! The tag that tells events of one ring apart, as a number: for the code that
//! `#[derive(Events)]` writes.

use std::marker::PhantomData;
use std::mem::size_of;

use super::pod::Pod;
use super::words::is_initialised;

/// Where a record has its tag.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    at: usize,
    size: usize,
}

impl Tag {
    /// The tag `at` bytes from the start, of the type that `field` gives.
    pub const fn new<E, T: Pod>(at: usize, field: fn(E) -> T) -> Self {
        check::<T>();
        let _ = field;
        Self { at, size: size_of::<T>() }
    }

    /// Where it ends: no shorter record has one.
    #[inline]
    pub const fn end(self) -> usize {
        self.at + self.size
    }

    /// The tag of a record that is long enough.
    #[inline]
    pub fn read(self, record: &[u8]) -> Option<u64> {
        Some(number(record.get(self.at..self.end())?))
    }
}

/// The type of a tag. A step of its own, so that the compiler knows the type
/// when it comes to the value.
#[derive(Clone, Copy, Debug)]
pub struct TagType<T>(PhantomData<T>);

/// The type that `field` gives.
pub const fn tag<E, T: Pod>(field: fn(E) -> T) -> TagType<T> {
    let _ = field;
    TagType(PhantomData)
}

impl<T: Pod> TagType<T> {
    /// `value` as [`Tag::read`] gives it.
    pub const fn number(self, value: T) -> u64 {
        check::<T>();
        let mut bytes = [0; 8];
        // SAFETY: the check has shown that `T` has at most 8 bytes, which is what
        // `bytes` has room for, and that all of them are initialised. The two are
        // different variables.
        unsafe {
            std::ptr::copy_nonoverlapping(
                (&raw const value).cast::<u8>(),
                bytes.as_mut_ptr(),
                size_of::<T>(),
            );
        }
        let (bytes, _) = bytes.split_at(size_of::<T>());
        number(bytes)
    }
}

/// In constants only, where it is told at the event and not in here.
const fn check<T: Pod>() {
    assert!(
        matches!(size_of::<T>(), 1 | 2 | 4 | 8),
        "the tag of an event is an integer of 1, 2, 4 or 8 bytes"
    );
    assert!(is_initialised(&T::LAYOUT), "the tag of an event derives `Pod`");
}

/// Up to 8 bytes as an unsigned integer of this machine.
#[inline]
const fn number(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => a as u64,
        [a, b] => u16::from_ne_bytes([a, b]) as u64,
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]) as u64,
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => panic!("a tag of 1, 2, 4 or 8 bytes"),
    }
}

/// Refuses tags of different types, at compile time and in words.
pub const fn same_tag<A, B, T, U: SameTag<T>>(first: fn(A) -> T, other: fn(B) -> U) {
    let _ = (first, other);
}

/// That a type of tag is the one of the first variant.
#[diagnostic::on_unimplemented(
    message = "the tag of this event is a `{Self}` and that of the enum's first event a `{T}`",
    label = "its tag is a `{Self}`",
    note = "give the field the same type in every event: a reader looks at it before it knows which event it is"
)]
pub trait SameTag<T> {}

impl<T> SameTag<T> for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, bpf_atlas::Pod)]
    #[repr(C, packed)]
    struct Odd(u8, i32, u64);

    #[test]
    fn a_tag_is_the_same_number_in_a_record_and_as_a_value() {
        let record: Vec<u8> =
            [7].into_iter().chain((-2_i32).to_ne_bytes()).chain(u64::MAX.to_ne_bytes()).collect();
        const INT: Tag = Tag::new(std::mem::offset_of!(Odd, 1), |odd: Odd| odd.1);
        assert_eq!(INT.read(&record), Some(u64::from(-2_i32 as u32)));
        assert_eq!(INT.read(&record), Some(const { tag(|odd: Odd| odd.1).number(-2) }));
        assert_eq!((INT.end(), INT.read(&record[..4])), (5, None));
        assert_eq!(Tag::new(0, |odd: Odd| odd.0).read(&record), Some(7));
        assert_eq!(Tag::new(5, |odd: Odd| odd.2).read(&record), Some(u64::MAX));
        assert_eq!(tag(|odd: Odd| odd.2).number(u64::MAX), u64::MAX);
        assert_eq!(Tag::new(usize::MAX - 8, |odd: Odd| odd.2).read(&record), None);
    }
}
