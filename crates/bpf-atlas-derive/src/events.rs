//! `#[derive(Events)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Ident, LitStr, Member, Path, Result, Token, Type,
    Variant,
};

use crate::input::at;

/// Which field is the tag, what the references are called, where the library is.
struct Options {
    tag: Punctuated<Member, Token![.]>,
    reference: Ident,
    krate: TokenStream,
}

/// One variant: an event.
///
/// Every name that derived code binds is one that the user has no constant of: a
/// pattern would mean the constant.
struct Event<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    /// What `#[event(…)]` says.
    tag: TokenStream,
    attrs: &'a [Attribute],
}

pub fn expand(derive: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &derive.data else {
        return Err(Error::new_spanned(
            &derive.ident,
            "`Events` is for enums: one variant for each type of event that the ring holds; a \
             ring of one type takes the struct itself, `#[derive(Clone, Copy, Pod)]`",
        ));
    };
    if !derive.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &derive.generics,
            "`Events` is not for generic enums: an event is copied out of the ring's memory, so it \
             borrows nothing and its size is known; write an enum of concrete types",
        ));
    }
    if data.variants.is_empty() {
        return Err(Error::new_spanned(
            &derive.ident,
            "`Events` is not for empty enums: a ring holds something; add a variant, \
             `#[event(1)] Exec(ExecEvent)`",
        ));
    }
    let options = options(derive)?;
    let mut events = Vec::new();
    let mut errors: Option<Error> = None;
    for variant in &data.variants {
        match event(variant) {
            Ok(event) => events.push(event),
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            },
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }

    let proofs = proofs(&options, &events);
    let reference = reference(derive, &options, &events);
    let implementation = implementation(derive, &options, &events);
    Ok(quote! {
        #reference
        const _: () = {
            #proofs
            #implementation
        };
    })
}

fn options(derive: &DeriveInput) -> Result<Options> {
    const ONLY: &str = "`events` takes `tag = kind`, the field of each event that tells which it \
                        is, `reference = EventRef`, the name of the enum of references, and \
                        `crate = \"path::to::bpf_atlas\"`";
    let (mut tag, mut reference, mut krate) = (None, None, None);
    for attr in derive.attrs.iter().filter(|attr| attr.path().is_ident("events")) {
        if attr.meta.require_list().map_or(true, |list| list.tokens.is_empty()) {
            return Err(Error::new_spanned(attr, ONLY));
        }
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("tag") {
                tag = Some(Punctuated::parse_separated_nonempty(meta.value()?)?);
            } else if meta.path.is_ident("reference") {
                reference = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("crate") {
                let path: LitStr = meta.value()?.parse()?;
                krate = Some(path.parse_with(Path::parse_mod_style)?.to_token_stream());
            } else {
                return Err(meta.error(ONLY));
            }
            Ok(())
        })?;
    }
    if let Some(attr) = derive.attrs.iter().find(|attr| attr.path().is_ident("event")) {
        let text = "`#[event(…)]` goes on a variant; on the enum it is `#[events(…)]`";
        return Err(Error::new_spanned(attr, text));
    }
    Ok(Options {
        tag: tag.unwrap_or_else(|| Punctuated::from_iter([Member::Named(format_ident!("kind"))])),
        reference: reference.unwrap_or_else(|| format_ident!("{}Ref", derive.ident.unraw())),
        krate: krate.unwrap_or_else(|| quote!(::bpf_atlas)),
    })
}

fn event(variant: &Variant) -> Result<Event<'_>> {
    let name = variant.ident.unraw();
    let ty = match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => &fields.unnamed[0].ty,
        _ => {
            return Err(Error::new_spanned(
                variant,
                format!(
                    "each variant holds one event, a struct that is `Pod` and has no name here: \
                     write `{name}({name}Event)`"
                ),
            ));
        }
    };
    if let Some((_, value)) = &variant.discriminant {
        let text = format!(
            "the number of a variant is no tag: write `#[event({})]` above it",
            value.to_token_stream()
        );
        return Err(Error::new_spanned(value, text));
    }
    let write = "write above it the tag that tells it from other events: `#[event(1)]`, or any \
                 constant of the tag's type";
    let mut tag = None;
    for attr in variant.attrs.iter() {
        if attr.path().is_ident("events") {
            let text = "`#[events(…)]` goes on the enum; on a variant it is `#[event(…)]`";
            return Err(Error::new_spanned(attr, text));
        }
        if !attr.path().is_ident("event") {
            continue;
        }
        let tokens = match attr.meta.require_list() {
            Ok(list) if !list.tokens.is_empty() => list.tokens.clone(),
            _ => return Err(Error::new_spanned(attr, write)),
        };
        if tag.replace(tokens).is_some() {
            return Err(Error::new_spanned(attr, "an event has one tag; this is a second one"));
        }
    }
    let Some(tag) = tag else { return Err(Error::new_spanned(&variant.ident, write)) };
    Ok(Event { ident: &variant.ident, ty, tag, attrs: &variant.attrs })
}

