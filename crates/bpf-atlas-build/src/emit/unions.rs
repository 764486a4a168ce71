//! Unions: bytes, read and written as each of the members; and what they
//! share with bitfields.

use super::{Emit, doc, indent, literal};
use crate::types::{Item, ItemKind, Member, Place, Ty, Union};

impl Emit<'_> {
    pub(super) fn union(&self, item: &Item, union: &Union) -> String {
        let rust = &item.rust;
        let storage = format!("[u{}; {}]", union.word, union.words);
        let own = [
            "::core::clone::Clone",
            "::core::marker::Copy",
            "::core::cmp::PartialEq",
            "::core::cmp::Eq",
            "::core::hash::Hash",
        ];
        let mut out = self.quoted(item);
        out.push_str("///\n/// Equality is that of all bytes, whatever was meant by them.\n");
        out.push_str(&self.derives(item, &own));
        let words = Ty::Array(Box::new(Ty::unsigned(union.word)), union.words as u32);
        let long = if self.serde(item) { self.long_array(&words) } else { String::new() };
        out.push_str(&format!(
            "#[pod(union)]\n#[repr(transparent)]\npub struct {rust}({long}{storage});\n\n"
        ));
        let mut methods: String = union.members.iter().map(|m| self.member(m, item.size)).collect();
        methods.push_str(&format!(
            "/// The union made of these words, in the machine's byte order.\n\
             pub const fn from_words(words: {storage}) -> Self {{\n    Self(words)\n}}\n\n\
             /// All of it.\npub const fn words(self) -> {storage} {{\n    self.0\n}}\n"
        ));
        out.push_str(&format!("impl {rust} {{\n{}}}\n\n", indent(&methods)));
        if !self.derived(item, "Default") {
            out.push_str(&self.default(rust));
        }
        if !self.derived(item, "Debug") {
            let fields: String = union
                .members
                .iter()
                .map(|member| {
                    format!(
                        "        .field({}, &self.{}())\n",
                        literal(&member.c_name),
                        member.rust
                    )
                })
                .collect();
            out.push_str(&format!(
                "impl ::core::fmt::Debug for {rust} {{\n    \
                 fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        \
                 f.debug_struct({})\n{}            .finish()\n    }}\n}}\n\n",
                literal(rust),
                indent(&fields),
            ));
        }
        out.push_str(&format!("const _: () = {{\n{}}};\n", self.size_proof(item, rust)));
        out
    }

    fn member(&self, member: &Member, size: usize) -> String {
        let (ty, krate) = (self.member_ty(member), self.krate());
        let (name, bare) = (&member.rust, member.rust.trim_start_matches("r#"));
        let all = format!("{krate}::__private::get::<_, _, [u8; {size}]>(&self.0, 0)");
        let (read, write) = match member.place {
            Place::At(at) => (
                format!("{krate}::__private::get(&self.0, {at})"),
                format!("{krate}::__private::set(&mut self.0, {at}, value);"),
            ),
            Place::Bits(start, width) => (
                self.read_bits(member, &format!("&{all}"), start, width),
                format!(
                    "let mut bytes = {all};\n    \
                     {krate}::__private::set_bits(&mut bytes, {start}, {width}, {});\n    \
                     {krate}::__private::set(&mut self.0, 0, bytes);",
                    self.to_bits(member)
                ),
            ),
        };
        format!(
            "{}pub fn {name}(&self) -> {ty} {{\n    {read}\n}}\n\n\
             /// Sets [`{bare}`](Self::{bare}) and leaves the other bytes.\n\
             pub fn set_{bare}(&mut self, value: {ty}) {{\n    {write}\n}}\n\n\
             /// The union with [`{bare}`](Self::{bare}) set and all other bytes zero.\n\
             pub fn from_{bare}(value: {ty}) -> Self {{\n    \
             let mut union = <Self as ::core::default::Default>::default();\n    \
             union.set_{bare}(value);\n    union\n}}\n\n",
            doc(&format!("C `{}`.", member.decl)),
        )
    }

    /// The members of the union that a field is.
    pub(super) fn members_of(&self, ty: &Ty) -> &[Member] {
        match ty {
            Ty::Named(at) => match &self.types.items[*at].kind {
                ItemKind::Union(union) => &union.members,
                _ => &[],
            },
            _ => &[],
        }
    }

    /// What an accessor gives: of one bit that C calls `bool`, a `bool`.
    pub(super) fn member_ty(&self, member: &Member) -> String {
        match (member.place, self.types.behind(&member.ty)) {
            (Place::Bits(..), Ty::Bool) => "bool".into(),
            (Place::Bits(..), Ty::BigEndian { bits }) => format!("u{bits}"),
            _ => self.ty(&member.ty),
        }
    }

    /// An expression for the bitfield in the bytes `of`.
    pub(super) fn read_bits(&self, member: &Member, of: &str, start: usize, width: u8) -> String {
        let krate = self.krate();
        let bits = |signed: bool| {
            let sign = if signed { "signed_" } else { "" };
            format!("{krate}::__private::{sign}bits({of}, {start}, {width})")
        };
        match self.types.behind(&member.ty) {
            Ty::Bool => format!("{} != 0", bits(false)),
            Ty::Named(at) => match &self.types.items[*at].kind {
                ItemKind::Enum(of) => {
                    let int = if of.signed { 'i' } else { 'u' };
                    let path = self.ty(&Ty::Named(*at));
                    format!(
                        "<{path} as ::core::convert::From<{int}{width}>>::from({} as {int}{width})",
                        bits(of.signed),
                        width = of.bits
                    )
                }
                _ => unreachable!("the collector takes bitfields of integers and enums only"),
            },
            Ty::Int { bits: width, signed } => {
                let int = if *signed { 'i' } else { 'u' };
                format!("{} as {int}{width}", bits(*signed))
            }
            Ty::BigEndian { bits: width } => format!("{} as u{width}", bits(false)),
            _ => unreachable!("the collector takes bitfields of integers and enums only"),
        }
    }

    /// An expression for the bits of `value`.
    pub(super) fn to_bits(&self, member: &Member) -> String {
        match self.types.behind(&member.ty) {
            Ty::Named(at) => match &self.types.items[*at].kind {
                ItemKind::Enum(of) => {
                    let int = if of.signed { 'i' } else { 'u' };
                    format!("<{int}{} as ::core::convert::From<_>>::from(value) as u128", of.bits)
                }
                _ => "value as u128".into(),
            },
            _ => "value as u128".into(),
        }
    }
}
