//! Map definitions as `SEC(".maps")` writes them: a struct whose members are
//! the attributes.

use std::path::Path;

use bpf_atlas_btf::{Btf, Error as BtfError, Kind, TypeId};

use crate::error::Error;

/// A map of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapDef {
    pub(crate) name: String,
    /// `BPF_MAP_TYPE_…`, the number.
    pub(crate) kind: u32,
    pub(crate) key: Option<TypeId>,
    pub(crate) value: Option<TypeId>,
    pub(crate) key_size: Option<u32>,
    pub(crate) value_size: Option<u32>,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    /// Pinned by its name, `LIBBPF_PIN_BY_NAME`.
    pub(crate) pinned: bool,
    /// What a map of maps holds.
    pub(crate) inner: Option<Box<MapDef>>,
}

impl MapDef {
    /// `BPF_MAP_TYPE_STRUCT_OPS`
    pub(crate) const STRUCT_OPS: u32 = 26;

    /// What libbpf makes of a variable with functions for the kernel to call.
    pub(crate) fn struct_ops(name: String) -> Self {
        Self { name, kind: Self::STRUCT_OPS, max_entries: 1, ..Self::default() }
    }
}

/// Reads the definition in variable `var`.
pub(crate) fn read(btf: &Btf, var: TypeId, file: &Path) -> Result<MapDef, Error> {
    let name = btf.get(var).map(|var| var.name.clone()).unwrap_or_default();
    let refuse = |what: String| Error::Type {
        file: file.into(),
        place: format!("map `{name}`"),
        what: format!("its definition is malformed: {what}"),
    };
    let of = match btf.get(var).map(|var| &var.kind) {
        Ok(Kind::Var { of, .. }) => *of,
        _ => return Err(refuse("it is no variable".into())),
    };
    let mut def = definition(btf, of, true).map_err(refuse)?;
    def.name = name;
    Ok(def)
}

fn definition(btf: &Btf, id: TypeId, outer: bool) -> Result<MapDef, String> {
    let text = |error: BtfError| error.to_string();
    let (_, of) = btf.resolve(id).map_err(text)?;
    let Kind::Composite { union: false, members, .. } = &of.kind else {
        return Err("it is no struct".into());
    };
    let mut def = MapDef::default();
    for member in members {
        let number =
            || number(btf, member.of).ok_or_else(|| format!("its attribute `{}`", member.name));
        match member.name.as_str() {
            "type" => def.kind = number()?,
            "max_entries" => def.max_entries = number()?,
            "map_flags" => def.flags = number()?,
            "key_size" => def.key_size = Some(number()?),
            "value_size" => def.value_size = Some(number()?),
            "pinning" => def.pinned = number()? == 1,
            "key" => def.key = Some(pointee(btf, member.of).ok_or("its attribute `key`")?),
            "value" => def.value = Some(pointee(btf, member.of).ok_or("its attribute `value`")?),
            // An array of pointers to a definition, or to functions.
            "values" if outer => {
                if let Ok((_, array)) = btf.resolve(member.of) {
                    if let Kind::Array { element, .. } = array.kind {
                        let inner = pointee(btf, element).map(|id| (id, btf.resolve(id)));
                        if let Some((id, Ok((_, inner)))) = inner {
                            if matches!(inner.kind, Kind::Composite { .. }) {
                                def.inner = Some(Box::new(definition(btf, id, false)?));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(def)
}

/// `__uint(name, value)` is a pointer to an array of so many elements;
/// `__ulong`, an enum with one value.
fn number(btf: &Btf, id: TypeId) -> Option<u32> {
    let (_, of) = btf.resolve(id).ok()?;
    match &of.kind {
        Kind::Ptr(to) => match btf.resolve(*to).ok()?.1.kind {
            Kind::Array { len, .. } => Some(len),
            _ => None,
        },
        Kind::Enum { values, .. } => match values.as_slice() {
            [(_, value)] => u32::try_from(*value).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// `__type(name, type)` is a pointer to the type.
fn pointee(btf: &Btf, id: TypeId) -> Option<TypeId> {
    match btf.resolve(id).ok()?.1.kind {
        Kind::Ptr(to) => Some(to),
        _ => None,
    }
}
