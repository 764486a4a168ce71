//! C declarations as C writes them, for the documentation of what was made of
//! them.

use std::fmt::Write;

use bpf_atlas_btf::{Btf, Kind, Member, TypeId};

/// What nests deeper is left out.
const MAX_DEPTH: u32 = 12;
/// So is what follows after so many lines.
const MAX_LINES: usize = 200;

/// `__u32 ports[2]`: a variable of type `id`.
pub(crate) fn variable(btf: &Btf, id: TypeId, name: &str) -> String {
    let lines = Lines { btf };
    let (before, after) = lines.parts(id, 0, None);
    join(&before, name, &after)
}

/// The whole declaration of a `struct`, `union`, `enum` or `typedef`.
pub(crate) fn whole(btf: &Btf, id: TypeId) -> String {
    let lines = Lines { btf };
    let text = match btf.get(id).map(|of| (&of.kind, &of.name)) {
        Ok((Kind::Typedef(of), name)) => {
            let (before, after) = lines.parts(*of, 0, Some(0));
            format!("typedef {};", join(&before, &clean(name), &after))
        }
        _ => format!("{};", lines.body(id, 0, 0)),
    };
    let count = text.lines().count();
    if count <= MAX_LINES {
        return text;
    }
    let kept: Vec<_> = text.lines().take(MAX_LINES).collect();
    format!("{}\n/* and {} lines more */", kept.join("\n"), count - MAX_LINES)
}

/// Names come from outside: nothing in one may end the comment it stands in.
fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && c != '`' { c } else { '_' }).collect()
}

fn join(before: &str, name: &str, after: &str) -> String {
    let space = if before.ends_with('*') || name.is_empty() { "" } else { " " };
    format!("{before}{space}{name}{after}")
}

struct Lines<'a> {
    btf: &'a Btf,
}

impl Lines<'_> {
    /// What stands before and behind the name of a variable. Types without a
    /// name are written out where `indent` says how far to the right.
    fn parts(&self, id: TypeId, depth: u32, indent: Option<usize>) -> (String, String) {
        let Ok(of) = self.btf.get(id) else { return ("?".into(), String::new()) };
        if depth > MAX_DEPTH {
            return ("…".into(), String::new());
        }
        match &of.kind {
            Kind::Qualified(of) => self.parts(*of, depth + 1, indent),
            Kind::Ptr(to) => match self.btf.get(*to).map(|of| &of.kind) {
                Ok(Kind::FuncProto { returns }) => {
                    let (before, after) = self.parts(*returns, depth + 1, None);
                    (format!("{before}{after} (*"), ")(…)".into())
                }
                Ok(Kind::Array { .. }) => {
                    let (before, after) = self.parts(*to, depth + 1, None);
                    (format!("{before} (*"), format!("){after}"))
                }
                _ => {
                    let (before, after) = self.parts(*to, depth + 1, None);
                    let space = if before.ends_with('*') { "" } else { " " };
                    (format!("{before}{space}*"), after)
                }
            },
            Kind::Array { element, len } => {
                let (before, after) = self.parts(*element, depth + 1, indent);
                (before, format!("[{len}]{after}"))
            }
            Kind::Composite { .. } | Kind::Enum { .. } if of.name.is_empty() => match indent {
                Some(indent) => (self.body(id, depth, indent), String::new()),
                None => {
                    let name = self.btf.c_name(id);
                    (name.replace("{…}", "{ … }"), String::new())
                }
            },
            Kind::Composite { .. } | Kind::Enum { .. } | Kind::Forward { .. } => {
                (clean_words(&self.btf.c_name(id)), String::new())
            }
            Kind::Void => ("void".into(), String::new()),
            _ => (clean_words(&of.name), String::new()),
        }
    }

    /// `struct flow { … }`
    fn body(&self, id: TypeId, depth: u32, indent: usize) -> String {
        let Ok(of) = self.btf.get(id) else { return "?".into() };
        let pad = "    ".repeat(indent);
        let head = |word: &str| match of.name.as_str() {
            "" => format!("{word} {{\n"),
            name => format!("{word} {} {{\n", clean(name)),
        };
        match &of.kind {
            Kind::Composite { union, members, .. } => {
                let mut out = head(if *union { "union" } else { "struct" });
                for member in members {
                    let _ = writeln!(out, "{pad}    {};", self.member(member, depth, indent + 1));
                }
                let _ = write!(out, "{pad}}}");
                out
            }
            Kind::Enum { values, .. } => {
                let mut out = head("enum");
                for (name, value) in values {
                    let _ = writeln!(out, "{pad}    {} = {value},", clean(name));
                }
                let _ = write!(out, "{pad}}}");
                out
            }
            _ => clean_words(&of.name),
        }
    }

    fn member(&self, member: &Member, depth: u32, indent: usize) -> String {
        let (before, after) = self.parts(member.of, depth + 1, Some(indent));
        let text = join(&before, &clean(&member.name), &after);
        match member.bits {
            Some(bits) => format!("{text} : {bits}"),
            None => text,
        }
    }
}

/// As [`clean`], for `unsigned int`.
fn clean_words(name: &str) -> String {
    name.split(' ').map(clean).collect::<Vec<_>>().join(" ")
}
