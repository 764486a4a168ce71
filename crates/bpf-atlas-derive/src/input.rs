//! What both derives read of a struct: its fields, its `repr`, its attributes.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::token::Paren;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Ident, LitInt, LitStr, Member, Path, Result, Type,
    parenthesized,
};

/// A struct without parameters and with at least one field.
pub struct Input<'a> {
    pub ident: &'a Ident,
    /// The struct's name as a reader knows it, without `r#`.
    pub name: String,
    pub attrs: &'a [Attribute],
    pub fields: Vec<Field<'a>>,
    /// The path of the library.
    pub krate: TokenStream,
    /// Whether the struct holds the bytes of a C union.
    pub union: bool,
}

pub struct Field<'a> {
    pub member: Member,
    /// The field's name without `r#`, or its number.
    pub name: String,
    pub ty: &'a Type,
    /// The type's tokens, right also outside the struct: `Self` is its name.
    pub tokens: TokenStream,
    pub attrs: &'a [Attribute],
}

impl<'a> Input<'a> {
    /// `derive` is the name of the trait, for messages.
    pub fn new(input: &'a DeriveInput, derive: &str) -> Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(not_a_struct(input, derive));
        };
        let generics = &input.generics;
        if !generics.params.is_empty() {
            return Err(Error::new_spanned(
                generics,
                format!(
                    "`{derive}` is not for generic structs: size and padding are proved for one concrete type; \
                     write a struct with concrete field types"
                ),
            ));
        }
        if data.fields.is_empty() {
            return Err(Error::new_spanned(
                &input.ident,
                format!(
                    "`{derive}` is not for empty structs: a key or a value has at least one byte; add a field"
                ),
            ));
        }
        let (krate, union) = options(&input.attrs)?;
        Ok(Self {
            ident: &input.ident,
            name: input.ident.unraw().to_string(),
            attrs: &input.attrs,
            fields: fields(&data.fields, &input.ident)?,
            krate,
            union,
        })
    }
}

impl Input<'_> {
    /// For derived code that names a deprecated field: `offset_of!` hides from
    /// the compiler that a derive wrote it. Nothing otherwise, since an `allow`
    /// is an error under `#![forbid(warnings)]`.
    pub fn quiet(&self) -> Option<TokenStream> {
        self.fields
            .iter()
            .any(|field| field.attrs.iter().any(|attr| attr.path().is_ident("deprecated")))
            .then(|| quote!(#[allow(deprecated)]))
    }
}

impl Field<'_> {
    /// A span that points at the field and belongs to the macro.
    pub fn span(&self) -> Span {
        match &self.member {
            Member::Named(ident) => at(ident.span()),
            Member::Unnamed(_) => at(self.ty.span()),
        }
    }

    /// A field somebody put in to make padding explicit.
    pub fn is_padding(&self) -> bool {
        self.name.starts_with("_pad") || self.name.starts_with("__pad")
    }
}

/// Points where `place` is, but is the macro's code: lints of the user's crate,
/// `unsafe_code` above all, do not speak of it.
pub fn at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

fn fields<'a>(fields: &'a Fields, owner: &Ident) -> Result<Vec<Field<'a>>> {
    fields
        .iter()
        .zip(fields.members())
        .map(|(field, member)| {
            let name = match (c_name(&field.attrs)?, &member) {
                (Some(name), _) => name,
                (None, Member::Named(ident)) => ident.unraw().to_string(),
                (None, Member::Unnamed(index)) => index.index.to_string(),
            };
            let tokens = without_self(field.ty.to_token_stream(), owner);
            Ok(Field { member, name, ty: &field.ty, tokens, attrs: &field.attrs })
        })
        .collect()
}

/// `[u8; Self::LEN]` may stand in a struct; the derived code says it outside.
fn without_self(tokens: TokenStream, owner: &Ident) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(ident) if ident == "Self" => {
                let mut owner = owner.clone();
                owner.set_span(ident.span());
                TokenTree::Ident(owner)
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), without_self(group.stream(), owner));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            other => other,
        })
        .collect()
}

