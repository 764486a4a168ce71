//! Where the fields of structs and unions lie, with every byte accounted for.

use bpf_atlas_btf::{Kind, TypeId};

use crate::collect::{At, Collector};
use crate::error::Error;
use crate::names::{self, Scope, camel};
use crate::types::{Field, FieldKind, ItemKind, Member, Place, Struct, Ty, Union};

/// A member of a struct or union, those of unnamed structs in it among them.
pub(crate) struct Flat {
    pub(crate) name: String,
    pub(crate) of: TypeId,
    /// In bits.
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) bits: Option<u8>,
}

impl Flat {
    fn byte(&self) -> usize {
        self.start / 8
    }

    fn byte_end(&self) -> usize {
        self.end.div_ceil(8)
    }
}

impl Collector<'_> {
    /// A struct and its alignment.
    pub(crate) fn structure(&mut self, id: TypeId, at: &At) -> Result<(Struct, usize), Error> {
        let size = self.size_of(id, at)?;
        let mut members = Vec::new();
        self.flatten(id, 0, false, at, &mut members)?;
        let (made, align) = self.lay_out(members, size, at)?;
        self.unique_fields(&made.fields, at)?;
        Ok((made, align))
    }

    /// A struct of these members, and its alignment.
    pub(crate) fn lay_out(
        &mut self,
        mut members: Vec<Flat>,
        size: usize,
        at: &At,
    ) -> Result<(Struct, usize), Error> {
        members.sort_by_key(|member| member.byte());
        let idents: Vec<_> = members.iter().map(|member| names::ident(&member.name)).collect();
        let mut scope = Scope::with(idents.iter().map(String::as_str));
        let mut fields = self.fields(members, size, at, &mut scope)?;
        let mut methods = Scope::default();
        for field in &mut fields {
            if let FieldKind::Bits(members) | FieldKind::Anonymous(members) = &mut field.kind {
                members.iter_mut().for_each(|member| name_accessor(member, &mut methods));
            }
        }
        let natural = fields.iter().map(|field| self.types.facts(&field.ty).1).max().unwrap_or(1);
        let fits = |pack: &usize| {
            size % natural.min(*pack) == 0
                && fields
                    .iter()
                    .all(|field| field.offset % self.types.facts(&field.ty).1.min(*pack) == 0)
        };
        let pack = [16, 8, 4, 2, 1].into_iter().find(fits).unwrap_or(1);
        let packed = (pack < natural).then_some(pack);
        Ok((Struct { fields, packed }, natural.min(pack)))
    }

    /// The fields in order, without a gap between or behind them.
    fn fields(
        &mut self,
        members: Vec<Flat>,
        size: usize,
        at: &At,
        scope: &mut Scope,
    ) -> Result<Vec<Field>, Error> {
        let mut fields = Vec::new();
        let mut offset = 0;
        let mut members = members.into_iter().peekable();
        while let Some(member) = members.next() {
            let start = member.byte();
            if start < offset || member.byte_end() > size {
                return Err(self.refuse(
                    &at.words,
                    format!("its field `{}` lies over another or outside", member.name),
                ));
            }
            pad(&mut fields, offset, start, scope);
            let mut end = member.byte_end();
            let field = if member.bits.is_some() {
                let mut bits = vec![member];
                while let Some(next) =
                    members.next_if(|next| next.bits.is_some() && next.byte() <= end)
                {
                    end = end.max(next.byte_end());
                    bits.push(next);
                }
                if end > size {
                    return Err(self.refuse(&at.words, "its bitfields end behind it"));
                }
                self.bits(bits, start, end, at, scope)?
            } else {
                self.field(member, at, scope)?
            };
            fields.push(field);
            offset = end;
        }
        pad(&mut fields, offset, size, scope);
        Ok(fields)
    }

    fn field(&mut self, member: Flat, at: &At, scope: &mut Scope) -> Result<Field, Error> {
        let offset = member.byte();
        if member.name.is_empty() {
            let rust = scope.numbered("anon");
            let inner = At {
                rust: format!("{}{}", at.rust, camel(&rust)),
                words: at.words.clone(),
                depth: at.depth + 1,
            };
            let ty = self.ty(member.of, &inner)?;
            let decl = self.decl(member.of, "");
            let members = match &ty {
                Ty::Named(at) => match &self.types.items[*at].kind {
                    ItemKind::Union(union) => union.members.clone(),
                    _ => Vec::new(),
                },
                _ => Vec::new(),
            };
            let kind = FieldKind::Anonymous(members);
            return Ok(Field { c_name: String::new(), rust, ty, offset, decl, kind });
        }
        let inner = self.inside(&member.name, at);
        let ty = self.ty(member.of, &inner)?;
        let decl = self.decl(member.of, &member.name);
        let rust = names::ident(&member.name);
        Ok(Field { c_name: member.name, rust, ty, offset, decl, kind: FieldKind::Plain })
    }

    /// Bitfields that share bytes, as those bytes.
    fn bits(
        &mut self,
        members: Vec<Flat>,
        start: usize,
        end: usize,
        at: &At,
        scope: &mut Scope,
    ) -> Result<Field, Error> {
        let members = members
            .into_iter()
            .map(|member| {
                let bits = member.bits.unwrap_or(0);
                self.is_integer(&member, at)?;
                let place = Place::Bits(member.start - start * 8, bits);
                let ty = self.ty(member.of, &self.inside(&member.name, at))?;
                let decl = format!("{} : {bits}", self.decl(member.of, &member.name));
                Ok(Member { c_name: member.name, rust: String::new(), ty, decl, place })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let decls: Vec<_> = members.iter().map(|member| member.decl.as_str()).collect();
        Ok(Field {
            c_name: String::new(),
            rust: scope.numbered("_bits"),
            ty: Ty::bytes(end - start),
            offset: start,
            decl: decls.join(", "),
            kind: FieldKind::Bits(members),
        })
    }

    /// A union, as integers that give it its alignment.
    pub(crate) fn union(
        &mut self,
        id: TypeId,
        size: usize,
        at: &At,
    ) -> Result<(Union, usize), Error> {
        let mut flat = Vec::new();
        self.flatten(id, 0, true, at, &mut flat)?;
        let mut members = Vec::new();
        let mut scope = Scope::with(["from_words", "words"]);
        let mut align = 1;
        for member in flat {
            if member.byte_end() > size {
                return Err(
                    self.refuse(&at.words, format!("its member `{}` ends behind it", member.name))
                );
            }
            let ty = self.ty(member.of, &self.inside(&member.name, at))?;
            let mut decl = self.decl(member.of, &member.name);
            let place = match member.bits {
                Some(bits) => {
                    self.is_integer(&member, at)?;
                    decl = format!("{decl} : {bits}");
                    Place::Bits(member.start, bits)
                }
                None => {
                    let natural = self.types.facts(&ty).1;
                    if member.byte() % natural == 0 {
                        align = align.max(natural);
                    }
                    Place::At(member.byte())
                }
            };
            let mut member = Member { c_name: member.name, rust: String::new(), ty, decl, place };
            name_accessor(&mut member, &mut scope);
            members.push(member);
        }
        while size % align != 0 {
            align /= 2;
        }
        let union = Union { word: align as u16 * 8, words: size / align, members };
        Ok((union, align))
    }

    /// C has bitfields of integers and enums only, no wider than these.
    fn is_integer(&self, member: &Flat, at: &At) -> Result<(), Error> {
        let of = self.btf.resolve(member.of).map(|(_, of)| &of.kind);
        let size = match of {
            Ok(Kind::Int { size, .. } | Kind::Enum { size, .. }) => *size,
            _ => 0,
        };
        if u32::from(member.bits.unwrap_or(0)) <= size * 8 {
            return Ok(());
        }
        Err(self
            .refuse(&at.words, format!("its bitfield `{}` is wider than its type", member.name)))
    }

    fn inside(&self, field: &str, at: &At) -> At {
        At {
            rust: format!("{}{}", at.rust, camel(field)),
            words: format!("field `{field}` of `{}`", at.words),
            depth: at.depth + 1,
        }
    }

    /// The members, those of unnamed structs in place of these. In a union,
    /// unnamed unions are opened too: all are read by offset there.
    fn flatten(
        &self,
        id: TypeId,
        base: usize,
        unions: bool,
        at: &At,
        out: &mut Vec<Flat>,
    ) -> Result<(), Error> {
        self.flatten_at(id, base, unions, at, 0, out)
    }

    fn flatten_at(
        &self,
        id: TypeId,
        base: usize,
        unions: bool,
        at: &At,
        depth: u32,
        out: &mut Vec<Flat>,
    ) -> Result<(), Error> {
        let broken = |error| self.broken(&at.words, error);
        let (_, of) = self.btf.resolve(id).map_err(broken)?;
        let Kind::Composite { members, .. } = &of.kind else { return Ok(()) };
        if depth > 16 || out.len() > 1 << 16 {
            return Err(broken(bpf_atlas_btf::Error::TooDeep(id)));
        }
        for member in members {
            let start = base + member.bit_offset as usize;
            let (_, inner) = self.btf.resolve(member.of).map_err(broken)?;
            let bits = match (member.bits, &inner.kind) {
                (Some(bits), _) => Some(bits),
                // How old compilers tell a bitfield.
                (None, Kind::Int { bits, size, .. }) if u32::from(*bits) < size * 8 => Some(*bits),
                _ => None,
            };
            let name = member.name.clone();
            if let Some(bits) = bits {
                if !name.is_empty() && bits > 0 && bits <= 128 {
                    let end = start + usize::from(bits);
                    out.push(Flat { name, of: member.of, start, end, bits: Some(bits) });
                }
                continue;
            }
            if name.is_empty() {
                if let Kind::Composite { union, .. } = inner.kind {
                    if !union || unions {
                        self.flatten_at(member.of, start, unions, at, depth + 1, out)?;
                        continue;
                    }
                }
            }
            let size = self.size_of(member.of, at)?;
            if start % 8 != 0 {
                return Err(self.refuse(&at.words, format!("`{name}` begins inside a byte")));
            }
            // A member without bytes (a flexible array) is nothing in Rust.
            if size > 0 {
                out.push(Flat { name, of: member.of, start, end: start + size * 8, bits: None });
            }
        }
        Ok(())
    }

    /// C names that become one name in Rust (`self` and `self_`).
    fn unique_fields(&self, fields: &[Field], at: &At) -> Result<(), Error> {
        let mut seen = std::collections::HashMap::new();
        for field in fields.iter().filter(|field| !field.c_name.is_empty()) {
            if let Some(other) = seen.insert(field.rust.clone(), field.c_name.clone()) {
                return Err(Error::Collision {
                    file: self.options.file.clone(),
                    first: format!("field `{other}`"),
                    second: format!("field `{}` of `{}`", field.c_name, at.words),
                    rust: field.rust.clone(),
                    remedy: "rename one of them in C",
                });
            }
        }
        Ok(())
    }
}

/// Names the bytes from `from` to `to`, if there are any.
fn pad(fields: &mut Vec<Field>, from: usize, to: usize, scope: &mut Scope) {
    if from < to {
        fields.push(Field {
            c_name: String::new(),
            rust: scope.numbered("_pad"),
            ty: Ty::bytes(to - from),
            offset: from,
            decl: String::new(),
            kind: FieldKind::Padding,
        });
    }
}

/// `port`, `set_port` and `from_port`, which no other member may have.
fn name_accessor(member: &mut Member, scope: &mut Scope) {
    let mut name = names::ident(&member.c_name);
    loop {
        let bare = name.trim_start_matches("r#").to_owned();
        let all = [name.clone(), format!("set_{bare}"), format!("from_{bare}")];
        if all.iter().all(|name| scope.is_free(name)) {
            all.iter().for_each(|name| drop(scope.unique(name)));
            member.rust = name;
            return;
        }
        name = format!("{bare}_");
    }
}
