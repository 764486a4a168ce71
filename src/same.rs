//! Layouts compared while compiling: for a type of the user's own that takes
//! the place of one that bpf-atlas-build would write.

use crate::layout::{Field, Layout, LayoutKind};

/// Whether `of` has a field of this name, at this offset, laid out like `like`.
pub const fn has_field(of: &Layout, name: &str, offset: usize, like: &Layout) -> bool {
    let LayoutKind::Struct { fields } = of.kind else { return false };
    match find(fields, name) {
        Some(field) => field.offset == offset && same(like, field.layout),
        None => false,
    }
}

/// Whether every field of `of` is one of these, but for padding, whose names
/// begin with an underscore.
pub const fn has_only(of: &Layout, names: &[&str]) -> bool {
    let LayoutKind::Struct { fields } = of.kind else { return false };
    let mut at = 0;
    while at < fields.len() {
        let name = fields[at].name.as_bytes();
        let mut known = !name.is_empty() && name[0] == b'_';
        let mut other = 0;
        while other < names.len() {
            known |= equal(name, names[other].as_bytes());
            other += 1;
        }
        if !known {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether `rust` can stand for `c`.
const fn same(c: &Layout, rust: &Layout) -> bool {
    if c.size != rust.size {
        return false;
    }
    match (c.kind, rust.kind) {
        (_, LayoutKind::Opaque) => true,
        (LayoutKind::Union, LayoutKind::Union) => true,
        (LayoutKind::Union, LayoutKind::Array { element, .. }) => {
            matches!(element.kind, LayoutKind::Int { .. })
        }
        (LayoutKind::Int { signed: a }, LayoutKind::Int { signed: b }) => a == b,
        (LayoutKind::Int { signed: false }, LayoutKind::BigEndian) => true,
        (LayoutKind::BigEndian, LayoutKind::BigEndian | LayoutKind::Int { signed: false }) => true,
        (LayoutKind::Float, LayoutKind::Float) => true,
        (
            LayoutKind::Array { element: a, len: a_len },
            LayoutKind::Array { element: b, len: b_len },
        ) => a_len == b_len && same(a, b),
        (LayoutKind::Struct { fields }, LayoutKind::Struct { .. }) => {
            let mut at = 0;
            while at < fields.len() {
                let Field { name, offset, layout } = fields[at];
                let padding = !name.is_empty() && name.as_bytes()[0] == b'_';
                if !padding && !has_field(rust, name, offset, layout) {
                    return false;
                }
                at += 1;
            }
            true
        }
        _ => false,
    }
}

const fn find(fields: &'static [Field], name: &str) -> Option<Field> {
    let mut at = 0;
    while at < fields.len() {
        if equal(fields[at].name.as_bytes(), name.as_bytes()) {
            return Some(fields[at]);
        }
        at += 1;
    }
    None
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Be32, Pod};

    #[test]
    fn a_field_over_padding_is_one_too_many() {
        const INT: Layout = Layout::int("u32", 4, 4, false);
        const FIELDS: &[Field] = &[Field::new("a", 0, &INT), Field::new("_pad", 4, &INT)];
        const OF: Layout = Layout::structure("S", 8, 4, FIELDS);
        const { assert!(has_only(&OF, &["a", "b"])) };
        const { assert!(!has_only(&OF, &["b"])) };
        assert!(!has_only(&INT, &["a"]));
    }

    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    struct Peer {
        port: u16,
        _pad: [u8; 2],
        address: Be32,
    }

    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    struct Other {
        port: u16,
        id: u16,
        address: u32,
    }

    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    struct Flow {
        peers: [Peer; 2],
        delta: i32,
    }

    #[test]
    fn a_field_is_told_by_name_place_and_type() {
        let flow = &Flow::LAYOUT;
        assert!(has_field(flow, "delta", 16, &i32::LAYOUT));
        assert!(!has_field(flow, "delta", 16, &u32::LAYOUT), "sign");
        assert!(!has_field(flow, "delta", 16, &i64::LAYOUT), "width");
        assert!(!has_field(flow, "delta", 12, &i32::LAYOUT), "place");
        assert!(!has_field(flow, "delt", 16, &i32::LAYOUT), "name");
        assert!(has_field(flow, "peers", 0, &<[Peer; 2]>::LAYOUT));
        assert!(!has_field(flow, "peers", 0, &<[Peer; 1]>::LAYOUT), "length");
        assert!(!has_field(flow, "peers", 0, &<[Other; 2]>::LAYOUT), "`id` is missing");
        assert!(same(&Peer::LAYOUT, &Other::LAYOUT), "more fields are no harm in padding");
    }
}