fn not_a_struct(input: &DeriveInput, derive: &str) -> Error {
    let name = &input.ident;
    match &input.data {
        Data::Enum(data) => {
            let int = integer_repr(&input.attrs);
            Error::new(
                data.enum_token.span,
                format!(
                    "`{derive}` is not for enums: the kernel may hold a number that is none of the variants, \
                     which is undefined behaviour in Rust; write an open newtype: \
                     `#[repr(transparent)] struct {name}({int})` with constants"
                ),
            )
        }
        Data::Union(data) => Error::new(
            data.union_token.span,
            format!(
                "`{derive}` is not for unions: bytes that the written member does not cover are undefined; \
                 write the bytes, `[u8; N]`, with accessors for each reading"
            ),
        ),
        Data::Struct(_) => unreachable!("called for enums and unions"),
    }
}

/// The integer an enum asked for; C's enums are `u32` unless they need more.
fn integer_repr(attrs: &[Attribute]) -> String {
    let mut found = String::from("u32");
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("repr")) {
        // What does not parse here is an error of the compiler's own.
        let _ = each_word(attr, |word, _| {
            if word.starts_with(['u', 'i']) {
                found = word.replace("usize", "u64").replace("isize", "i64");
            }
        });
    }
    found
}

/// How the struct is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Repr {
    /// With the number of `align(N)`, or 1.
    C {
        align: usize,
    },
    Transparent,
}

/// The `repr` that fixes the layout, if there is one.
pub fn repr(attrs: &[Attribute]) -> Result<Option<Repr>> {
    let (mut c, mut transparent, mut align) = (false, false, 1);
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("repr")) {
        each_word(attr, |word, number| match word {
            "C" => c = true,
            "transparent" => transparent = true,
            "align" => align = number.unwrap_or(1),
            _ => {}
        })?;
    }
    Ok(match (c, transparent) {
        (true, _) => Some(Repr::C { align }),
        (false, true) => Some(Repr::Transparent),
        (false, false) => None,
    })
}

/// Calls `f` with each word of `#[repr(…)]` and the number in its parentheses.
fn each_word(attr: &Attribute, mut f: impl FnMut(&str, Option<usize>)) -> Result<()> {
    attr.parse_nested_meta(|meta| {
        let mut number = None;
        if meta.input.peek(Paren) {
            let inside;
            parenthesized!(inside in meta.input);
            number = Some(inside.parse::<LitInt>()?.base10_parse()?);
        }
        if let Some(word) = meta.path.get_ident() {
            f(&word.to_string(), number);
        }
        Ok(())
    })
}

/// `#[pod(name = "self")]` on a field: what C calls it, where Rust cannot.
fn c_name(attrs: &[Attribute]) -> Result<Option<String>> {
    const ONLY: &str = "on a field `pod` takes its name in C alone, `#[pod(name = \"…\")]`";
    let mut found = None;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("pod")) {
        if attr.meta.require_list().map_or(true, |list| list.tokens.is_empty()) {
            return Err(Error::new_spanned(attr, ONLY));
        }
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                let text = "`#[pod(crate = \"…\")]` goes on the struct, not on a field";
                return Err(Error::new_spanned(attr, text));
            }
            if !meta.path.is_ident("name") {
                return Err(meta.error(ONLY));
            }
            found = Some(meta.value()?.parse::<LitStr>()?.value());
            Ok(())
        })?;
    }
    Ok(found)
}

/// `#[pod(crate = "path")]`, or `::bpf_atlas`; and whether `#[pod(union)]`.
fn options(attrs: &[Attribute]) -> Result<(TokenStream, bool)> {
    const ONLY: &str = "`#[pod(crate = \"path::to::bpf_atlas\")]` and `#[pod(union)]` are all that \
                        `pod` takes";
    let mut found = None;
    let mut union = false;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("pod")) {
        if attr.meta.require_list().map_or(true, |list| list.tokens.is_empty()) {
            return Err(Error::new_spanned(attr, ONLY));
        }
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("union") {
                union = true;
                return Ok(());
            }
            if !meta.path.is_ident("crate") {
                return Err(meta.error(ONLY));
            }
            let path: LitStr = meta.value()?.parse()?;
            let path = path.parse_with(Path::parse_mod_style)?;
            found = Some(path.to_token_stream());
            Ok(())
        })?;
    }
    Ok((found.unwrap_or_else(|| quote!(::bpf_atlas)), union))
}
