//! Field types that are refused by their name, with what to write instead.
//!
//! Only names can be seen here. A type that hides behind an alias is refused by
//! the bound `Pod` all the same, in the compiler's words.

use quote::ToTokens as _;
use syn::{Error, GenericArgument, Path, PathArguments, Type};

/// The reason why a field of this type cannot be plain data, if its name gives
/// one away. The error points at the inner type of an array.
pub fn refused(ty: &Type) -> Option<Error> {
    let text = match ty {
        Type::Array(array) => return refused(&array.elem),
        Type::Group(group) => return refused(&group.elem),
        Type::Paren(paren) => return refused(&paren.elem),
        Type::Path(path) if path.qself.is_none() => by_name(&path.path)?,
        Type::Reference(_) => {
            address("a reference", "the value itself, or an index or an id as `u64`")
        }
        Type::Ptr(_) => address("a raw pointer", "a kernel address as `u64`"),
        Type::FnPtr(_) => address("a function pointer", "a kernel address as `u64`"),
        Type::Slice(slice) => {
            let element = slice.elem.to_token_stream();
            format!("a slice has no fixed size; write an array, `[{element}; N]`")
        }
        Type::Tuple(_) => {
            "the layout of a tuple is not fixed; write a `#[repr(C)]` struct that is `Pod`".into()
        }
        _ => return None,
    };
    Some(Error::new_spanned(ty, text))
}

fn by_name(path: &Path) -> Option<String> {
    let last = path.segments.last()?;
    let first = path.segments.first()?.ident.to_string();
    if path.segments.len() > 1 && !["std", "core", "alloc"].contains(&first.as_str()) {
        return None; // a type of the user's own that shares the name
    }
    let argument = match &last.arguments {
        PathArguments::AngleBracketed(list) => {
            list.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty.to_token_stream().to_string()),
                _ => None,
            })
        }
        _ => None,
    };
    let name = last.ident.to_string();
    Some(match (name.as_str(), argument) {
        ("bool", None) => {
            "a byte from the kernel that is not 0 or 1 would be undefined behaviour in a `bool`; \
             write `u8` and compare with 0"
                .into()
        }
        ("char", None) => {
            "four bytes from the kernel that are no Unicode scalar value would be undefined \
             behaviour in a `char`; write `u32`, or `u8` for a C `char`"
                .into()
        }
        ("usize", None) => width("usize", "u64"),
        ("isize", None) => width("isize", "i64"),
        ("str" | "String", None) => {
            format!("`{name}` has no fixed size; write the bytes, `[u8; N]`, as the BPF side does")
        }
        ("Vec", Some(element)) => address("a `Vec`", &format!("an array, `[{element}; N]`")),
        ("Box", Some(inner)) => address("a `Box`", &format!("the value itself, `{inner}`")),
        ("Option", Some(inner)) => format!(
            "how an `Option` says `None` is the compiler's own affair; write `{inner}` and let one number \
             mean \"none\", or put a `u8` beside it"
        ),
        ("NonZero", Some(inner)) => non_zero(&inner),
        (name, None) => match name.strip_prefix("NonZero")? {
            inner @ ("U8" | "U16" | "U32" | "U64" | "U128" | "I8" | "I16" | "I32" | "I64"
            | "I128") => non_zero(&inner.to_lowercase()),
            _ => return None,
        },
        _ => return None,
    })
}

fn address(what: &str, instead: &str) -> String {
    format!("{what} is an address of this process and means nothing to the kernel; write {instead}")
}

fn width(name: &str, instead: &str) -> String {
    format!(
        "the width of `{name}` is this machine's, that of the BPF side is fixed; write `{instead}`"
    )
}

fn non_zero(inner: &str) -> String {
    format!("a zero from the kernel would be undefined behaviour in a `NonZero`; write `{inner}`")
}
