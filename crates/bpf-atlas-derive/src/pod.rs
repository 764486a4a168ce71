//! `#[derive(Pod)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{DeriveInput, Error, Member, Result, Type};

use crate::input::{self, Field, Input, Repr, at};
use crate::refuse;

/// Gaps shorter than this are told by number: 16 is the greatest alignment that
/// primitive types have.
const ALIGN: usize = 16;

/// With `align(N)` the gap at the end may be longer; told up to a limit, since
/// each number is a sentence in the expansion.
const GREATEST_ALIGN: usize = 256;

pub fn expand(derive: &DeriveInput) -> Result<TokenStream> {
    let input = Input::new(derive, "Pod")?;
    let repr = fixed_layout(&input)?;
    let refused = input.fields.iter().filter_map(|field| refuse::refused(field.ty));
    if let Some(all) = refused.reduce(|mut all, one| {
        all.combine(one);
        all
    }) {
        return Err(all);
    }

    let (layout, align) = match repr {
        Repr::Transparent if input.union => (union(&input)?, 1),
        Repr::C { .. } if input.union => return Err(not_bytes(&input)),
        Repr::C { align } => (structure(&input), align),
        Repr::Transparent => {
            let (inner, krate) = (&input.fields[0].tokens, &input.krate);
            (quote!(<#inner as #krate::Pod>::LAYOUT), 1)
        }
    };
    let proofs = proofs(&input, align);
    let quiet = input.quiet();
    let Input { ident, krate, .. } = input;
    Ok(quote! {
        #proofs

        // SAFETY: the constants above do not compile unless the struct has
        // exactly the fields seen here and no byte between or behind them; the
        // layout below does not compile unless each field is `Pod`. So every
        // byte belongs to a field, and any bytes are a value.
        #quiet
        #[automatically_derived]
        unsafe impl #krate::Pod for #ident {
            const LAYOUT: #krate::Layout = #layout;
        }

        // SAFETY: `Pod` asks for more than `Plain` does.
        #[automatically_derived]
        unsafe impl #krate::__private::plain::Plain for #ident {}
    })
}

fn fixed_layout(input: &Input) -> Result<Repr> {
    let Some(repr) = input::repr(input.attrs)? else {
        let name = &input.name;
        return Err(Error::new_spanned(
            input.ident,
            format!(
                "`Pod` needs a fixed layout, and Rust may reorder the fields of `{name}`; \
                 write `#[repr(C)]` above it, or `#[repr(transparent)]` around one field"
            ),
        ));
    };
    if repr == Repr::Transparent && input.fields.len() != 1 {
        return Err(Error::new_spanned(
            input.ident,
            "`Pod` takes `#[repr(transparent)]` around exactly one field; write `#[repr(C)]`",
        ));
    }
    Ok(repr)
}

/// The value of `LAYOUT` for a `repr(C)` struct.
fn structure(input: &Input) -> TokenStream {
    let Input { ident, name, fields, krate, .. } = input;
    let fields = fields.iter().map(|Field { member, name, tokens, .. }| {
        quote! {
            #krate::Field::new(
                #name,
                ::core::mem::offset_of!(#ident, #member),
                &<#tokens as #krate::Pod>::LAYOUT,
            )
        }
    });
    quote! {
        #krate::Layout::structure(
            #name,
            ::core::mem::size_of::<#ident>(),
            ::core::mem::align_of::<#ident>(),
            const { &[#(#fields),*] },
        )
    }
}

/// The value of `LAYOUT` for what holds the bytes of a C union.
fn union(input: &Input) -> Result<TokenStream> {
    // Anything but an array of integers could have fields of its own.
    let field = &input.fields[0];
    let element = match field.ty {
        Type::Array(array) => array.elem.to_token_stream().to_string(),
        _ => String::new(),
    };
    if !["u8", "u16", "u32", "u64", "u128"].contains(&element.as_str()) {
        return Err(not_bytes(input));
    }
    let element = quote::format_ident!("{element}");
    let Input { ident, name, krate, .. } = input;
    let member = &field.member;
    Ok(quote! {{
        // The name of the integer could be an alias of something else.
        const fn words<const N: usize>(_: [::core::primitive::#element; N]) {}
        const _: fn(#ident) = |value| words(value.#member);
        #krate::Layout::union(
            #name,
            ::core::mem::size_of::<#ident>(),
            ::core::mem::align_of::<#ident>(),
        )
    }})
}

fn not_bytes(input: &Input) -> Error {
    Error::new_spanned(
        input.ident,
        "`#[pod(union)]` is for the bytes of a C union: `#[repr(transparent)]` around one array of \
         unsigned integers, `[u32; N]`, whose element has the union's alignment",
    )
}

/// Constants that fail to compile if the struct has padding, no byte at all,
/// or other fields than were seen here.
fn proofs(input: &Input, align: usize) -> TokenStream {
    let Input { ident, name, fields, .. } = input;
    let here = at(ident.span());
    let between = fields.windows(2).map(|pair| {
        let (before, after) = (&pair[0], &pair[1]);
        let (end, start) = (end_of(input, before), &after.member);
        let gap = quote!(::core::mem::offset_of!(#ident, #start) - (#end));
        proof(input, after.span(), &gap, ALIGN, &format!("before field `{}`", after.name))
    });
    let trailing = fields.last().map(|last| {
        let end = end_of(input, last);
        let gap = quote!(::core::mem::size_of::<#ident>() - (#end));
        let align = align.clamp(ALIGN, GREATEST_ALIGN);
        proof(input, here, &gap, align, &format!("at the end, after field `{}`", last.name))
    });
    let empty = format!("`{name}` has no byte: a key or a value has at least one; add a field");
    let members = fields.iter().map(|field| &field.member);
    let types = fields.iter().map(|field| &field.tokens);
    let values: Vec<_> = (0..fields.len())
        .map(|n| quote::format_ident!("value_{n}", span = Span::mixed_site()))
        .collect();
    let not_empty = quote_spanned! {here=>
        const _: () = if ::core::mem::size_of::<#ident>() == 0 {
            ::core::panic!(#empty)
        };
    };
    quote! {
        #(#between)*
        #trailing
        #not_empty
        // An attribute macro below the derive could still change the fields.
        const _: fn(#ident) = |value| {
            let #ident { #(#members: #values),* } = value;
            #(let _: #types = #values;)*
        };
    }
}

/// Where the bytes of a field end.
fn end_of(input: &Input, field: &Field) -> TokenStream {
    let (ident, member, tokens) = (input.ident, &field.member, &field.tokens);
    quote!(::core::mem::offset_of!(#ident, #member) + ::core::mem::size_of::<#tokens>())
}

/// One constant that fails to compile unless `gap` is 0. A gap shorter than
/// `align` is told by number.
fn proof(input: &Input, span: Span, gap: &TokenStream, align: usize, place: &str) -> TokenStream {
    let name = &input.name;
    let text = |amount: &str, len: &str| {
        let pad = pad(input, len);
        format!(
            "padding in `{name}`: {amount} {place}; add {pad} there so that no byte is undefined"
        )
    };
    let told = (1..align).map(|bytes| {
        let plural = if bytes == 1 { "" } else { "s" };
        let text = text(&format!("{bytes} byte{plural}"), &bytes.to_string());
        quote!(#bytes => #text,)
    });
    let more = text(&format!("{align} bytes or more"), "N");
    let quiet = input.quiet();
    quote_spanned! {span=>
        #quiet
        const _: () = {
            let gap = #gap;
            if gap != 0 {
                // A panic in a constant takes one `&str` and no number.
                ::core::panic!("{}", match gap { #(#told)* _ => #more })
            }
        };
    }
}

/// The field to add, by a name that is still free.
fn pad(input: &Input, len: &str) -> String {
    if let Member::Unnamed(_) = input.fields[0].member {
        return format!("a field `[u8; {len}]`");
    }
    let taken = |name: &str| input.fields.iter().any(|field| field.name == name);
    let mut name = String::from("_pad");
    for n in 2.. {
        if !taken(&name) {
            break;
        }
        name = format!("_pad{n}");
    }
    format!("`{name}: [u8; {len}]`")
}
