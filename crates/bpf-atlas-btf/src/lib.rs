//! A small, safe reader of BTF: the types of an eBPF object or of a map in the
//! kernel.
//!
//! [`Btf::parse`] reads all types at once and refuses what is not well formed,
//! so that nothing later can fail or read outside. Questions that could run for
//! ever on hostile input (a typedef of itself, an array of itself) are bounded
//! and answer with an [`Error`].
//!
//! BTF is in the byte order of the machine that it is for. [`Btf::parse`] wants
//! this machine's, which is all that its kernel gives and takes, and refuses the
//! other with [`Error::ByteOrder`]; [`Btf::parse_in`] reads either.
//!
//! Format: Documentation/bpf/btf.rst of the kernel.

pub mod bits;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

/// A type's number. 0 is `void`.
pub type TypeId = u32;

/// The order of the bytes of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest byte first.
    Little,
    /// The highest byte first.
    Big,
}

impl ByteOrder {
    /// This machine's.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// What is wrong with some BTF.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It does not begin with BTF's magic number.
    Magic,
    /// It is for machines of the other byte order.
    ByteOrder,
    /// It ends, or a part of it lies, outside the bytes given.
    Truncated(&'static str),
    /// A type of a kind, or with numbers, that the format does not have.
    Malformed {
        /// The type's number.
        id: TypeId,
        /// What about it.
        what: &'static str,
    },
    /// A type that is not there is asked for or referred to.
    NoSuchType(TypeId),
    /// A type contains itself.
    Loop(TypeId),
    /// A type whose size does not fit any memory.
    TooLarge(TypeId),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("no BTF"),
            Self::ByteOrder => f.write_str("BTF for machines of the other byte order"),
            Self::Truncated(what) => write!(f, "BTF is cut off: {what}"),
            Self::Malformed { id, what } => write!(f, "BTF type {id} is malformed: {what}"),
            Self::NoSuchType(id) => write!(f, "BTF has no type {id}"),
            Self::Loop(id) => write!(f, "BTF type {id} contains itself"),
            Self::TooLarge(id) => write!(f, "BTF type {id} is too large for any memory"),
        }
    }
}

impl std::error::Error for Error {}

/// The types of an object or map.
#[derive(Clone, Debug)]
pub struct Btf {
    types: Vec<Type>,
}

/// One type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Its name; empty where it has none.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What a type is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing.
    Void,
    /// An integer, a character or a truth value.
    Int {
        /// In bytes.
        size: u32,
        /// In bits; less than the size for an old kind of bitfield.
        bits: u8,
        /// Whether it has a sign.
        signed: bool,
        /// Whether it is C's `_Bool`.
        bool: bool,
        /// Whether it was declared a character. clang does not tell.
        char: bool,
    },
    /// A pointer.
    Ptr(TypeId),
    /// An array.
    Array {
        /// The type of an element.
        element: TypeId,
        /// How many there are.
        len: u32,
    },
    /// A `struct` or `union`.
    Composite {
        /// Whether its members share their place.
        union: bool,
        /// In bytes.
        size: u32,
        /// In order of their declaration.
        members: Vec<Member>,
    },
    /// An `enum`.
    Enum {
        /// In bytes; 0 where it is declared only.
        size: u32,
        /// Whether it has negative values. Older compilers never say so.
        signed: bool,
        /// Names and values; a negative value is sign-extended.
        values: Vec<(String, i128)>,
    },
    /// A `struct` or `union` that is declared only.
    Forward {
        /// Whether it is a `union`.
        union: bool,
    },
    /// Another name for a type.
    Typedef(TypeId),
    /// `const`, `volatile`, `restrict` or a type tag.
    Qualified(TypeId),
    /// A function.
    Func(TypeId),
    /// A function's type.
    FuncProto {
        /// What it returns.
        returns: TypeId,
    },
    /// A global variable.
    Var {
        /// Its type.
        of: TypeId,
        /// Whether other objects see it.
        global: bool,
    },
    /// A section of variables.
    DataSec {
        /// In bytes.
        size: u32,
        /// Variable, offset and size.
        vars: Vec<SecVar>,
    },
    /// A floating point number.
    Float {
        /// In bytes.
        size: u32,
    },
    /// A note on a declaration.
    DeclTag {
        /// What it is noted on.
        of: TypeId,
        /// Which member or argument, −1 for the whole.
        component: i32,
    },
}

/// A member of a `struct` or `union`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name; empty for an anonymous `struct` or `union`.
    pub name: String,
    /// Its type.
    pub of: TypeId,
    /// Where it begins, in bits.
    pub bit_offset: u32,
    /// Its width in bits, for a bitfield.
    pub bits: Option<u8>,
}

