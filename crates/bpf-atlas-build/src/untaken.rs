//! BTF that libbpf takes and the kernel does not. It refuses all of the object's
//! types then, and libbpf loads the object without them.

use bpf_atlas_btf::{Btf, Kind};

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
        match (foreign, untyped) {
            (Some(name), _) => Some(format!("the kernel takes no name like `{name}`")),
            (None, Some(member)) => Some(format!(
                "field `{}` of `{}` has no type: this compiler records none (older ones know no \
                 `_Atomic`)",
                member.name, of.name
            )),
            (None, None) => None,
        }
    })?;
    Some(format!(
        "{what}, and the kernel refuses all types of the object for it: when maps are opened, sizes \
         are all that is compared"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct `name` with one member, of type `of`: 1 is an integer, 0 nothing.
    fn with_member(name: &str, member: &str, of: u32) -> Btf {
        let names = format!("\0i\0{name}\0{member}\0");
        let (at, member) = (3, 4 + name.len() as u32);
        let types = [1, 1 << 24, 4, 32, at, 4 << 24 | 1, 4, member, of, 0];
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let words = [24, 0, 40, 40, names.len() as u32];
        bytes.extend(words.iter().chain(&types).flat_map(|word: &u32| word.to_ne_bytes()));
        bytes.extend(names.bytes());
        Btf::parse(&bytes).unwrap()
    }

    #[test]
    fn what_the_kernel_stumbles_over_is_named() {
        assert_eq!(find(&with_member("flow", "bytes", 1)), None);
        assert!(find(&with_member("größe", "bytes", 1)).unwrap().contains("`größe`"));
        assert!(find(&with_member("flow", "länge", 1)).unwrap().contains("`länge`"));
        let said = find(&with_member("flow", "bytes", 0)).unwrap();
        assert!(
            said.contains("field `bytes` of `flow`") && said.contains("sizes are all"),
            "{said}"
        );
    }
}
