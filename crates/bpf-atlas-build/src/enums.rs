//! The values of C enums, as far as the compiler recorded them.
//!
//! Before version 15 clang wrote only the low 32 bits of each value, and not
//! whether an enum is signed. Where that matters the compiler is asked again.

use std::collections::HashMap;

use bpf_atlas_btf::{Btf, Kind, TypeId};

use crate::names::clean;

/// Values that the compiler was asked for, by the enum's number.
#[derive(Debug, Default)]
pub(crate) struct Values(HashMap<TypeId, Vec<i128>>);

/// What is known of an enum.
pub(crate) struct Known {
    pub(crate) signed: bool,
    pub(crate) values: Vec<(String, i128)>,
    /// Set where the values were lost.
    pub(crate) unknown: bool,
}

impl Values {
    pub(crate) fn of(&self, btf: &Btf, id: TypeId) -> Known {
        let Ok(Kind::Enum { size, signed, values }) = btf.get(id).map(|of| &of.kind) else {
            return Known { signed: false, values: Vec::new(), unknown: true };
        };
        let bits = (size * 8).min(64);
        let mut values = values.clone();
        let mut lost = is_doubtful(*size, *signed, &values);
        if let Some(exact) = self.0.get(&id).filter(|exact| exact.len() == values.len()) {
            for ((_, value), exact) in values.iter_mut().zip(exact) {
                *value = *exact;
            }
            lost = false;
        }
        // A value that no unsigned integer of this size has was negative.
        let most = (1_i128 << bits) - 1;
        let signed = *signed || values.iter().any(|(_, value)| *value < 0 || *value > most);
        if signed {
            let sign = 1_i128 << (bits - 1);
            for (_, value) in &mut values {
                *value = ((*value & most) ^ sign) - sign;
            }
        }
        let unknown = lost && *size == 8;
        Known { signed, values: if unknown { Vec::new() } else { values }, unknown }
    }
}

/// The enums whose values the compiler may not have recorded as they are.
pub(crate) fn doubtful(btf: &Btf) -> Vec<(TypeId, Vec<String>)> {
    let mut all = Vec::new();
    for (id, of) in btf.types() {
        let Kind::Enum { size, signed, values } = &of.kind else { continue };
        // What is no name of C comes from no compiler.
        let names: Vec<_> = values.iter().map(|(name, _)| name.clone()).collect();
        if is_doubtful(*size, *signed, values) && names.iter().all(|name| clean(name) == *name) {
            all.push((id, names));
        }
    }
    all
}

/// The section that the compiler puts the answer in.
pub(crate) const SECTION: &str = ".atlas.enums";

/// A source that asks for the values of `enums`: each as 64 bits, and whether
/// it is negative. `path` is the source that declares them.
pub(crate) fn question(path: &str, enums: &[(TypeId, Vec<String>)]) -> String {
    let mut out = format!(
        "#include \"{path}\"\n__attribute__((section(\"{SECTION}\"), used)) static const \
         unsigned long long __bpf_atlas_enums[] = {{\n"
    );
    for name in enums.iter().flat_map(|(_, names)| names) {
        out.push_str(&format!("\t(unsigned long long)({name}), ({name}) < 0,\n"));
    }
    out.push_str("};\n");
    out
}

impl Values {
    /// Takes in the answer to a [`question`].
    pub(crate) fn answer(&mut self, enums: &[(TypeId, Vec<String>)], bytes: &[u8]) {
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()));
        for (id, names) in enums {
            let values = names.iter().map_while(|_| {
                let (value, negative) = (words.next()?, words.next()?);
                Some(if negative != 0 { i128::from(value as i64) } else { i128::from(value) })
            });
            let values: Vec<_> = values.collect();
            self.0.insert(*id, values);
        }
    }
}

/// Whether the compiler may have written less than there is.
pub(crate) fn is_doubtful(size: u32, signed: bool, values: &[(String, i128)]) -> bool {
    let in_32_bits = |value: i128| (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&value);
    if size == 8 {
        // An enum has 8 bytes because a value needs more than 4.
        return values.iter().all(|(_, value)| in_32_bits(*value));
    }
    !signed && values.iter().any(|(_, value)| *value > i128::from(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[i128]) -> Vec<(String, i128)> {
        values.iter().map(|value| ("X".into(), *value)).collect()
    }

    #[test]
    fn the_compiler_is_asked_and_answers() {
        let enums = [(3, vec!["A".to_owned(), "B".to_owned()]), (5, vec!["C".to_owned()])];
        let question = question("x.bpf.c", &enums);
        assert!(question.contains("(unsigned long long)(B), (B) < 0,"), "{question}");
        let answer: Vec<u8> = [1_u64 << 40, 0, u64::MAX, 1, u64::MAX, 0]
            .iter()
            .flat_map(|w| w.to_ne_bytes())
            .collect();
        let mut values = Values::default();
        values.answer(&enums, &answer);
        assert_eq!(values.0[&3], [1 << 40, -1]);
        assert_eq!(values.0[&5], [i128::from(u64::MAX)]);
    }

    #[test]
    fn what_an_old_compiler_cuts_off_is_doubtful() {
        assert!(is_doubtful(8, false, &values(&[0, 1])));
        assert!(!is_doubtful(8, false, &values(&[1 << 32, 1])));
        assert!(is_doubtful(4, false, &values(&[0xffff_ffff, 1])));
        assert!(!is_doubtful(4, true, &values(&[-1, 1])));
        assert!(!is_doubtful(4, false, &values(&[0, 1])));
    }
}