/// A variable of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecVar {
    /// The [`Kind::Var`].
    pub var: TypeId,
    /// In bytes from the start of the section; 0 before linking.
    pub offset: u32,
    /// In bytes.
    pub size: u32,
}

/// No C type nests deeper by far; what does is a loop.
const MAX_DEPTH: u32 = 64;

impl Btf {
    /// Reads BTF, as in the `.BTF` section of an object or from the kernel.
    ///
    /// # Errors
    /// [`Error::Magic`], [`Error::ByteOrder`], [`Error::Truncated`],
    /// [`Error::Malformed`], and [`Error::NoSuchType`] for a reference to a type
    /// that is not there.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_in(bytes, ByteOrder::NATIVE)
    }

    /// As [`parse`](Self::parse), for machines of this byte order.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_in(bytes: &[u8], order: ByteOrder) -> Result<Self, Error> {
        let types = parse::types(bytes, order)?;
        Ok(Self { types })
    }

    /// The types with their numbers, `void` first.
    pub fn types(&self) -> impl ExactSizeIterator<Item = (TypeId, &Type)> {
        self.types.iter().enumerate().map(|(id, of)| (id as TypeId, of))
    }

    /// The type of that number.
    ///
    /// # Errors
    /// [`Error::NoSuchType`].
    pub fn get(&self, id: TypeId) -> Result<&Type, Error> {
        self.types.get(id as usize).ok_or(Error::NoSuchType(id))
    }

    /// The type behind typedefs and qualifiers.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], [`Error::Loop`].
    pub fn resolve(&self, id: TypeId) -> Result<(TypeId, &Type), Error> {
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            let of = self.get(at)?;
            match of.kind {
                Kind::Typedef(next) | Kind::Qualified(next) => at = next,
                _ => return Ok((at, of)),
            }
        }
        Err(Error::Loop(id))
    }

    /// The size of a type in bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], [`Error::Loop`], [`Error::TooLarge`], and
    /// [`Error::Malformed`] for what has no size, such as a function.
    pub fn size_of(&self, id: TypeId) -> Result<usize, Error> {
        let mut count = 1_usize;
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            let (resolved, of) = self.resolve(at)?;
            let size = match &of.kind {
                Kind::Int { size, .. }
                | Kind::Composite { size, .. }
                | Kind::Enum { size, .. }
                | Kind::DataSec { size, .. }
                | Kind::Float { size } => *size as usize,
                Kind::Ptr(_) => 8,
                Kind::Void => 0,
                Kind::Var { of, .. } => {
                    at = *of;
                    continue;
                }
                Kind::Array { element, len } => {
                    count = count.checked_mul(*len as usize).ok_or(Error::TooLarge(id))?;
                    at = *element;
                    continue;
                }
                _ => return Err(Error::Malformed { id: resolved, what: "it has no size" }),
            };
            let size = count.checked_mul(size).ok_or(Error::TooLarge(id))?;
            return if size <= isize::MAX as usize { Ok(size) } else { Err(Error::TooLarge(id)) };
        }
        Err(Error::Loop(id))
    }

    /// The type as C writes it: `u64`, `struct flow`, `__be32[4]`.
    pub fn c_name(&self, id: TypeId) -> String {
        self.c_name_at(id, 0)
    }

    fn c_name_at(&self, id: TypeId, depth: u32) -> String {
        let Ok(of) = self.get(id) else { return "?".into() };
        if depth > MAX_DEPTH {
            return "?".into();
        }
        let inner = |id| self.c_name_at(id, depth + 1);
        let tagged = |word: &str| match of.name.as_str() {
            "" => format!("{word} {{…}}"),
            name => format!("{word} {name}"),
        };
        match &of.kind {
            Kind::Void => "void".into(),
            Kind::Ptr(to) => format!("{} *", inner(*to)),
            Kind::Array { .. } => {
                // C writes the outer dimension first.
                let (mut dimensions, mut at) = (String::new(), id);
                for _ in 0..MAX_DEPTH {
                    match self.get(at).map(|of| &of.kind) {
                        Ok(Kind::Array { element, len }) => {
                            dimensions.push_str(&format!("[{len}]"));
                            at = *element;
                        }
                        _ => break,
                    }
                }
                format!("{}{dimensions}", inner(at))
            }
            Kind::Composite { union: true, .. } | Kind::Forward { union: true } => tagged("union"),
            Kind::Composite { .. } | Kind::Forward { .. } => tagged("struct"),
            Kind::Enum { .. } => tagged("enum"),
            Kind::Qualified(of) => inner(*of),
            _ => of.name.clone(),
        }
    }
}
