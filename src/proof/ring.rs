//! The event types of a ring, by what `ATLAS_RING` leaves beside it.
//!
//! The kernel keeps no type for a ring. The value of the map with its totals ends
//! in a member without bytes that has the type, `event[0]`, or, of several,
//! `events_of[0]`: a struct for each, with the tag as the length of an array.

use bpf_atlas_btf::{Btf, Error as BtfError, Kind, Member, TypeId};

use super::compare::compare;
use super::table::Row;
use super::{Mismatch, Proof, Unproved, by_btf};
use crate::error::OpenError;
use crate::layout::{Layout, Layouts};
use crate::raw::{MapName, RawMap};

/// Proves the events of ring `ring` by the map `totals` beside it. As
/// [`of_map`](super::of_map).
pub(crate) fn of_ring(
    ring: MapName,
    totals: &RawMap,
    layouts: &Layouts,
) -> Result<Proof, OpenError> {
    let id = totals.shape().btf_value_type_id;
    by_btf(totals, |btf| {
        let mismatches = match differences(btf, id, layouts) {
            Ok(Some(mismatches)) => mismatches,
            Ok(None) => return Ok(Err(Unproved::NoBtf)),
            Err(error) => return Ok(Err(Unproved::Unreadable(error.to_string()))),
        };
        if mismatches.is_empty() {
            return Ok(Ok(()));
        }
        Err(OpenError::Types { map: ring, mismatches })
    })
}

/// What differs; `None` where the BTF does not tell.
fn differences(
    btf: &Btf,
    totals: TypeId,
    layouts: &Layouts,
) -> Result<Option<Vec<Mismatch>>, BtfError> {
    let Some(last) = members(btf, totals)?.last() else { return Ok(None) };
    let Kind::Array { element, len: 0 } = btf.resolve(last.of)?.1.kind else { return Ok(None) };
    match (last.name.as_str(), layouts) {
        ("event", Layouts::One(layout)) => {
            Ok(Some(compare("event", layout, btf, element)?.into_iter().collect()))
        }
        ("events_of", Layouts::Tagged(layouts)) => {
            let (mut mismatches, mut common) = (Vec::new(), 0);
            for one in members(btf, element)? {
                let Some((tag, event)) = tagged(btf, one.of)? else { return Ok(None) };
                // A kind that Rust does not know is told when it comes.
                let layout = layouts.iter().find(|(of, _)| *of == tag);
                if let Some((_, layout)) = layout {
                    mismatches.extend(compare("event", layout, btf, event)?);
                    common += 1;
                }
            }
            if common == 0 {
                mismatches.push(otherwise(
                    several(btf, element)?,
                    tags(layouts),
                    "no tag is the same",
                ));
            }
            Ok(Some(mismatches))
        }
        ("events_of", Layouts::One(layout)) => {
            let c = several(btf, element)?;
            Ok(Some(vec![otherwise(c, layout.name.into(), "one type for several")]))
        }
        ("event", Layouts::Tagged(layouts)) => {
            let c = btf.c_name(element);
            Ok(Some(vec![otherwise(c, tags(layouts), "several types for one")]))
        }
        _ => Ok(None),
    }
}

/// A difference that is not one of fields.
fn otherwise(c: String, rust: String, differs: &'static str) -> Mismatch {
    Mismatch {
        role: "event",
        c: "C".into(),
        rust: "Rust".into(),
        rows: vec![Row {
            field: String::new(),
            c: Some(c),
            rust: Some(rust),
            differs: Some(differs),
        }],
    }
}

/// `struct exec_event (1), struct exit_event (2)`
fn several(btf: &Btf, events: TypeId) -> Result<String, BtfError> {
    let mut names = Vec::new();
    for one in members(btf, events)? {
        if let Some((tag, event)) = tagged(btf, one.of)? {
            names.push(format!("{} ({tag})", btf.c_name(event)));
        }
    }
    Ok(names.join(", "))
}

fn tags(layouts: &[(u64, &Layout)]) -> String {
    let names = layouts.iter().map(|(tag, layout)| format!("{} ({tag})", layout.name));
    names.collect::<Vec<_>>().join(", ")
}

fn members(btf: &Btf, id: TypeId) -> Result<&[Member], BtfError> {
    match &btf.resolve(id)?.1.kind {
        Kind::Composite { union: false, members, .. } => Ok(members),
        _ => Ok(&[]),
    }
}

/// Tag and type of `struct { char (*value)[TAG]; type event; }`.
fn tagged(btf: &Btf, id: TypeId) -> Result<Option<(u64, TypeId)>, BtfError> {
    let [value, event] = members(btf, id)? else { return Ok(None) };
    let Kind::Ptr(array) = btf.resolve(value.of)?.1.kind else { return Ok(None) };
    let Kind::Array { len, .. } = btf.resolve(array)?.1.kind else { return Ok(None) };
    Ok(Some((len.into(), event.of)))
}
