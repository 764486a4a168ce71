//! The numbers in a value, as the program in the kernel is told of them.

use super::bpf::GatherField;
use crate::accumulate::{FieldRule, Rules};
use crate::layout::{Layout, LayoutKind};
use crate::sys::pod::Pod;
use crate::sys::words::{is_initialised, read_at};

/// By the numbers of `enum gather_rule`.
fn number(rule: FieldRule) -> u8 {
    match rule {
        FieldRule::Accumulate | FieldRule::Padding => 0,
        FieldRule::Max => 1,
        FieldRule::Min => 2,
        FieldRule::First => 3,
    }
}

/// Every number in a value and what becomes of it; `None` where the program could not
/// do as `accumulate` does.
pub(super) fn flatten(layout: &Layout, rules: &Rules) -> Option<Vec<GatherField>> {
    let mut out = Vec::new();
    push(&mut out, layout, rules, FieldRule::Accumulate, 0)?;
    Some(out)
}

fn push(
    out: &mut Vec<GatherField>,
    layout: &Layout,
    rules: &Rules,
    rule: FieldRule,
    at: usize,
) -> Option<()> {
    match (layout.kind, rules, rule) {
        (_, _, FieldRule::Padding) => Some(()),
        (LayoutKind::Int { signed }, Rules::Sum, FieldRule::Accumulate)
        | (LayoutKind::Int { signed }, _, FieldRule::Max | FieldRule::Min | FieldRule::First) => {
            let field = integer(layout, signed, at)?;
            out.push(GatherField { rule: number(rule), ..field });
            Some(())
        }
        (LayoutKind::Array { element, len }, Rules::Elements(of), FieldRule::Accumulate) => {
            (0..len).try_for_each(|n| push(out, element, of, rule, at + n * element.size))
        }
        (LayoutKind::Struct { fields }, Rules::Fields(told), FieldRule::Accumulate) => {
            if fields.len() != told.len() {
                return None;
            }
            fields.iter().zip(*told).try_for_each(|(field, (rule, rules))| {
                push(out, field.layout, rules, *rule, at + field.offset)
            })
        }
        _ => None,
    }
}

/// An integer that a program can load in one piece.
fn integer(layout: &Layout, signed: bool, at: usize) -> Option<GatherField> {
    if !matches!(layout.size, 1 | 2 | 4 | 8) || at % layout.size != 0 {
        return None;
    }
    Some(GatherField {
        offset: u16::try_from(at).ok()?,
        size: layout.size as u8,
        is_signed: signed.into(),
        ..GatherField::default()
    })
}

/// The field that decides whether a record is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold {
    pub(super) field: GatherField,
}

impl Threshold {
    /// The integer at `path`, names with dots between them.
    pub(super) fn of(layout: &Layout, path: &str) -> Option<Self> {
        if !is_initialised(layout) {
            return None;
        }
        let (mut layout, mut at) = (layout, 0);
        for name in path.split('.').filter(|_| !path.is_empty()) {
            let LayoutKind::Struct { fields } = layout.kind else { return None };
            let field = fields.iter().find(|field| field.name == name)?;
            (layout, at) = (field.layout, at + field.offset);
        }
        let LayoutKind::Int { signed } = layout.kind else { return None };
        Some(Self { field: integer(layout, signed, at)? })
    }

    /// The bound in the field's own bits, at its lowest where there is none; `None`
    /// where no value reaches it.
    pub(super) fn clamp(&self, least: Option<i128>) -> Option<u64> {
        let (lowest, highest) = match self.field.is_signed {
            0 => (0, u64::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        };
        let least = least.unwrap_or(lowest).max(lowest);
        (least <= highest).then_some(least as u64)
    }

    /// The field of a value.
    pub(super) fn value<V: Pod>(&self, value: &V) -> i128 {
        let at = usize::from(self.field.offset);
        match (self.field.size, self.field.is_signed != 0) {
            (1, false) => read_at::<V, u8>(value, at).into(),
            (1, true) => read_at::<V, i8>(value, at).into(),
            (2, false) => read_at::<V, u16>(value, at).into(),
            (2, true) => read_at::<V, i16>(value, at).into(),
            (4, false) => read_at::<V, u32>(value, at).into(),
            (4, true) => read_at::<V, i32>(value, at).into(),
            (_, false) => read_at::<V, u64>(value, at).into(),
            (_, true) => read_at::<V, i64>(value, at).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accumulate, Pod};

    #[derive(Clone, Copy, Pod, Accumulate)]
    #[repr(C)]
    struct Inner {
        a: u32,
        #[accumulate(max)]
        b: i16,
        _pad: [u8; 2],
    }

    #[derive(Clone, Copy, Pod, Accumulate)]
    #[repr(C)]
    struct Outer {
        packets: [u64; 2],
        inner: Inner,
        #[accumulate(min)]
        first_ns: i64,
    }

    #[derive(Clone, Copy, Pod, Accumulate)]
    #[repr(C)]
    struct Named {
        count: u64,
        #[accumulate(first)]
        comm: [u8; 16],
    }

    #[test]
    fn every_number_is_told_with_its_rule() {
        let fields = flatten(&Outer::LAYOUT, &Outer::RULES).unwrap();
        let told: Vec<_> = fields.iter().map(|f| (f.offset, f.size, f.rule, f.is_signed)).collect();
        assert_eq!(told, [(0, 8, 0, 0), (8, 8, 0, 0), (16, 4, 0, 0), (20, 2, 1, 1), (24, 8, 2, 1)]);
        assert_eq!(flatten(&u64::LAYOUT, &u64::RULES).unwrap().len(), 1);
    }

    #[test]
    fn what_the_program_could_not_do_is_not_told() {
        // The first that is set is one of whole arrays.
        assert!(flatten(&Named::LAYOUT, &Named::RULES).is_none());
        assert!(flatten(&u128::LAYOUT, &u128::RULES).is_none());
    }

    #[test]
    fn thresholds_are_integer_fields_by_name() {
        let of = |path| Threshold::of(&Outer::LAYOUT, path);
        assert_eq!(of("inner.b").unwrap().field.offset, 20);
        assert!(of("inner").is_none() && of("packets").is_none() && of("none").is_none());
        assert!(of("").is_none() && Threshold::of(&u64::LAYOUT, "").is_some());
        let b = of("inner.b").unwrap();
        let inner = Inner { a: 1, b: -7, _pad: [0; 2] };
        assert_eq!(b.value(&Outer { packets: [0; 2], inner, first_ns: 0 }), -7);
        assert_eq!((b.clamp(Some(-7)), b.clamp(None)), (Some(-7_i64 as u64), Some(1 << 63)));
        let a = of("inner.a").unwrap();
        assert_eq!((a.clamp(Some(-7)), a.clamp(Some(1 << 64))), (Some(0), None));
    }
}
