//! `#[derive(Accumulate)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{DeriveInput, Error, Result};

use crate::input::{Field, Input, at};

/// How a field takes part.
#[derive(Clone, Copy)]
enum Rule {
    Sum,
    Max,
    Min,
    First,
}

const RULES: &str = "`sum`, `max`, `min` or `first`";

pub fn expand(derive: &DeriveInput) -> Result<TokenStream> {
    let input = Input::new(derive, "Accumulate")?;
    if let Some(attr) = input.attrs.iter().find(|attr| attr.path().is_ident("accumulate")) {
        return Err(Error::new_spanned(attr, "`#[accumulate(…)]` goes on a field"));
    }
    let rules = input.fields.iter().map(rule).collect::<Result<Vec<_>>>()?;
    let krate = &input.krate;

    let mut accumulate = Vec::new();
    let mut since = Vec::new();
    let mut told = Vec::new();
    for (field, rule) in input.fields.iter().zip(rules) {
        let Field { member, ty, tokens, .. } = field;
        told.push(tell(field, rule, krate));
        // Values are copied out and written back: a field of a packed struct
        // must not be referred to.
        let span = at(ty.span());
        let combine = match rule {
            Rule::Sum => {
                accumulate.push(quote_spanned! {span=>
                    let mut total: #tokens = self.#member;
                    <#tokens as #krate::Accumulate>::accumulate(&mut total, other.#member);
                    self.#member = total;
                });
                since.push(quote_spanned! {span=>
                    #member: <#tokens as #krate::Accumulate>::since(self.#member, earlier.#member)?
                });
                continue;
            }
            Rule::Max => quote!(max),
            Rule::Min => quote!(min),
            Rule::First => quote!(first),
        };
        accumulate.push(quote_spanned! {span=>
            self.#member = #krate::__private::#combine::<#tokens>(self.#member, other.#member);
        });
        since.push(quote!(#member: self.#member));
    }

    let ident = input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #krate::Accumulate for #ident {
            #[inline]
            fn accumulate(&mut self, other: Self) {
                #(#accumulate)*
            }

            #[inline]
            fn since(self, earlier: Self) -> ::core::option::Option<Self> {
                let _ = earlier;
                ::core::option::Option::Some(Self { #(#since),* })
            }

            const RULES: #krate::__private::Rules = #krate::__private::Rules::Fields(&[#(#told),*]);
        }
    })
}

/// The rule of a field as data.
fn tell(field: &Field, rule: Rule, krate: &TokenStream) -> TokenStream {
    let (word, tokens) = (quote!(#krate::__private::FieldRule), &field.tokens);
    let none = quote!(&#krate::__private::Rules::Unknown);
    match rule {
        Rule::Sum => quote!((#word::Accumulate, &<#tokens as #krate::Accumulate>::RULES)),
        Rule::Max => quote!((#word::Max, #none)),
        Rule::Min => quote!((#word::Min, #none)),
        Rule::First if field.is_padding() => quote!((#word::Padding, #none)),
        Rule::First => quote!((#word::First, #none)),
    }
}

/// The rule of one field.
fn rule(field: &Field) -> Result<Rule> {
    let mut found = None;
    for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("accumulate")) {
        if attr.meta.require_list().map_or(true, |list| list.tokens.is_empty()) {
            return Err(Error::new_spanned(attr, format!("write `#[accumulate(…)]` with {RULES}")));
        }
        attr.parse_nested_meta(|meta| {
            let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            let rule = match word.as_str() {
                "sum" => Rule::Sum,
                "max" => Rule::Max,
                "min" => Rule::Min,
                "first" => Rule::First,
                _ => return Err(meta.error(format!("unknown rule; write {RULES}"))),
            };
            if found.replace(rule).is_some() {
                return Err(meta.error("a field has one rule; this is a second one"));
            }
            Ok(())
        })?;
    }
    Ok(found.unwrap_or(if field.is_padding() { Rule::First } else { Rule::Sum }))
}
