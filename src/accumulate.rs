//! [`Accumulate`]: what `sum` means for a type.

use crate::sys::pod::{self, Pod};

/// A value that can be added up over CPUs and keys, and whose growth can be told.
///
/// Implemented for integers, which wrap as counters do, and for arrays of
/// them, element by element. Structs derive it; a field that is no total says
/// so:
///
/// ```
/// use bpf_atlas::{Accumulate, Pod};
///
/// #[derive(Clone, Copy, Pod, Accumulate, Debug, PartialEq)]
/// #[repr(C)]
/// struct Flow {
///     packets: u64,
///     #[accumulate(min)]
///     first_ns: u64,
///     #[accumulate(max)]
///     last_ns: u64,
///     #[accumulate(first)]
///     comm: [u8; 16],
/// }
///
/// let mut a = Flow { packets: 2, first_ns: 0, last_ns: 7, comm: [0; 16] };
/// a.accumulate(Flow { packets: 3, first_ns: 5, last_ns: 6, comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0" });
/// assert_eq!((a.packets, a.first_ns, a.last_ns, a.comm[0]), (5, 5, 7, b'c'));
/// ```
///
/// The value with all bytes zero stands for *nothing yet*, as it does in a
/// map: it adds nothing to a sum, and `min` and `first` pass over it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be summed",
    note = "derive it: `#[derive(bpf_atlas::Accumulate)]`, with `#[accumulate(max)]`, `min` or `first` on fields that are no totals"
)]
pub trait Accumulate: Pod {
    /// Adds `other` to `self`.
    fn accumulate(&mut self, other: Self);

    /// What was added since `earlier`, for totals that only grow.
    ///
    /// `None` when an unsigned total is below its earlier value: the element
    /// was deleted and made again. Fields that are no totals keep their
    /// present value.
    fn since(self, earlier: Self) -> Option<Self>;

    /// The same as data, for a program that adds up in the kernel.
    #[doc(hidden)]
    const RULES: Rules = Rules::Unknown;
}

/// What `accumulate` does to a type, beside its [`Layout`](crate::Layout). For
/// derived code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Rules {
    /// Something that is not told.
    Unknown,
    /// It is an integer and is summed.
    Sum,
    /// Each element by itself.
    Elements(&'static Rules),
    /// Each field of a struct, in order.
    Fields(&'static [(FieldRule, &'static Rules)]),
}

/// What becomes of one field. For derived code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldRule {
    /// By the rules of its own type.
    Accumulate,
    /// The greatest.
    Max,
    /// The least that is set.
    Min,
    /// The first that is set.
    First,
    /// Padding: whatever.
    Padding,
}

/// Adds values up from nothing.
pub(crate) fn fold<V: Accumulate>(values: impl Iterator<Item = V>) -> V {
    let mut sum = pod::zeroed::<V>();
    for value in values {
        sum.accumulate(value);
    }
    sum
}

macro_rules! unsigned {
    ($($t:ty),*) => {$(
        impl Accumulate for $t {
            #[inline]
            fn accumulate(&mut self, other: Self) {
                *self = self.wrapping_add(other);
            }

            #[inline]
            fn since(self, earlier: Self) -> Option<Self> {
                self.checked_sub(earlier)
            }

            const RULES: Rules = Rules::Sum;
        }
    )*};
}

macro_rules! signed {
    ($($t:ty),*) => {$(
        impl Accumulate for $t {
            #[inline]
            fn accumulate(&mut self, other: Self) {
                *self = self.wrapping_add(other);
            }

            #[inline]
            fn since(self, earlier: Self) -> Option<Self> {
                // A signed total may fall; only an unsigned one tells re-creation.
                Some(self.wrapping_sub(earlier))
            }

            const RULES: Rules = Rules::Sum;
        }
    )*};
}

unsigned!(u8, u16, u32, u64, u128);
signed!(i8, i16, i32, i64, i128);

impl<T: Accumulate, const N: usize> Accumulate for [T; N] {
    const RULES: Rules = Rules::Elements(&T::RULES);

    #[inline]
    fn accumulate(&mut self, other: Self) {
        for (sum, value) in self.iter_mut().zip(other) {
            sum.accumulate(value);
        }
    }

    fn since(mut self, earlier: Self) -> Option<Self> {
        for (now, before) in self.iter_mut().zip(earlier) {
            *now = now.since(before)?;
        }
        Some(self)
    }
}

fn is_zero<T: Pod + PartialEq>(value: &T) -> bool {
    *value == pod::zeroed()
}

/// The greater of two.
#[doc(hidden)]
pub fn max<T: Pod + PartialOrd>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

/// The lesser of two, where zero means not set.
#[doc(hidden)]
pub fn min<T: Pod + PartialOrd>(a: T, b: T) -> T {
    if is_zero(&a) || (b < a && !is_zero(&b)) { b } else { a }
}

/// The first that is set.
#[doc(hidden)]
pub fn first<T: Pod + PartialEq>(a: T, b: T) -> T {
    if is_zero(&a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap() {
        assert_eq!(fold([u64::MAX, 2].into_iter()), 1);
        assert_eq!(fold([i8::MAX, 1].into_iter()), i8::MIN);
        assert_eq!(fold([[1_u32, 2], [3, u32::MAX]].into_iter()), [4, 1]);
    }

    #[test]
    fn an_unsigned_total_that_fell_was_made_again() {
        assert_eq!(7_u64.since(5), Some(2));
        assert_eq!(4_u64.since(5), None);
        assert_eq!((-4_i64).since(5), Some(-9));
        assert_eq!([7_u64, 4].since([5, 5]), None);
    }

    #[test]
    fn zero_is_not_set() {
        assert_eq!((min(0, 5), min(5, 0), min(5, 3), min(0, 0)), (5, 5, 3, 0));
        assert_eq!((first(0, 5), first(4, 5)), (5, 4));
        assert_eq!((max(0, 5), max(6, 5)), (5, 6));
    }
}
