//! A small, safe reader of BTF: the types of an eBPF object or of a map in the
//! kernel.
//!
//! [`Btf::parse`] reads all types at once and refuses what is not well formed,
//! so that nothing later can fail or read outside. What could send a reader round
//! for ever (a typedef of itself, a struct in an array of its own) or deeper than a
//! stack is refused there too, and so is what holds something without a size. Only the
//! number of ways down is not bounded: a struct of two that hold two each, and so on,
//! doubles at each level.
//!
//! BTF is in the byte order of the machine that it is for. [`Btf::parse`] wants
//! this machine's, which is all that its kernel gives and takes, and refuses the
//! other with [`Error::ByteOrder`]; [`Btf::parse_in`] reads either.
//!
//! Format: Documentation/bpf/btf.rst of the kernel.

pub mod bits;
mod check;
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
    /// A type contains itself, or is a pointer to nothing but itself.
    Loop(TypeId),
    /// A type nests deeper than [`MAX_DEPTH`], or in more ways than a reader follows.
    TooDeep(TypeId),
    /// A type holds an `enum` that is declared only.
    NoSize {
        /// The holder's number.
        id: TypeId,
        /// As C writes it.
        name: String,
        /// The member; empty for an array or a variable.
        member: String,
    },
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
            Self::TooDeep(id) => {
                write!(f, "BTF type {id} nests deeper, or in more ways, than any type of C")
            }
            Self::NoSize { id, name, member } => {
                write!(f, "BTF type {id}, `{name}`, holds something without a size")?;
                if member.is_empty() { Ok(()) } else { write!(f, ": `{member}`") }
            }
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

/// How deep a type may nest, typedefs and qualifiers counted. No C type does by far:
/// the kernel gives up at 32.
pub const MAX_DEPTH: u32 = 64;

impl Btf {
    /// Reads BTF, as in the `.BTF` section of an object or from the kernel.
    ///
    /// # Errors
    /// [`Error::Magic`], [`Error::ByteOrder`], [`Error::Truncated`],
    /// [`Error::Malformed`], [`Error::NoSuchType`] for a reference to a type that is
    /// not there, [`Error::Loop`], [`Error::TooDeep`] and [`Error::NoSize`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_in(bytes, ByteOrder::NATIVE)
    }

    /// As [`parse`](Self::parse), for machines of this byte order.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_in(bytes: &[u8], order: ByteOrder) -> Result<Self, Error> {
        let btf = Self { types: parse::types(bytes, order)? };
        check::check(&btf)?;
        Ok(btf)
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
    /// [`Error::NoSuchType`].
    pub fn resolve(&self, id: TypeId) -> Result<(TypeId, &Type), Error> {
        let mut at = id;
        loop {
            let of = self.get(at)?;
            match of.kind {
                Kind::Typedef(next) | Kind::Qualified(next) => at = next,
                _ => return Ok((at, of)),
            }
        }
    }

    /// The size of a type in bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], [`Error::TooLarge`], and [`Error::Malformed`] for what has
    /// no size, such as a function.
    pub fn size_of(&self, id: TypeId) -> Result<usize, Error> {
        let (mut at, mut count) = (id, 1_usize);
        let size = loop {
            let (resolved, of) = self.resolve(at)?;
            match &of.kind {
                Kind::Int { size, .. }
                | Kind::Composite { size, .. }
                | Kind::Enum { size, .. }
                | Kind::DataSec { size, .. }
                | Kind::Float { size } => break *size as usize,
                Kind::Ptr(_) => break 8,
                Kind::Void => break 0,
                Kind::Var { of, .. } => at = *of,
                Kind::Array { element, len } => {
                    count = count.checked_mul(*len as usize).ok_or(Error::TooLarge(id))?;
                    at = *element;
                }
                _ => return Err(Error::Malformed { id: resolved, what: "it has no size" }),
            }
        };
        let size = count.checked_mul(size).filter(|&size| size <= isize::MAX as usize);
        size.ok_or(Error::TooLarge(id))
    }

    /// The type as C writes it: `u64`, `struct flow`, `__be32[4]`.
    pub fn c_name(&self, id: TypeId) -> String {
        let Ok(of) = self.get(id) else { return "?".into() };
        let tagged = |word: &str| match of.name.as_str() {
            "" => format!("{word} {{…}}"),
            name => format!("{word} {name}"),
        };
        match &of.kind {
            Kind::Void => "void".into(),
            Kind::Ptr(to) => format!("{} *", self.c_name(*to)),
            Kind::Array { .. } => {
                // C writes the outer dimension first.
                let (mut dimensions, mut at) = (String::new(), id);
                while let Ok(Kind::Array { element, len }) = self.get(at).map(|of| &of.kind) {
                    dimensions.push_str(&format!("[{len}]"));
                    at = *element;
                }
                format!("{}{dimensions}", self.c_name(at))
            }
            Kind::Composite { union: true, .. } | Kind::Forward { union: true } => tagged("union"),
            Kind::Composite { .. } | Kind::Forward { .. } => tagged("struct"),
            Kind::Enum { .. } => tagged("enum"),
            Kind::Qualified(of) => self.c_name(*of),
            _ => of.name.clone(),
        }
    }
}
