//! [`Pod`]: types that are nothing but bytes, and the two steps between them.

use std::mem::{MaybeUninit, size_of};

use crate::layout::Layout;

/// A type that is nothing but its bytes, with a known layout.
///
/// Derive it: `#[derive(Clone, Copy, bpf_atlas::Pod)]` on a `#[repr(C)]`
/// struct. The derive proves at compile time what this trait promises.
///
/// A struct with padding is no key, since its padding has no defined value and
/// equal keys would differ:
///
/// ```compile_fail,E0080
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(Clone, Copy, bpf_atlas::Pod)]
/// #[repr(C)]
/// struct Key { pid: u32, device: u64 } // add `_pad: [u8; 4]` between them
/// let flows = bpf_atlas::Hash::<Key, u64>::create("flows", 16)?;
/// # Ok(())
/// # }
/// ```
///
/// Nor is there a `bool`, since the kernel may hand out any byte:
///
/// ```compile_fail
/// #[derive(Clone, Copy, bpf_atlas::Pod)]
/// #[repr(C)]
/// struct Setting { enabled: bool } // write `u8`, or `bpf_atlas::Bool`
/// ```
///
/// ```
/// #[derive(Clone, Copy, bpf_atlas::Pod)]
/// #[repr(C)]
/// struct Key { pid: u32, _pad: [u8; 4], device: u64 }
///
/// #[derive(Clone, Copy, bpf_atlas::Pod)]
/// #[repr(C)]
/// struct Setting { enabled: bpf_atlas::Bool }
/// ```
///
/// # Safety
///
/// An implementor promises that
/// * every bit pattern of `size_of::<Self>()` bytes is a valid value,
/// * there is no padding, so that equal keys have equal bytes (this crate only
///   copies the bytes of a value and never looks at them, which is why
///   [`AssumePlain`] may leave this one to its user),
/// * there are no pointers, references or interior mutability inside,
/// * [`LAYOUT`](Self::LAYOUT) describes the type truthfully.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not plain old data that can be shared with the kernel",
    label = "not `Pod`",
    note = "derive it on a `#[repr(C)]` struct: `#[derive(Clone, Copy, bpf_atlas::Pod)]`",
    note = "for `bool` write `u8`, for `char` write `u32`, for an enum write a `#[repr(transparent)]` newtype over its integer",
    note = "for a type of another crate that is `plain::Plain`, wrap it in `bpf_atlas::AssumePlain`"
)]
pub unsafe trait Pod: Copy + Send + Sync + 'static {
    /// Name, size and fields of the type, compared with the map's BTF at open.
    const LAYOUT: Layout;
}

macro_rules! pod {
    ($($t:ty => $layout:expr;)*) => {$(
        // SAFETY: a primitive number has no padding and no invalid bit pattern.
        unsafe impl Pod for $t {
            const LAYOUT: Layout = $layout;
        }
    )*};
}

pod! {
    u8 => Layout::int("u8", 1, 1, false);
    u16 => Layout::int("u16", 2, align_of::<u16>(), false);
    u32 => Layout::int("u32", 4, align_of::<u32>(), false);
    u64 => Layout::int("u64", 8, align_of::<u64>(), false);
    u128 => Layout::int("u128", 16, align_of::<u128>(), false);
    i8 => Layout::int("i8", 1, 1, true);
    i16 => Layout::int("i16", 2, align_of::<i16>(), true);
    i32 => Layout::int("i32", 4, align_of::<i32>(), true);
    i64 => Layout::int("i64", 8, align_of::<i64>(), true);
    i128 => Layout::int("i128", 16, align_of::<i128>(), true);
    f32 => Layout::float("f32", 4, align_of::<f32>());
    f64 => Layout::float("f64", 8, align_of::<f64>());
}

// SAFETY: an array has no padding between its elements and adds no invalid
// bit pattern to theirs.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {
    const LAYOUT: Layout = Layout::array(size_of::<Self>(), align_of::<Self>(), &T::LAYOUT, N);
}

