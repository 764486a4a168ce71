//! The comparison itself: [`Layout`] against a BTF type, field by field.

use std::cell::Cell;

use bpf_atlas_btf::{Btf, Error as BtfError, Kind, Member, TypeId};

use super::table::{Mismatch, Row};
use crate::layout::{Field, Layout, LayoutKind};

/// Compares a Rust type with C type `id`. `Ok(None)` when they agree.
pub(super) fn compare(
    role: &'static str,
    layout: &Layout,
    btf: &Btf,
    id: TypeId,
) -> Result<Option<Mismatch>, BtfError> {
    let mut rows = Vec::new();
    let steps = Cell::new(0);
    let mut comparison = Comparison { btf, rows: &mut rows, steps: &steps };
    let (_, of) = btf.resolve(id)?;
    match (&of.kind, &layout.kind) {
        (Kind::Composite { union: false, .. }, LayoutKind::Struct { fields }) => {
            comparison.fields("", id, fields, layout.size, 0, 0)?;
        }
        _ => comparison.one("", id, layout, 0, 0, 0)?,
    }
    if rows.iter().all(|row| row.differs.is_none()) {
        return Ok(None);
    }
    let bytes = |size: usize| if size == 1 { "1 byte".into() } else { format!("{size} bytes") };
    Ok(Some(Mismatch {
        role,
        c: format!("C ({}, {})", btf.c_name(id), bytes(btf.size_of(id)?)),
        rust: format!("Rust ({}, {})", describe(layout), bytes(layout.size)),
        rows,
    }))
}

/// Deeper than any type: BTF that nests further is a loop.
const MAX_DEPTH: u32 = 32;

/// Members looked at, of any type there is: hostile BTF can double at each level.
const MAX_STEPS: u32 = 1 << 16;

struct Comparison<'a> {
    btf: &'a Btf,
    rows: &'a mut Vec<Row>,
    steps: &'a Cell<u32>,
}

/// A C member with its place in bytes; anonymous structs are looked into.
struct CField {
    name: String,
    of: TypeId,
    start: usize,
    end: usize,
    /// Several bitfields, which share bytes.
    bitfields: bool,
}