/// The field's path, each part where `place` is.
fn field(options: &Options, place: Span) -> TokenStream {
    let members = options.tag.iter().map(|member| match member {
        Member::Named(ident) => {
            let mut ident = ident.clone();
            ident.set_span(place);
            ident.into_token_stream()
        }
        Member::Unnamed(index) => index.to_token_stream(),
    });
    quote_spanned!(place=> #(#members).*)
}

/// The same tokens, all of them where `place` is: what fails there is told there.
fn moved(tokens: &TokenStream, place: Span) -> TokenStream {
    let moved = tokens.clone().into_iter().map(|mut token| {
        token.set_span(place);
        token
    });
    moved.collect()
}

/// As a reader of the message writes it.
fn tag_name(options: &Options) -> String {
    let members = options.tag.iter().map(|member| match member {
        Member::Named(ident) => ident.unraw().to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    });
    members.collect::<Vec<_>>().join(".")
}

/// The constant that holds the tag of an event; by a name that `#[event(…)]` does
/// not mean.
fn constant(n: usize) -> Ident {
    format_ident!("__ATLAS_TAG_{n}")
}

/// Constants that fail to compile unless the events can be told apart.
fn proofs(options: &Options, events: &[Event<'_>]) -> TokenStream {
    let name = tag_name(options);
    let first = &events[0];
    let first_ty = first.ty.to_token_stream().to_string();
    let mut out = TokenStream::new();
    for (n, event) in events.iter().enumerate() {
        let (ty, tag) = (event.ty, &event.tag);
        let here = at(ty.span());
        let (krate, field) = (moved(&options.krate, here), field(options, here));
        let (variant, shown) = (event.ident.unraw().to_string(), ty.to_token_stream().to_string());
        let value = constant(n);
        let aligned = format!(
            "`{variant}`: records of a ring are aligned to 8 bytes, and `{shown}` asks for more; \
             write integers of 64 bits at most and no `align(16)`"
        );
        out.extend(quote_spanned! {here=>
            const #value: ::core::primitive::u64 =
                #krate::__private::tag(|__atlas: #ty| __atlas.#field).number(#tag);
            const _: () = ::core::assert!(::core::mem::align_of::<#ty>() <= 8, #aligned);
        });
        if n == 0 {
            out.extend(quote_spanned! {here=>
                const __ATLAS_TAG: #krate::__private::Tag = #krate::__private::Tag::new(
                    ::core::mem::offset_of!(#ty, #field),
                    |__atlas: #ty| __atlas.#field,
                );
            });
            continue;
        }
        let place = format!(
            "`{variant}`: the tag `{name}` is not where `{}` has it; put it at the same offset of \
             `{first_ty}` and `{shown}`, best at the start",
            first.ident.unraw()
        );
        let first_ty = first.ty;
        out.extend(quote_spanned! {here=>
            const _: () = #krate::__private::same_tag(
                |__atlas: #first_ty| __atlas.#field,
                |__atlas: #ty| __atlas.#field,
            );
            const _: () = ::core::assert!(
                ::core::mem::offset_of!(#ty, #field) == ::core::mem::offset_of!(#first_ty, #field),
                #place,
            );
        });
        let there = at(tag.span());
        for (m, earlier) in events[..n].iter().enumerate() {
            let (other, earlier) = (constant(m), earlier.ident.unraw());
            let text = format!(
                "`{variant}` has the tag of `{earlier}`: a reader could not tell them apart; give \
                 one of them another"
            );
            out.extend(quote_spanned! {there=>
                const _: () = ::core::assert!(#value != #other, #text);
            });
        }
    }
    out
}

/// The attributes that hold for references as well.
fn kept(attrs: &[Attribute]) -> Vec<&Attribute> {
    const KEEP: [&str; 5] = ["doc", "non_exhaustive", "deprecated", "allow", "expect"];
    attrs.iter().filter(|attr| KEEP.iter().any(|name| attr.path().is_ident(name))).collect()
}

/// The enum of references, `EventRef`.
fn reference(derive: &DeriveInput, options: &Options, events: &[Event<'_>]) -> TokenStream {
    let (vis, ident, reference) = (&derive.vis, &derive.ident, &options.reference);
    let name = ident.unraw().to_string();
    let text = format!("An [`{name}`] in the ring's own memory.");
    let own = kept(&derive.attrs);
    let (docs, rest): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|attr| attr.path().is_ident("doc"));
    let variants = events.iter().map(|event| {
        let (variant, ty, attrs) = (event.ident, event.ty, kept(event.attrs));
        let doc = (!attrs.iter().any(|attr| attr.path().is_ident("doc")))
            .then(|| format!("Tag `{}`.", event.tag))
            .map(|text| quote!(#[doc = #text]));
        quote!(#doc #(#attrs)* #variant(&'r #ty))
    });
    let arms = events.iter().map(|event| {
        let variant = event.ident;
        let shown = variant.unraw().to_string();
        quote! {
            Self::#variant(__atlas) => {
                ::core::fmt::Formatter::debug_tuple(__atlas_f, #shown).field(__atlas).finish()
            }
        }
    });
    let parts = events.iter().map(|event| event.ty);
    let quiet = quiet(events);
    quote! {
        #[doc = #text]
        #[doc = ""]
        #(#docs)*
        #(#rest)*
        #quiet
        #[derive(::core::clone::Clone, ::core::marker::Copy)]
        #vis enum #reference<'r> {
            #(#variants,)*
        }

        #quiet
        #[automatically_derived]
        impl<'r> ::core::fmt::Debug for #reference<'r>
        where
            #(&'r #parts: ::core::fmt::Debug,)*
        {
            fn fmt(
                &self,
                __atlas_f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                match self { #(#arms)* }
            }
        }
    }
}

/// Only where something is deprecated: an `allow` is an error under
/// `#![forbid(warnings)]`.
fn quiet(events: &[Event<'_>]) -> Option<TokenStream> {
    let mut attrs = events.iter().flat_map(|event| event.attrs);
    attrs.any(|attr| attr.path().is_ident("deprecated")).then(|| quote!(#[allow(deprecated)]))
}

fn implementation(derive: &DeriveInput, options: &Options, events: &[Event<'_>]) -> TokenStream {
    let (ident, reference, krate) = (&derive.ident, &options.reference, &options.krate);
    let result = quote!(::core::result::Result);
    let looks = events.iter().enumerate().map(|(n, event)| {
        let (tag, variant, ty) = (constant(n), event.ident, event.ty);
        let size = quote!(::core::mem::size_of::<#ty>());
        quote_spanned! {at(ty.span())=>
            if __atlas_tag == #tag {
                return match #krate::__private::view::<#ty>(__atlas) {
                    ::core::option::Option::Some(__atlas) => {
                        #result::Ok((#reference::#variant(__atlas), #size))
                    }
                    ::core::option::Option::None => {
                        #result::Err(#krate::__private::Unfit::Short { expected: #size })
                    }
                };
            }
        }
    });
    let borrows = events.iter().map(|event| {
        let variant = event.ident;
        quote!(#ident::#variant(__atlas) => Self::#variant(__atlas),)
    });
    let layouts = events.iter().enumerate().map(|(n, event)| {
        let (tag, ty) = (constant(n), event.ty);
        quote!((#tag, &<#ty as #krate::Pod>::LAYOUT))
    });
    let copies = events.iter().map(|event| {
        let variant = event.ident;
        quote!(#reference::#variant(__atlas) => Self::#variant(*__atlas),)
    });
    let quiet = quiet(events);
    quote! {
        #quiet
        #[automatically_derived]
        impl #krate::Event for #ident {
            type Ref<'r> = #reference<'r>;

            const LAYOUTS: #krate::__private::Layouts =
                #krate::__private::Layouts::Tagged(&[#(#layouts),*]);

            #[inline]
            fn view(
                __atlas: &[::core::primitive::u8],
            ) -> #result<(#reference<'_>, ::core::primitive::usize), #krate::__private::Unfit> {
                let ::core::option::Option::Some(__atlas_tag) = __ATLAS_TAG.read(__atlas) else {
                    return #result::Err(#krate::__private::Unfit::Short { expected: __ATLAS_TAG.end() });
                };
                #(#looks)*
                #result::Err(#krate::__private::Unfit::Tag(__atlas_tag))
            }

            #[inline]
            fn copy(__atlas: #reference<'_>) -> Self {
                match __atlas { #(#copies)* }
            }
        }

        #quiet
        #[automatically_derived]
        impl<'r> ::core::convert::From<&'r #ident> for #reference<'r> {
            #[inline]
            fn from(__atlas: &'r #ident) -> Self {
                match __atlas { #(#borrows)* }
            }
        }
    }
}
