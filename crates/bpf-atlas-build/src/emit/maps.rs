//! `Maps`: one handle a map.

use super::{Emit, doc, indent, literal};
use crate::plan::{Handle, MapPlan, RingOf};
use crate::types::Ty;

/// Whether there is more to prove of a map than sizes: C declares types.
fn provable(map: &MapPlan) -> bool {
    match &map.handle {
        Handle::Keyed(..) => map.def.key.is_some() || map.def.value.is_some(),
        Handle::Indexed(..) => map.def.value.is_some(),
        Handle::Ring(ring) => ring.lost.is_some(),
        Handle::Raw(_) => false,
    }
}

impl Emit<'_> {
    /// The type of a handle.
    fn handle(&self, handle: &Handle) -> String {
        let krate = self.krate();
        match handle {
            Handle::Keyed(kind, key, value) => {
                format!("{krate}::{kind}<{}, {}>", self.outer_ty(key), self.outer_ty(value))
            }
            Handle::Indexed(kind, value) => format!("{krate}::{kind}<{}>", self.outer_ty(value)),
            Handle::Ring(ring) => match &ring.of {
                RingOf::One(event) => format!("{krate}::RingBuf<{}>", self.outer_ty(event)),
                RingOf::Several(events) => format!("{krate}::RingBuf<types::{}>", events.rust),
            },
            Handle::Raw(_) => format!("{krate}::RawMap"),
        }
    }

    /// The struct `Maps`, and how it is opened.
    pub(super) fn maps(&self, maps: &[MapPlan]) -> String {
        let krate = self.krate();
        let fields: String = maps.iter().map(|map| self.map_field(map)).collect();
        let open: String =
            maps.iter().map(|map| format!("{}: {},\n", map.rust, self.open(map))).collect();
        let proved: String = maps
            .iter()
            .map(|map| {
                let asked = if provable(map) { ".require_proof()?" } else { "" };
                format!("{0}: self.{0}{asked},\n", map.rust)
            })
            .collect();
        let mut out = doc("The maps of the object, typed. They live as long as they are needed.");
        out.push_str(&format!("#[derive(Debug)]\npub struct Maps {{\n{}}}\n\n", indent(&fields)));
        out.push_str(&format!(
            "impl Maps {{\n    /// Opens the maps of the object, loaded by whatever means: of a \
             skeleton, too.\n    ///\n    /// # Errors\n    /// Where a map is not of the types \
             declared here, or not loaded.\n    pub fn open(\n        object: \
             &{krate}::__private::libbpf_rs::Object,\n    ) -> \
             ::core::result::Result<Self, {krate}::OpenError> {{\n        \
             Self::of({krate}::object::maps(object))\n    }}\n\n    \
             fn of(\n        map: impl ::core::ops::Fn(&str) -> \
             ::core::result::Result<{krate}::RawMap, {krate}::OpenError>,\n    ) -> \
             ::core::result::Result<Self, {krate}::OpenError> {{\n        \
             ::core::result::Result::Ok(Self {{\n{}        }})\n    }}\n\n    \
             /// The same maps, if the types of each typed one were proved field by field: see\n    \
             /// [`Open::require_proof`].\n    ///\n    /// # Errors\n    /// \
             [`Unproved`]({krate}::OpenError::Unproved) for the first that was not.\n    \
             pub fn require_proof(self) -> ::core::result::Result<Self, {krate}::OpenError> {{\n        \
             ::core::result::Result::Ok(Self {{\n{}        }})\n    }}\n}}\n\n",
            indent(&indent(&indent(&open))),
            indent(&indent(&indent(&proved)))
        ));
        out.push_str(&self.inner(maps));
        out
    }

    fn open(&self, map: &MapPlan) -> String {
        let krate = self.krate();
        let raw = format!("map({})?", literal(&map.def.name));
        match &map.handle {
            Handle::Keyed(kind, ..) | Handle::Indexed(kind, _) => {
                format!("{krate}::{kind}::open(&{raw})?")
            }
            Handle::Ring(ring) => {
                let mut open = format!("{krate}::RingBuf::open(&{raw})?");
                let beside = [("with_lost", &ring.lost), ("with_wake", &ring.wake)];
                for (method, map) in beside {
                    if let Some(map) = map {
                        open.push_str(&format!(".{method}(&map({})?)?", literal(map)));
                    }
                }
                open
            }
            Handle::Raw(_) => raw,
        }
    }

    fn map_field(&self, map: &MapPlan) -> String {
        let def = &map.def;
        let mut text = format!("C `{}`, a `{}`", def.name, map.kind);
        match (&map.handle, def.max_entries) {
            (_, 0) => {}
            (_, bytes) if map.kind.ends_with("RINGBUF") => {
                text.push_str(&format!(" of {bytes} bytes"))
            }
            (_, 1) => text.push_str(" of one entry"),
            (_, entries) => text.push_str(&format!(" of {entries} entries")),
        }
        if !map.decls.is_empty() {
            text.push_str(&format!("; `{}`", map.decls.join("`, `")));
        }
        text.push('.');
        if def.pinned {
            text.push_str("\nPinned by its name.");
        }
        match &map.handle {
            Handle::Raw(why) => text.push_str(&format!("\nUntyped: {why}.")),
            Handle::Ring(ring) => {
                if let Some(lost) = &ring.lost {
                    text.push_str(&format!("\nWhat it loses is counted in `{lost}`."));
                }
                if let Some(wake) = &ring.wake {
                    text.push_str(&format!("\nWhen it wakes its reader is said in `{wake}`."));
                }
            }
            _ => {}
        }
        if let Handle::Raw(_) = &map.handle {
            for (part, ty) in [("Keys", &map.key), ("Values", &map.value)] {
                if let Some(ty) = ty {
                    text.push_str(&format!("\n{part} are `{}`.", self.outer_ty(ty)));
                }
            }
        }
        if let Some(inner) = &map.inner {
            match &inner.handle {
                Handle::Raw(_) => {
                    text.push_str(&format!("\nIt holds maps of kind `{}`.", inner.kind))
                }
                _ => text.push_str(&format!("\nIt holds maps like [`inner::{}`].", inner.rust)),
            }
        }
        format!("{}pub {}: {},\n", doc(&text), map.rust, self.handle(&map.handle))
    }

    /// Types of the maps that maps of maps hold.
    fn inner(&self, maps: &[MapPlan]) -> String {
        let mut body = String::new();
        for map in maps {
            let Some(inner) = &map.inner else { continue };
            if let Handle::Raw(_) = inner.handle {
                continue;
            }
            let text = format!("What `{}` holds: a `{}`.", map.def.name, inner.kind);
            body.push_str(&doc(&text));
            let ty = self.handle(&inner.handle).replace("types::", "super::types::");
            body.push_str(&format!("pub type {} = {ty};\n", inner.rust));
        }
        if body.is_empty() {
            return body;
        }
        format!("/// What maps of maps hold.\npub mod inner {{\n{}}}\n\n", indent(&body))
    }

    /// The constant that tells the library of a map.
    pub(super) fn spec(&self, map: &MapPlan) -> String {
        let krate = self.krate();
        let layout = |ty: &Ty| {
            format!(
                "::core::option::Option::Some(&<{} as {krate}::Pod>::LAYOUT)",
                self.outer_ty(ty)
            )
        };
        let none = "::core::option::Option::None".to_owned();
        let mut out =
            format!("{krate}::object::MapSpec::new({}, {})", literal(&map.def.name), map.def.kind);
        let (key, value) = match &map.handle {
            Handle::Keyed(_, key, value) => (layout(key), layout(value)),
            Handle::Indexed(_, value) => (layout(&Ty::unsigned(32)), layout(value)),
            _ => (none.clone(), none),
        };
        if !key.ends_with("None") {
            out.push_str(&format!(".with_types({key}, {value})"));
            if !provable(map) {
                out.push_str(".by_size()");
            }
        }
        if map.def.pinned {
            out.push_str(".pinned_by_name()");
        }
        out
    }
}