/// A type whose author vouched for it with [`plain::Plain`], adopted as it is.
///
/// Its fields are unknown to this crate, so only its size is checked against
/// the map; prefer `#[derive(Pod)]`.
///
/// `Plain` allows padding, which has no defined value. Such a type makes a
/// dependable map *value*, but not a dependable *key*: two equal keys could
/// differ in their padding.
///
/// ```
/// use bpf_atlas::{AssumePlain, Pod};
///
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Theirs { packets: u64 }
/// // what the author of the type wrote:
/// unsafe impl plain::Plain for Theirs {}
///
/// fn value<V: Pod>(_: V) {}
/// value(AssumePlain(Theirs { packets: 3 }));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct AssumePlain<T>(
    /// The adopted value.
    pub T,
);

// SAFETY: `plain::Plain` is the author's promise that any bit pattern is valid
// and that the type may be read as bytes; the wrapper is transparent.
unsafe impl<T: plain::Plain + Copy + Send + Sync + 'static> Pod for AssumePlain<T> {
    const LAYOUT: Layout = Layout::opaque("AssumePlain", size_of::<T>(), align_of::<T>());
}

/// `Pod` for a transparent newtype of this crate over an integer.
macro_rules! pod_newtype {
    ($name:ident, $layout:expr) => {
        #[allow(unsafe_code)]
        // SAFETY: a `repr(transparent)` newtype over an integer has its size,
        // no padding and no invalid bit pattern.
        unsafe impl Pod for $name {
            const LAYOUT: Layout = $layout;
        }

        #[allow(unsafe_code)]
        // SAFETY: as above; `Plain` asks for less than `Pod`.
        unsafe impl plain::Plain for $name {}
    };
}
pub(crate) use pod_newtype;

/// Bytes on their way to the kernel. They may hold the padding of an
/// [`AssumePlain`] type, so they are only ever copied, never looked at.
pub(crate) type RawBytes = [MaybeUninit<u8>];

/// The bytes of a value.
pub(crate) fn bytes_of<T: Pod>(value: &T) -> &RawBytes {
    bytes_of_slice(std::slice::from_ref(value))
}

/// The bytes of several values, one behind the other.
pub(crate) fn bytes_of_slice<T: Pod>(values: &[T]) -> &RawBytes {
    let start = values.as_ptr().cast::<MaybeUninit<u8>>();
    // SAFETY: `start` is valid for reads of `size_of_val(values)` bytes for as
    // long as `values` is borrowed, and `Pod` has no interior mutability, so
    // none changes behind the shared reference. `MaybeUninit` asks for nothing
    // else.
    unsafe { std::slice::from_raw_parts(start, size_of_val(values)) }
}

/// The bytes from the value of one CPU to that of the next. A constant: cutting memory by a
/// number that is known only later takes a division, and adds up one value at a time.
pub(crate) const fn stride<V>() -> usize {
    size_of::<V>().next_multiple_of(8)
}

/// Initialised bytes seen as bytes on their way to the kernel.
pub(crate) fn raw(bytes: &[u8]) -> &RawBytes {
    bytes_of_slice(bytes)
}

/// The value made of `bytes`, which need not be aligned.
///
/// Panics when the length is not that of `T`: a bug of this crate, since sizes
/// are compared when a map is opened.
#[inline]
pub(crate) fn read<T: Pod>(bytes: &[u8]) -> T {
    assert_eq!(bytes.len(), size_of::<T>());
    // SAFETY: the slice has the size of `T`, `read_unaligned` asks for no
    // alignment, and `Pod` says that any bit pattern is a valid `T`.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

/// A reference to the value at the start of `bytes`, when size and alignment
/// allow one.
#[inline]
pub fn view<T: Pod>(bytes: &[u8]) -> Option<&T> {
    let start = bytes.as_ptr().cast::<T>();
    if bytes.len() < size_of::<T>() || !start.is_aligned() {
        return None;
    }
    // SAFETY: `start` is aligned and valid for `size_of::<T>()` initialised
    // bytes that are borrowed for the life of the result; any bit pattern is
    // a valid `T`.
    Some(unsafe { &*start })
}

/// The value with all bytes zero.
#[inline]
pub fn zeroed<T: Pod>() -> T {
    // SAFETY: any bit pattern is a valid `T`, so zeroes are.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
