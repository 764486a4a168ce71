//! From BTF to [`Types`]: every type that a map reaches, under a Rust name.

use std::collections::HashMap;

use bpf_atlas_btf::{Btf, Error as BtfError, Kind, TypeId};

use crate::decl;
use crate::enums::Values;
use crate::error::Error;
use crate::names::{self, camel};
use crate::options::Options;
use crate::types::{Enum, Item, ItemKind, Ty, Types};

/// Deeper than any type of a program: what nests further is hostile.
const MAX_DEPTH: u32 = 48;

/// The kernel takes no larger value.
const MAX_SIZE: usize = i32::MAX as usize;

/// Where a type was met: what a type without a name is named after, and what
/// an error says.
#[derive(Clone, Debug)]
pub(crate) struct At {
    /// In Rust: `FlowPeer`.
    pub(crate) rust: String,
    /// In words: `field peer of struct flow`.
    pub(crate) words: String,
    pub(crate) depth: u32,
}

impl At {
    pub(crate) fn new(rust: impl Into<String>, words: impl Into<String>) -> Self {
        Self { rust: rust.into(), words: words.into(), depth: 0 }
    }

    fn deeper(&self) -> Self {
        Self { depth: self.depth + 1, ..self.clone() }
    }
}

pub(crate) struct Collector<'a> {
    pub(crate) btf: &'a Btf,
    pub(crate) options: &'a Options,
    pub(crate) types: Types,
    values: &'a Values,
    known: HashMap<TypeId, usize>,
    /// Rust names that are taken, and by what in C.
    taken: HashMap<String, String>,
    /// The same names in the order they were taken.
    claims: Vec<String>,
    /// Rust names that a type of C has a better claim to than one without name.
    reserved: HashMap<String, Vec<TypeId>>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(btf: &'a Btf, options: &'a Options, values: &'a Values) -> Self {
        let named = btf.types().filter(|(_, of)| {
            let named =
                matches!(of.kind, Kind::Composite { .. } | Kind::Enum { .. } | Kind::Typedef(_));
            named && !of.name.is_empty()
        });
        let mut reserved: HashMap<_, Vec<_>> = HashMap::new();
        for (id, of) in named {
            let ids = reserved.entry(camel(&of.name)).or_default();
            if !of.name.starts_with('_') {
                ids.push(id);
            }
        }
        Self {
            btf,
            options,
            types: Types::default(),
            values,
            known: HashMap::new(),
            taken: HashMap::new(),
            claims: Vec::new(),
            reserved,
        }
    }

    pub(crate) fn refuse(&self, place: &str, what: impl Into<String>) -> Error {
        Error::Type { file: self.options.file.clone(), place: place.into(), what: what.into() }
    }

    pub(crate) fn broken(&self, place: &str, error: BtfError) -> Error {
        self.refuse(place, error.to_string())
    }

    /// The size in bytes, within reason.
    pub(crate) fn size_of(&self, id: TypeId, at: &At) -> Result<usize, Error> {
        match self.btf.size_of(id).map_err(|error| self.broken(&at.words, error))? {
            size if size <= MAX_SIZE => Ok(size),
            size => Err(self.refuse(&at.words, format!("{size} bytes are more than a map holds"))),
        }
    }

    /// The Rust type for C type `id`.
    pub(crate) fn ty(&mut self, id: TypeId, at: &At) -> Result<Ty, Error> {
        if at.depth > MAX_DEPTH {
            return Err(self.broken(&at.words, BtfError::TooDeep(id)));
        }
        self.size_of(id, at)?;
        let of = self.btf.get(id).map_err(|error| self.broken(&at.words, error))?;
        match &of.kind {
            Kind::Qualified(of) => self.ty(*of, &at.deeper()),
            Kind::Typedef(to) => self.typedef(id, &of.name, *to, at),
            Kind::Int { size, bool: true, .. } if *size == 1 => Ok(Ty::Bool),
            Kind::Int { size, signed, bool: false, .. } => {
                Ok(Ty::Int { bits: *size as u16 * 8, signed: *signed })
            }
            Kind::Float { size: size @ (4 | 8) } => Ok(Ty::Float { bits: *size as u16 * 8 }),
            Kind::Ptr(_) => Ok(Ty::Address),
            Kind::Array { element, len } => {
                if self.is_char(*element, at)? {
                    return Ok(Ty::Chars(*len));
                }
                Ok(Ty::Array(Box::new(self.ty(*element, &at.deeper())?), *len))
            }
            Kind::Forward { .. } | Kind::Enum { size: 0, .. } => Err(self.refuse(
                &at.words,
                format!("`{}` is declared, but not what is in it", self.btf.c_name(id)),
            )),
            Kind::Composite { .. } | Kind::Enum { .. } => {
                let c_name = match of.name.as_str() {
                    "" => None,
                    _ => Some(self.btf.c_name(id)),
                };
                self.item(id, c_name, at)
            }
            _ => Err(self.refuse(
                &at.words,
                format!("`{}` has no counterpart in Rust", self.btf.c_name(id)),
            )),
        }
    }

    /// C's `char`, which is text, and not `signed char` or `unsigned char`.
    fn is_char(&self, id: TypeId, at: &At) -> Result<bool, Error> {
        let (_, of) = self.btf.resolve(id).map_err(|error| self.broken(&at.words, error))?;
        Ok(of.name == "char" && matches!(of.kind, Kind::Int { size: 1, .. }))
    }

    fn typedef(&mut self, id: TypeId, name: &str, to: TypeId, at: &At) -> Result<Ty, Error> {
        let (_, of) = self.btf.resolve(to).map_err(|error| self.broken(&at.words, error))?;
        if let Kind::Int { size, signed, bool, .. } = of.kind {
            match well_known(name) {
                Some(Known::Int) if !bool => {
                    return Ok(Ty::Int { bits: size as u16 * 8, signed });
                }
                Some(Known::Bool) if bool && size == 1 => return Ok(Ty::Bool),
                Some(Known::BigEndian(bits)) if u32::from(bits) == size * 8 && !signed => {
                    return Ok(Ty::BigEndian { bits });
                }
                _ => {}
            }
        }
        if let Some(&known) = self.known.get(&id) {
            return Ok(Ty::Named(known));
        }
        let direct = self.btf.get(to).map_err(|error| self.broken(&at.words, error))?;
        let unnamed = direct.name.is_empty()
            && matches!(direct.kind, Kind::Composite { .. } | Kind::Enum { .. });
        if unnamed {
            let at = At { rust: camel(name), ..at.deeper() };
            let ty = self.item(to, Some(format!("typedef {name}")), &at)?;
            if let Ty::Named(item) = ty {
                // Quote the typedef, which has the name.
                self.types.items[item].id = id;
            }
            return Ok(ty);
        }
        let ty = self.ty(to, &At { rust: camel(name), ..at.deeper() })?;
        let c_name = format!("typedef {name}");
        let rust = self.name(id, &c_name, name);
        // `typedef struct flow flow;` is one type, and has one name in Rust.
        let same = matches!(&ty, Ty::Named(at) if self.types.items[*at].rust == rust);
        if same {
            return Ok(ty);
        }
        self.claim(&rust, &c_name)?;
        let (size, align) = self.types.facts(&ty);
        let float = self.types.has_float(&ty);
        let path = self.options.own_type(&c_name).map(str::to_owned);
        let kind = ItemKind::Alias(ty);
        Ok(self.push(id, Item { c_name, id, rust, size, align, float, path, kind }))
    }

    fn push(&mut self, id: TypeId, item: Item) -> Ty {
        let at = self.types.items.len();
        self.types.items.push(item);
        self.known.insert(id, at);
        Ty::Named(at)
    }

    /// As [`ty`](Self::ty), but leaves nothing behind where it fails.
    pub(crate) fn attempt(&mut self, id: TypeId, at: &At) -> Result<Ty, Error> {
        let (items, names) = (self.types.items.len(), self.claims.len());
        let result = self.ty(id, at);
        if result.is_err() {
            self.types.items.truncate(items);
            self.known.retain(|_, item| *item < items);
            for name in self.claims.drain(names..) {
                self.taken.remove(&name);
            }
        }
        result
    }

    /// Takes a name in Rust for a type of C.
    fn claim(&mut self, rust: &str, c_name: &str) -> Result<(), Error> {
        self.claim_as(rust, &format!("`{c_name}`"), "give one another name with `rename`")
    }

    /// As [`claim`](Self::claim), for anything that C has, told in words.
    pub(crate) fn claim_as(
        &mut self,
        rust: &str,
        what: &str,
        remedy: &'static str,
    ) -> Result<(), Error> {
        if let Some(other) = self.taken.get(rust) {
            return Err(Error::Collision {
                file: self.options.file.clone(),
                first: other.clone(),
                second: what.into(),
                rust: rust.into(),
                remedy,
            });
        }
        self.taken.insert(rust.to_owned(), what.to_owned());
        self.claims.push(rust.to_owned());
        Ok(())
    }

    /// The name in Rust of a type that C calls `c_name`, by its bare name.
    fn name(&self, id: TypeId, c_name: &str, bare: &str) -> String {
        if let Some(rust) = self.options.rename(c_name) {
            return rust.into();
        }
        let rust = camel(bare);
        if !bare.starts_with('_') {
            return rust;
        }
        // Where `event` is another type than `__event`, the latter keeps a mark.
        let own = self.btf.resolve(id).map(|(own, _)| own);
        let others = self.reserved.get(&rust).map_or(&[][..], Vec::as_slice);
        let other = |other: &TypeId| self.btf.resolve(*other).map(|(other, _)| other) != own;
        if others.iter().any(other) { format!("_{rust}") } else { rust }
    }

    /// A name for a type that has none in C.
    fn free_name(&mut self, wanted: &str) -> String {
        let free =
            |name: &String| !self.taken.contains_key(name) && !self.reserved.contains_key(name);
        let mut names = (1..).map(|n| if n == 1 { wanted.into() } else { format!("{wanted}{n}") });
        let name = names.find(free).expect("there are more numbers than names");
        self.taken.insert(name.clone(), "a type without a name".into());
        self.claims.push(name.clone());
        name
    }

    /// A `struct`, `union` or `enum`.
    fn item(&mut self, id: TypeId, c_name: Option<String>, at: &At) -> Result<Ty, Error> {
        if let Some(&known) = self.known.get(&id) {
            return Ok(Ty::Named(known));
        }
        let of = self.btf.get(id).map_err(|error| self.broken(&at.words, error))?;
        let (rust, c_name) = match c_name {
            Some(c_name) => {
                let bare = c_name.split_once(' ').map_or(c_name.as_str(), |(_, bare)| bare);
                let rust = self.name(id, &c_name, bare);
                self.claim(&rust, &c_name)?;
                (rust, c_name)
            }
            None => {
                let word = match of.kind {
                    Kind::Enum { .. } => "enum",
                    Kind::Composite { union: true, .. } => "union",
                    _ => "struct",
                };
                (self.free_name(&at.rust), format!("{word} of {}", at.words))
            }
        };
        let inner = At { rust: rust.clone(), words: c_name.clone(), depth: at.depth + 1 };
        let (kind, size, align, float) = match &of.kind {
            Kind::Enum { size, .. } => {
                let kind = self.enumeration(id, *size)?;
                (ItemKind::Enum(kind), *size as usize, *size as usize, false)
            }
            Kind::Composite { union: true, size, .. } => {
                let (union, align) = self.union(id, *size as usize, &inner)?;
                (ItemKind::Union(union), *size as usize, align, false)
            }
            _ => {
                let (made, align) = self.structure(id, &inner)?;
                let float = made.fields.iter().any(|field| self.types.has_float(&field.ty));
                let size = self.size_of(id, at)?;
                (ItemKind::Struct(made), size, align, float)
            }
        };
        let path = self.options.own_type(&c_name).map(str::to_owned);
        Ok(self.push(id, Item { c_name, id, rust, size, align, float, path, kind }))
    }

    fn enumeration(&self, id: TypeId, size: u32) -> Result<Enum, Error> {
        let known = self.values.of(self.btf, id);
        let mut scope = names::Scope::with(["c_name"]);
        let values = known.values.into_iter().map(|(name, value)| {
            let rust = scope.unique(&names::ident(&name));
            (name, rust, value)
        });
        let values = values.collect();
        Ok(Enum { bits: size as u16 * 8, signed: known.signed, values, unknown: known.unknown })
    }

    pub(crate) fn decl(&self, id: TypeId, name: &str) -> String {
        decl::variable(self.btf, id, name)
    }
}

/// Typedefs that every C program has, which Rust has words for.
enum Known {
    Int,
    Bool,
    BigEndian(u16),
}

fn well_known(name: &str) -> Option<Known> {
    let bare = name.strip_prefix("__").unwrap_or(name);
    Some(match bare {
        "be16" => Known::BigEndian(16),
        "be32" => Known::BigEndian(32),
        "be64" => Known::BigEndian(64),
        "bool" => Known::Bool,
        "u8" | "u16" | "u32" | "u64" | "u128" | "s8" | "s16" | "s32" | "s64" | "s128" => Known::Int,
        "int8_t" | "int16_t" | "int32_t" | "int64_t" | "uint8_t" | "uint16_t" | "uint32_t"
        | "uint64_t" | "u_int8_t" | "u_int16_t" | "u_int32_t" | "u_int64_t" => Known::Int,
        "size_t" | "ssize_t" | "uintptr_t" | "kernel_size_t" | "kernel_ulong_t" => Known::Int,
        _ => return None,
    })
}
