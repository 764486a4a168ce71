//! BTF that libbpf takes and the kernel does not. It refuses all of the object's
//! types then, and libbpf loads the object without them.

use bpf_atlas_btf::{Btf, Kind, Member};

/// What the kernel will stumble over, in words for the user.
pub(crate) fn find(btf: &Btf) -> Option<String> {
    let what = btf.types().find_map(|(_, of)| {
        let members = match &of.kind {
            Kind::Composite { members, .. } => members.as_slice(),
            _ => &[],
        };
        let names = std::iter::once(&of.name).chain(members.iter().map(|member| &member.name));
        let foreign = names.into_iter().find(|name| !name.is_ascii());
        let untyped = members.iter().find(|member| member.of == 0);
        let slanted = members.iter().find(|member| is_slanted(btf, member));
        match (foreign, untyped, slanted) {
            (Some(name), ..) => Some(format!("the kernel takes no name like `{name}`")),
            (None, Some(member), _) => Some(format!(
                "field `{}` of `{}` has no type: this compiler records none (older ones know no \
                 `_Atomic`)",
                member.name, of.name
            )),
            (None, None, Some(member)) => Some(format!(
                "field `{}` of `{}` is a floating point number that is not aligned",
                member.name, of.name
            )),
            (None, None, None) => None,
        }
    })?;
    Some(format!(
        "{what}, and the kernel refuses all types of the object for it: when maps are opened, sizes \
         are all that is compared"
    ))
}

/// Whether it is a floating point number that the kernel finds badly placed.
fn is_slanted(btf: &Btf, member: &Member) -> bool {
    match btf.resolve(member.of).map(|(_, of)| &of.kind) {
        Ok(Kind::Float { size }) => member.bit_offset % (8 * (*size).clamp(1, 8)) != 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct `name` with one member, of type `of`, 4 bytes into it: 1 is an
    /// integer, 0 nothing, 3 a `float` and 4 a `double`.
    fn with_member(name: &str, member: &str, of: u32) -> Btf {
        let names = format!("\0i\0{name}\0{member}\0");
        let (at, member) = (3, 4 + name.len() as u32);
        #[rustfmt::skip]
        let types = [
            1, 1 << 24, 4, 32,
            at, 4 << 24 | 1, 12, member, of, 32,
            1, 16 << 24, 4,
            1, 16 << 24, 8,
        ];
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let len = types.len() as u32 * 4;
        let words = [24, 0, len, len, names.len() as u32];
        bytes.extend(words.iter().chain(&types).flat_map(|word: &u32| word.to_ne_bytes()));
        bytes.extend(names.bytes());
        Btf::parse(&bytes).unwrap()
    }

    #[test]
    fn what_the_kernel_stumbles_over_is_named() {
        assert_eq!(find(&with_member("flow", "bytes", 1)), None);
        assert!(find(&with_member("größe", "bytes", 1)).unwrap().contains("`größe`"));
        assert!(find(&with_member("flow", "länge", 1)).unwrap().contains("`länge`"));
        assert_eq!(find(&with_member("flow", "share", 3)), None);
        let said = find(&with_member("flow", "share", 4)).unwrap();
        assert!(said.contains("`share` of `flow` is a floating point number"), "{said}");
        let said = find(&with_member("flow", "bytes", 0)).unwrap();
        assert!(
            said.contains("field `bytes` of `flow`") && said.contains("sizes are all"),
            "{said}"
        );
    }
}
