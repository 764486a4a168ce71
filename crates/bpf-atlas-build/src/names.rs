//! C names as Rust names.

/// Keywords of all editions. They can be raw identifiers, but for the four below.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// Keywords that name paths: raw they are refused too.
const PATHS: &[&str] = &["crate", "self", "super", "Self"];

/// The letters, digits and underscores of a name. C compilers allow `$` and
/// more, BTF anything.
pub(crate) fn clean(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

/// A C identifier as a Rust one: itself, raw where it is a keyword, with an
/// underscore behind it where even that is refused.
pub(crate) fn ident(name: &str) -> String {
    let name = clean(name);
    if PATHS.contains(&name.as_str()) || name == "_" {
        return format!("{name}_");
    }
    if KEYWORDS.contains(&name.as_str()) {
        return format!("r#{name}");
    }
    name
}

/// Whether a Rust identifier is, as far as `LAYOUT` is concerned, the C name.
pub(crate) fn keeps_name(name: &str) -> bool {
    ident(name).trim_start_matches("r#") == name
}

/// A C name as the name of a Rust type: `flow_key` is `FlowKey`.
///
/// Leading underscores go; one stays between digits, so that `v1_2` and `v12`
/// are two names.
pub(crate) fn camel(name: &str) -> String {
    let mut out = String::new();
    for part in clean(name).split('_').filter(|part| !part.is_empty()) {
        let shout = part.len() > 1 && !part.contains(|c: char| c.is_ascii_lowercase());
        let part = if shout { part.to_ascii_lowercase() } else { part.to_owned() };
        let digits = out.ends_with(|c: char| c.is_ascii_digit())
            && part.starts_with(|c: char| c.is_ascii_digit());
        if digits {
            out.push('_');
        }
        let (first, rest) = part.split_at(1);
        out.push_str(&first.to_ascii_uppercase());
        out.push_str(rest);
    }
    match out.as_str() {
        "" => "Unnamed".into(),
        // The second: `#[derive(Pod)]` refuses a field by the standard type's name.
        "Self" | "String" => format!("{out}_"),
        _ if out.starts_with(|c: char| c.is_ascii_digit()) => format!("_{out}"),
        _ => out,
    }
}

/// Names that are given out once each.
#[derive(Default)]
pub(crate) struct Scope(std::collections::HashSet<String>);

impl Scope {
    /// Takes names that others have chosen.
    pub(crate) fn with<'a>(taken: impl IntoIterator<Item = &'a str>) -> Self {
        Self(taken.into_iter().map(str::to_owned).collect())
    }

    pub(crate) fn is_free(&self, name: &str) -> bool {
        !self.0.contains(name)
    }

    /// `name` where it is free, else `name` with the first free underscores
    /// behind it.
    pub(crate) fn unique(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.0.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// `stem0`, `stem1`, …: the first that is free.
    pub(crate) fn numbered(&mut self, stem: &str) -> String {
        let name = (0..).map(|n| format!("{stem}{n}")).find(|name| !self.0.contains(name));
        let name = name.expect("there are more numbers than names");
        self.0.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_names_become_rust_names() {
        for (c, rust) in [
            ("flow_key", "FlowKey"),
            ("in6_addr", "In6Addr"),
            ("__sk_buff", "SkBuff"),
            ("FLOW_KEY", "FlowKey"),
            ("fooBar", "FooBar"),
            ("v1_2", "V1_2"),
            ("v12", "V12"),
            ("self", "Self_"),
            ("string", "String_"),
            ("_1", "_1"),
            ("__", "Unnamed"),
            ("a$b", "AB"),
        ] {
            assert_eq!(camel(c), rust, "{c}");
        }
    }

    #[test]
    fn keywords_are_raw_or_marked() {
        for (c, rust) in [
            ("type", "r#type"),
            ("gen", "r#gen"),
            ("self", "self_"),
            ("crate", "crate_"),
            ("Self", "Self_"),
            ("_", "__"),
            ("packets", "packets"),
            ("a.b", "a_b"),
            ("7", "_7"),
        ] {
            assert_eq!(ident(c), rust, "{c}");
        }
        assert!(keeps_name("type") && !keeps_name("self") && !keeps_name("a$b"));
    }

    #[test]
    fn names_are_given_out_once() {
        let mut scope = Scope::with(["_pad0", "x"]);
        assert_eq!((scope.unique("x"), scope.unique("x")), ("x_".into(), "x__".into()));
        assert_eq!(scope.numbered("_pad"), "_pad1");
    }
}
