//! The Rust source, from what was planned.
//!
//! All of it names its types by full paths: a C type may be called `Option`.

mod enums;
mod events;
mod maps;
mod module;
mod sections;
mod structs;
mod types;
mod unions;

pub(crate) use self::module::Module;
use self::types::types;

use crate::options::Options;
use crate::types::{Ty, Types};

/// What every part of the source needs.
pub(crate) struct Emit<'a> {
    pub(crate) types: &'a Types,
    pub(crate) options: &'a Options,
    pub(crate) btf: &'a bpf_atlas_btf::Btf,
}

impl Emit<'_> {
    /// The path of bpf-atlas.
    pub(crate) fn krate(&self) -> &str {
        &self.options.krate
    }

    /// A type as the module `types` itself writes it.
    pub(crate) fn ty(&self, ty: &Ty) -> String {
        self.types.rust(ty, self.krate(), "")
    }

    /// A type as the module around `types` writes it.
    pub(crate) fn outer_ty(&self, ty: &Ty) -> String {
        self.types.rust(ty, self.krate(), "types::")
    }
}

/// Text as a string literal.
pub(crate) fn literal(text: &str) -> String {
    format!("{text:?}")
}

/// Text as the message of an assertion, which takes braces for its own.
pub(crate) fn message(text: &str) -> String {
    literal(&text.replace("{ … } ", "").replace(['{', '}'], ""))
}

/// `text` behind `///`.
pub(crate) fn doc(text: &str) -> String {
    text.lines()
        .map(|line| match line {
            "" => "///\n".into(),
            line => format!("/// {line}\n"),
        })
        .collect()
}

/// A C declaration as documentation.
pub(crate) fn quote(decl: &str) -> String {
    doc(&format!("```c\n{decl}\n```"))
}

/// `text` further to the right.
pub(crate) fn indent(text: &str) -> String {
    text.lines()
        .map(|line| if line.is_empty() { "\n".into() } else { format!("    {line}\n") })
        .collect()
}

/// `1 byte`, `2 bytes`
pub(crate) fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".into() } else { format!("{count} bytes") }
}
