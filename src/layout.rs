//! [`Layout`]: what a Rust type looks like in memory, as data.
//!
//! `#[derive(Pod)]` writes one for each type; opening a map compares it with
//! what the kernel knows of the map.

/// Name, size, alignment and inner structure of a [`Pod`](crate::Pod) type.
///
/// ```
/// use bpf_atlas::{LayoutKind, Pod};
///
/// #[derive(Clone, Copy, Pod)]
/// #[repr(C)]
/// struct Stat { packets: u64, bytes: u64 }
///
/// assert_eq!(Stat::LAYOUT.size, 16);
/// let LayoutKind::Struct { fields } = Stat::LAYOUT.kind else { unreachable!() };
/// assert_eq!((fields[1].name, fields[1].offset), ("bytes", 8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The type's name in Rust.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its alignment in bytes.
    pub align: usize,
    /// What it is made of.
    pub kind: LayoutKind,
}

/// What a type is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutKind {
    /// An integer in the machine's byte order.
    Int {
        /// Whether it has a sign.
        signed: bool,
    },
    /// An integer in network byte order.
    BigEndian,
    /// A floating point number.
    Float,
    /// Elements of one type, one behind the other.
    Array {
        /// The type of an element.
        element: &'static Layout,
        /// How many there are.
        len: usize,
    },
    /// Named fields.
    Struct {
        /// The fields in order of their offsets.
        fields: &'static [Field],
    },
    /// The bytes of a C `union`.
    Union,
    /// Bytes of which nothing more is known.
    Opaque,
}

/// One field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; a tuple field's is its number.
    pub name: &'static str,
    /// How many bytes it lies behind the start of the struct.
    pub offset: usize,
    /// The layout of its type.
    pub layout: &'static Layout,
}

impl Field {
    /// A field of the given name, offset and type.
    pub const fn new(name: &'static str, offset: usize, layout: &'static Layout) -> Self {
        Self { name, offset, layout }
    }
}

impl Layout {
    /// An integer in the machine's byte order.
    pub const fn int(name: &'static str, size: usize, align: usize, signed: bool) -> Self {
        Self { name, size, align, kind: LayoutKind::Int { signed } }
    }

    /// An integer in network byte order.
    pub const fn big_endian(name: &'static str, size: usize, align: usize) -> Self {
        Self { name, size, align, kind: LayoutKind::BigEndian }
    }

    /// A floating point number.
    pub const fn float(name: &'static str, size: usize, align: usize) -> Self {
        Self { name, size, align, kind: LayoutKind::Float }
    }

    /// `len` elements of one type.
    pub const fn array(size: usize, align: usize, element: &'static Layout, len: usize) -> Self {
        Self { name: "array", size, align, kind: LayoutKind::Array { element, len } }
    }

    /// A struct with the given fields.
    pub const fn structure(
        name: &'static str,
        size: usize,
        align: usize,
        fields: &'static [Field],
    ) -> Self {
        Self { name, size, align, kind: LayoutKind::Struct { fields } }
    }

    /// The bytes of a C `union`.
    pub const fn union(name: &'static str, size: usize, align: usize) -> Self {
        Self { name, size, align, kind: LayoutKind::Union }
    }

    /// Bytes of which only the size is known.
    pub const fn opaque(name: &'static str, size: usize, align: usize) -> Self {
        Self { name, size, align, kind: LayoutKind::Opaque }
    }
}

/// The types of a ring's events. For derived code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Layouts {
    /// One type.
    One(&'static Layout),
    /// Several, with their tags.
    Tagged(&'static [(u64, &'static Layout)]),
}