impl Comparison<'_> {
    /// Bounds the work on type `id`.
    fn step(&self, id: TypeId, depth: u32) -> Result<(), BtfError> {
        self.steps.set(self.steps.get() + 1);
        if depth > MAX_DEPTH || self.steps.get() > MAX_STEPS {
            return Err(BtfError::TooDeep(id));
        }
        Ok(())
    }

    fn row(
        &mut self,
        field: &str,
        c: Option<String>,
        rust: Option<String>,
        differs: Option<&'static str>,
    ) {
        self.rows.push(Row { field: field.into(), c, rust, differs });
    }

    /// The members of a struct against the fields of another, both at `base`.
    fn fields(
        &mut self,
        path: &str,
        id: TypeId,
        fields: &[Field],
        rust_size: usize,
        base: usize,
        depth: u32,
    ) -> Result<(), BtfError> {
        let mut members = Vec::new();
        self.flatten(id, 0, &mut members, depth)?;
        let mut used = vec![false; fields.len()];
        for member in members.iter().filter(|member| !is_padding(&member.name)) {
            let name = join(path, &member.name);
            let here = self.describe_c(member, base);
            let same_place =
                |field: &Field| field.offset == member.start && !is_rust_padding(field.name);
            if member.bitfields || member.name.is_empty() {
                self.bytes_at(&name, member, fields, &mut used, base);
                continue;
            }
            let by_name = fields.iter().position(|field| field.name == member.name);
            let by_place = fields.iter().position(same_place);
            match (by_name, by_place) {
                (Some(at), _) => {
                    used[at] = true;
                    let field = &fields[at];
                    if field.offset == member.start {
                        self.one(
                            &name,
                            member.of,
                            field.layout,
                            base + member.start,
                            base + field.offset,
                            depth + 1,
                        )?;
                    } else {
                        let there = describe_at(field.layout, base + field.offset);
                        self.row(&name, Some(here), Some(there), Some("offset differs"));
                    }
                }
                (None, Some(at)) if !members.iter().any(|other| other.name == fields[at].name) => {
                    used[at] = true;
                    let field = &fields[at];
                    let there = format!(
                        "{}: {}",
                        field.name,
                        describe_at(field.layout, base + field.offset)
                    );
                    self.row(&name, Some(here), Some(there), Some("name differs"));
                }
                _ => self.row(&name, Some(here), None, Some("missing in Rust")),
            }
        }
        for (field, used) in fields.iter().zip(used) {
            if !used && !is_rust_padding(field.name) {
                let there = describe_at(field.layout, base + field.offset);
                self.row(&join(path, field.name), None, Some(there), Some("missing in C"));
            }
        }
        let c_size = self.btf.size_of(id)?;
        if c_size != rust_size {
            let size = |size: usize| Some(format!("{size} bytes"));
            self.row(path, size(c_size), size(rust_size), Some("size differs"));
        }
        Ok(())
    }

    /// Bitfields, or an anonymous union: bytes, which Rust may call anything.
    fn bytes_at(
        &mut self,
        name: &str,
        member: &CField,
        fields: &[Field],
        used: &mut [bool],
        base: usize,
    ) {
        let mut covered = member.start;
        for (field, used) in fields.iter().zip(used.iter_mut()) {
            let end = field.offset + field.layout.size;
            let is_bytes = is_bytes(field.layout)
                || (member.bitfields && matches!(field.layout.kind, LayoutKind::Int { .. }));
            if field.offset == covered && covered < member.end && is_bytes {
                covered = end;
                *used = true;
            }
        }
        let here = Some(self.describe_c(member, base));
        if covered >= member.end {
            self.row(name, here, Some("bytes".into()), None);
        } else {
            self.row(name, here, None, Some("missing in Rust (as bytes)"));
        }
    }

    /// The members of a struct in order, those of anonymous structs among
    /// them, neighbouring bitfields as one.
    fn flatten(
        &self,
        id: TypeId,
        base: usize,
        out: &mut Vec<CField>,
        depth: u32,
    ) -> Result<(), BtfError> {
        self.step(id, depth)?;
        let (_, of) = self.btf.resolve(id)?;
        let Kind::Composite { members, .. } = &of.kind else { return Ok(()) };
        for member in members {
            let start = base + member.bit_offset as usize / 8;
            if let Some(bits) = self.bitfield(member)? {
                let last = member.bit_offset as usize + usize::from(bits);
                let end = base + last.div_ceil(8);
                if member.name.is_empty() {
                    continue;
                }
                match out.last_mut() {
                    Some(before) if before.bitfields && before.end >= start => {
                        before.end = before.end.max(end);
                        before.name = format!("{}, {}", before.name, member.name);
                    }
                    _ => out.push(CField {
                        name: member.name.clone(),
                        of: member.of,
                        start,
                        end,
                        bitfields: true,
                    }),
                }
                continue;
            }
            let (_, inner) = self.btf.resolve(member.of)?;
            if member.name.is_empty() && matches!(inner.kind, Kind::Composite { union: false, .. })
            {
                self.flatten(member.of, start, out, depth + 1)?;
                continue;
            }
            let size = self.btf.size_of(member.of)?;
            // A member without bytes (a flexible array) is nothing to compare.
            if size > 0 {
                out.push(CField {
                    name: member.name.clone(),
                    of: member.of,
                    start,
                    end: start + size,
                    bitfields: false,
                });
            }
        }
        Ok(())
    }

    /// The width of a bitfield; a member may also be one by an old kind of int.
    fn bitfield(&self, member: &Member) -> Result<Option<u8>, BtfError> {
        if member.bits.is_some() {
            return Ok(member.bits);
        }
        match self.btf.resolve(member.of)?.1.kind {
            Kind::Int { bits, size, .. } if u32::from(bits) < size * 8 && bits > 0 => {
                Ok(Some(bits))
            }
            _ => Ok(None),
        }
    }

    /// One C type against one Rust type.
    fn one(
        &mut self,
        path: &str,
        id: TypeId,
        layout: &Layout,
        c_at: usize,
        rust_at: usize,
        depth: u32,
    ) -> Result<(), BtfError> {
        self.step(id, depth)?;
        let (_, of) = self.btf.resolve(id)?;
        if let (Kind::Composite { union: false, .. }, LayoutKind::Struct { fields }) =
            (&of.kind, &layout.kind)
        {
            return self.fields(path, id, fields, layout.size, c_at, depth + 1);
        }
        let differs = self.differs(id, layout, depth)?;
        // What differs inside the elements of an array is told by field.
        if let (
            Some(_),
            Kind::Array { element, len },
            LayoutKind::Array { element: rust, len: n },
        ) = (differs, &of.kind, &layout.kind)
        {
            let structs = matches!(self.btf.resolve(*element)?.1.kind, Kind::Composite { .. });
            if *len as usize == *n && structs {
                return self.one(&format!("{path}[]"), *element, rust, c_at, rust_at, depth + 1);
            }
        }
        let c = format!("{} at {c_at}", self.btf.c_name(id));
        let path = if path.is_empty() { "(all)" } else { path };
        self.row(path, Some(c), Some(describe_at(layout, rust_at)), differs);
        Ok(())
    }

    /// What differs between types of which one at least is no struct.
    fn differs(
        &self,
        id: TypeId,
        layout: &Layout,
        depth: u32,
    ) -> Result<Option<&'static str>, BtfError> {
        self.step(id, depth)?;
        let (_, of) = self.btf.resolve(id)?;
        let same_size = self.btf.size_of(id)? == layout.size;
        let by_size = (!same_size).then_some("size differs");
        Ok(match (&of.kind, &layout.kind) {
            (_, LayoutKind::Opaque) => by_size,
            (_, LayoutKind::Union) if self.is_union(id, depth)? => by_size,
            (_, LayoutKind::Union) => Some("a union in Rust"),
            (Kind::Array { element, len }, LayoutKind::Array { element: rust, len: n }) => {
                if *len as usize == *n {
                    self.differs(*element, rust, depth + 1)?
                } else {
                    Some("length differs")
                }
            }
            (Kind::Composite { .. }, LayoutKind::Array { .. }) if is_bytes(layout) => {
                if self.is_union(id, depth)? { by_size } else { Some("a struct in C") }
            }
            (Kind::Composite { union: true, .. }, _) => Some("a union in C: bytes in Rust"),
            (Kind::Composite { .. }, LayoutKind::Struct { fields }) => {
                let mut rows = Vec::new();
                let mut inner = Comparison { btf: self.btf, rows: &mut rows, steps: self.steps };
                inner.fields("", id, fields, layout.size, 0, depth + 1)?;
                rows.iter().find_map(|row| row.differs)
            }
            (Kind::Int { signed: c, char, bool, size, .. }, LayoutKind::Int { signed: rust }) => {
                // C's char has the sign that the machine gives it; clang marks
                // it neither way, so a byte is a byte where its name says char.
                let sign_free = *bool || *char || (*size == 1 && of.name == "char");
                by_size.or((c != rust && !sign_free).then_some("sign differs"))
            }
            (Kind::Int { signed: false, bool: false, .. }, LayoutKind::BigEndian) => by_size,
            (Kind::Enum { .. } | Kind::Ptr(_), LayoutKind::Int { .. }) => by_size,
            (Kind::Float { .. }, LayoutKind::Float) => by_size,
            _ => Some("kind differs"),
        })
    }

    /// A union, or a struct that is nothing but one (`struct in6_addr`).
    fn is_union(&self, id: TypeId, depth: u32) -> Result<bool, BtfError> {
        self.step(id, depth)?;
        Ok(match &self.btf.resolve(id)?.1.kind {
            Kind::Composite { union: true, .. } => true,
            Kind::Composite { members, .. } if members.len() == 1 => {
                self.is_union(members[0].of, depth + 1)?
            }
            _ => false,
        })
    }

    fn describe_c(&self, member: &CField, base: usize) -> String {
        let start = base + member.start;
        if member.bitfields {
            return format!("bitfields at {start}..{}", base + member.end);
        }
        format!("{} at {start}", self.btf.c_name(member.of))
    }
}

