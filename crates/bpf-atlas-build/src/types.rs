//! The Rust types that stand for C types: names, layout, and what is inside.

use bpf_atlas_btf::TypeId;

/// The type of a field, a key or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    Int {
        bits: u16,
        signed: bool,
    },
    Float {
        bits: u16,
    },
    Bool,
    /// An integer in network byte order, which C says by a typedef alone.
    BigEndian {
        bits: u16,
    },
    /// C's `char[N]`.
    Chars(u32),
    Array(Box<Ty>, u32),
    /// A pointer: its bytes.
    Address,
    /// One of [`Types::items`].
    Named(usize),
}

impl Ty {
    pub(crate) const fn unsigned(bits: u16) -> Self {
        Self::Int { bits, signed: false }
    }

    pub(crate) fn bytes(len: usize) -> Self {
        Self::Array(Box::new(Self::unsigned(8)), len as u32)
    }
}

/// A type with a name of its own.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// `struct flow`, or words for a type without a name.
    pub(crate) c_name: String,
    /// Where it is declared.
    pub(crate) id: TypeId,
    pub(crate) rust: String,
    pub(crate) size: usize,
    pub(crate) align: usize,
    /// Whether a floating point number is inside: such a type is not `Eq`.
    pub(crate) float: bool,
    /// The user's own type that takes its place.
    pub(crate) path: Option<String>,
    pub(crate) kind: ItemKind,
}

#[derive(Clone, Debug)]
pub(crate) enum ItemKind {
    Struct(Struct),
    Union(Union),
    Enum(Enum),
    Alias(Ty),
}

#[derive(Clone, Debug)]
pub(crate) struct Struct {
    pub(crate) fields: Vec<Field>,
    /// The number in `repr(packed(N))`.
    pub(crate) packed: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Empty for what C has no name for.
    pub(crate) c_name: String,
    pub(crate) rust: String,
    pub(crate) ty: Ty,
    pub(crate) offset: usize,
    /// As C declares it.
    pub(crate) decl: String,
    pub(crate) kind: FieldKind,
}

#[derive(Clone, Debug)]
pub(crate) enum FieldKind {
    Plain,
    Padding,
    /// Bytes that hold bitfields.
    Bits(Vec<Member>),
    /// A union without a name, whose members C reaches through the struct.
    Anonymous(Vec<Member>),
}

/// What is read and written by accessors: a bitfield, or a member of a union.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) c_name: String,
    /// The accessor; `set_` goes before it.
    pub(crate) rust: String,
    pub(crate) ty: Ty,
    pub(crate) decl: String,
    pub(crate) place: Place,
}

/// Where a member lies in the bytes that hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// So many bytes from the start.
    At(usize),
    /// So many bits from the start, and how many.
    Bits(usize, u8),
}

#[derive(Clone, Debug)]
pub(crate) struct Union {
    /// The integers it is stored as, which give it its alignment.
    pub(crate) word: u16,
    pub(crate) words: usize,
    pub(crate) members: Vec<Member>,
}

#[derive(Clone, Debug)]
pub(crate) struct Enum {
    pub(crate) bits: u16,
    pub(crate) signed: bool,
    /// The constant in C, in Rust, and its value.
    pub(crate) values: Vec<(String, String, i128)>,
    /// Set where the compiler did not record the values.
    pub(crate) unknown: bool,
}

/// All types that were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Types {
    pub(crate) items: Vec<Item>,
}

impl Types {
    /// Size and alignment in Rust on a machine of 64 bits.
    pub(crate) fn facts(&self, ty: &Ty) -> (usize, usize) {
        match ty {
            Ty::Int { bits, .. } | Ty::Float { bits } | Ty::BigEndian { bits } => {
                let bytes = usize::from(*bits) / 8;
                (bytes, bytes)
            }
            Ty::Bool => (1, 1),
            Ty::Chars(len) => (*len as usize, 1),
            Ty::Array(element, len) => {
                let (size, align) = self.facts(element);
                (size * *len as usize, align)
            }
            Ty::Address => (8, 8),
            Ty::Named(at) => (self.items[*at].size, self.items[*at].align),
        }
    }

    /// Whether a floating point number is inside.
    pub(crate) fn has_float(&self, ty: &Ty) -> bool {
        match ty {
            Ty::Float { .. } => true,
            Ty::Array(element, _) => self.has_float(element),
            Ty::Named(at) => self.items[*at].float,
            _ => false,
        }
    }

    /// The type behind aliases.
    pub(crate) fn behind<'a>(&'a self, ty: &'a Ty) -> &'a Ty {
        match ty {
            Ty::Named(at) => match &self.items[*at].kind {
                ItemKind::Alias(of) => self.behind(of),
                _ => ty,
            },
            _ => ty,
        }
    }

    /// As Rust writes it. `krate` is the path of bpf-atlas, `here` what stands
    /// before the names of the items.
    pub(crate) fn rust(&self, ty: &Ty, krate: &str, here: &str) -> String {
        match ty {
            Ty::Int { bits, signed: false } => format!("u{bits}"),
            Ty::Int { bits, signed: true } => format!("i{bits}"),
            Ty::Float { bits } => format!("f{bits}"),
            Ty::Bool => format!("{krate}::Bool"),
            Ty::BigEndian { bits } => format!("{krate}::Be{bits}"),
            Ty::Chars(len) => format!("{krate}::CharArray<{len}>"),
            Ty::Array(element, len) => format!("[{}; {len}]", self.rust(element, krate, here)),
            Ty::Address => "u64".into(),
            Ty::Named(at) => match &self.items[*at].path {
                Some(path) => path.clone(),
                None => format!("{here}{}", self.items[*at].rust),
            },
        }
    }
}
