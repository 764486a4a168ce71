//! From bytes to types.

use crate::{ByteOrder, Error, Kind, Member, SecVar, Type, TypeId};

const MAGIC: u16 = 0xeb9f;
/// The kernel's own limits.
const MAX_TYPES: usize = 1 << 20;
const MAX_NAME: usize = 512;

/// Bytes that are taken from the front.
struct Cursor<'a> {
    rest: &'a [u8],
    order: ByteOrder,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Error::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4, what)?);
        Ok(match self.order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }

    fn i32(&mut self, what: &'static str) -> Result<i32, Error> {
        Ok(self.u32(what)? as i32)
    }
}

struct Strings<'a>(&'a [u8]);

impl Strings<'_> {
    fn get(&self, offset: u32) -> Result<String, Error> {
        let text = self.0.get(offset as usize..).ok_or(Error::Truncated("a name"))?;
        let mut text_and_end = text.iter().take(MAX_NAME);
        let len = text_and_end.position(|&byte| byte == 0).ok_or(Error::Truncated("a name"))?;
        Ok(String::from_utf8_lossy(&text[..len]).into_owned())
    }
}

pub(crate) fn types(bytes: &[u8], order: ByteOrder) -> Result<Vec<Type>, Error> {
    let mut header = Cursor { rest: bytes, order };
    // magic, version, flags
    let start = header.take(4, "the header")?;
    let found = match [start[0], start[1]] {
        magic if magic == MAGIC.to_le_bytes() => ByteOrder::Little,
        magic if magic == MAGIC.to_be_bytes() => ByteOrder::Big,
        _ => return Err(Error::Magic),
    };
    if found != order {
        return Err(Error::ByteOrder);
    }
    let header_len = header.u32("the header")? as usize;
    let mut part = |what| -> Result<&[u8], Error> {
        let (offset, len) = (header.u32("the header")?, header.u32("the header")?);
        let body = bytes.get(header_len..).ok_or(Error::Truncated("the header"))?;
        let end = (offset as usize).checked_add(len as usize).ok_or(Error::Truncated(what))?;
        body.get(offset as usize..end).ok_or(Error::Truncated(what))
    };
    let types = part("the types")?;
    let strings = Strings(part("the names")?);

    let mut all = vec![Type { name: String::new(), kind: Kind::Void }];
    let mut cursor = Cursor { rest: types, order };
    while !cursor.rest.is_empty() {
        if all.len() >= MAX_TYPES {
            return Err(Error::Truncated("more types than the kernel takes"));
        }
        let id = all.len() as TypeId;
        all.push(one(&mut cursor, &strings, id)?);
    }
    for of in &all {
        references(&of.kind, |id| {
            if (id as usize) < all.len() { Ok(()) } else { Err(Error::NoSuchType(id)) }
        })?;
    }
    Ok(all)
}

fn references(kind: &Kind, mut f: impl FnMut(TypeId) -> Result<(), Error>) -> Result<(), Error> {
    match kind {
        Kind::Ptr(of)
        | Kind::Typedef(of)
        | Kind::Qualified(of)
        | Kind::Func(of)
        | Kind::Array { element: of, .. }
        | Kind::FuncProto { returns: of }
        | Kind::Var { of, .. }
        | Kind::DeclTag { of, .. } => f(*of),
        Kind::Composite { members, .. } => members.iter().try_for_each(|member| f(member.of)),
        Kind::DataSec { vars, .. } => vars.iter().try_for_each(|var| f(var.var)),
        _ => Ok(()),
    }
}