/// Whether a name says that nobody reads the field.
fn is_padding(name: &str) -> bool {
    let bare = name.trim_start_matches('_');
    let word = ["pad", "reserved", "unused"].iter().find_map(|word| bare.strip_prefix(word));
    let digits = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '_');
    match word {
        Some(rest) => rest.is_empty() || digits(rest) || rest == "ding",
        None => !name.is_empty() && (bare.is_empty() || (name.starts_with('_') && digits(bare))),
    }
}

/// In Rust a leading underscore says the same.
fn is_rust_padding(name: &str) -> bool {
    name.starts_with('_') || is_padding(name)
}

fn is_bytes(layout: &Layout) -> bool {
    match layout.kind {
        LayoutKind::Array { element, .. } => {
            matches!(element.kind, LayoutKind::Int { .. }) && element.size == 1
        }
        LayoutKind::Opaque | LayoutKind::Union => true,
        _ => false,
    }
}

fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.into(),
        (path, "") => path.into(),
        (path, name) => format!("{path}.{name}"),
    }
}

/// The type as Rust writes it.
fn describe(layout: &Layout) -> String {
    match layout.kind {
        LayoutKind::Array { element, len } => format!("[{}; {len}]", describe(element)),
        _ => layout.name.into(),
    }
}

fn describe_at(layout: &Layout, at: usize) -> String {
    format!("{} at {at}", describe(layout))
}