fn one(cursor: &mut Cursor<'_>, strings: &Strings<'_>, id: TypeId) -> Result<Type, Error> {
    const WHAT: &str = "a type";
    let name = strings.get(cursor.u32(WHAT)?)?;
    let info = cursor.u32(WHAT)?;
    // Either, by kind.
    let size_or_type = cursor.u32(WHAT)?;
    let (count, flag) = ((info & 0xffff) as usize, info >> 31 == 1);
    let malformed = |what| Err(Error::Malformed { id, what });
    let kind = match (info >> 24) & 0x1f {
        1 => {
            let int = cursor.u32("an integer")?;
            let (encoding, bits) = ((int >> 24) & 0xf, (int & 0xff) as u8);
            let sizes = matches!(size_or_type, 1 | 2 | 4 | 8 | 16);
            if !sizes || bits == 0 || u32::from(bits) > size_or_type * 8 {
                return malformed("no integer has such a size");
            }
            Kind::Int {
                size: size_or_type,
                bits,
                signed: encoding & 1 != 0,
                char: encoding & 2 != 0,
                bool: encoding & 4 != 0,
            }
        }
        2 => Kind::Ptr(size_or_type),
        3 => {
            let element = cursor.u32("an array")?;
            let _index = cursor.u32("an array")?;
            Kind::Array { element, len: cursor.u32("an array")? }
        }
        kind @ (4 | 5) => {
            let members = (0..count).map(|_| member(cursor, strings, flag));
            let members = members.collect::<Result<Vec<_>, _>>()?;
            let end = u64::from(size_or_type) * 8;
            if members.iter().any(|member| u64::from(member.bit_offset) > end) {
                return malformed("a member lies behind its end");
            }
            Kind::Composite { union: kind == 5, size: size_or_type, members }
        }
        kind @ (6 | 19) => {
            let mut values = Vec::new();
            for _ in 0..count {
                let name = strings.get(cursor.u32("an enum")?)?;
                let low = cursor.u32("an enum")?;
                let value = if kind == 6 {
                    if flag || low <= i32::MAX as u32 || size_or_type > 4 {
                        i128::from(low as i32)
                    } else {
                        i128::from(low)
                    }
                } else {
                    let wide = u64::from(cursor.u32("an enum")?) << 32 | u64::from(low);
                    if flag { i128::from(wide as i64) } else { i128::from(wide) }
                };
                values.push((name, value));
            }
            // One that is declared only has no values and no size.
            let declared_only = count == 0 && size_or_type == 0;
            if !declared_only && !matches!(size_or_type, 1 | 2 | 4 | 8) {
                return malformed("no enum has such a size");
            }
            Kind::Enum { size: size_or_type, signed: flag, values }
        }
        7 => Kind::Forward { union: flag },
        8 => Kind::Typedef(size_or_type),
        9..=11 | 18 => Kind::Qualified(size_or_type),
        12 => Kind::Func(size_or_type),
        13 => {
            cursor.take(count * 8, "a function's type")?;
            Kind::FuncProto { returns: size_or_type }
        }
        14 => Kind::Var { of: size_or_type, global: cursor.u32("a variable")? == 1 },
        15 => {
            let vars = (0..count).map(|_| {
                Ok(SecVar {
                    var: cursor.u32("a section")?,
                    offset: cursor.u32("a section")?,
                    size: cursor.u32("a section")?,
                })
            });
            Kind::DataSec { vars: vars.collect::<Result<_, Error>>()?, size: size_or_type }
        }
        16 if size_or_type == 0 => return malformed("no floating point number has such a size"),
        16 => Kind::Float { size: size_or_type },
        17 => Kind::DeclTag { of: size_or_type, component: cursor.i32("a note")? },
        _ => return malformed("its kind is unknown"),
    };
    Ok(Type { name, kind })
}

fn member(
    cursor: &mut Cursor<'_>,
    strings: &Strings<'_>,
    bitfields: bool,
) -> Result<Member, Error> {
    let name = strings.get(cursor.u32("a member")?)?;
    let of = cursor.u32("a member")?;
    let offset = cursor.u32("a member")?;
    // With the flag, the upper byte is the width of a bitfield.
    let (bit_offset, bits) =
        if bitfields { (offset & 0x00ff_ffff, (offset >> 24) as u8) } else { (offset, 0) };
    Ok(Member { name, of, bit_offset, bits: (bits > 0).then_some(bits) })
}
