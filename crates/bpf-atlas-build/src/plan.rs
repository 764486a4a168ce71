//! What the module will hold: types, and a handle for each map.

use std::path::Path;

use bpf_atlas_btf::{Btf, Kind, TypeId};

use crate::collect::{At, Collector};
use crate::enums::Values;
use crate::error::Error;
use crate::events::{Declared, Events};
use crate::kinds::{self, Face};
use crate::map_def::MapDef;
use crate::names::{self, camel, ident};
use crate::object::{KCONFIG, Object, Program, Section, variable};
use crate::options::{Options, is};
use crate::place::Flat;
use crate::pointers;
use crate::types::{Struct, Ty, Types};

/// Everything that is to be written.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) types: Types,
    pub(crate) maps: Vec<MapPlan>,
    pub(crate) sections: Vec<SectionPlan>,
}

#[derive(Debug)]
pub(crate) struct MapPlan {
    pub(crate) def: MapDef,
    /// The field of `Maps`.
    pub(crate) rust: String,
    /// `BPF_MAP_TYPE_HASH`
    pub(crate) kind: String,
    pub(crate) handle: Handle,
    /// Types of key and value, also where the handle is untyped.
    pub(crate) key: Option<Ty>,
    pub(crate) value: Option<Ty>,
    /// As C declares them.
    pub(crate) decls: Vec<String>,
    pub(crate) inner: Option<Inner>,
}

/// What a map of maps holds.
#[derive(Debug)]
pub(crate) struct Inner {
    /// The alias for its type.
    pub(crate) rust: String,
    pub(crate) kind: String,
    pub(crate) handle: Handle,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Handle {
    Keyed(&'static str, Ty, Ty),
    Indexed(&'static str, Ty),
    Ring(Ring),
    Raw(String),
}

impl Handle {
    /// The enum of a ring of several types of event.
    pub(crate) fn events(&self) -> Option<&Events> {
        match self {
            Self::Ring(Ring { of: RingOf::Several(events), .. }) => Some(events),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) of: RingOf,
    /// The map beside it that counts what is lost.
    pub(crate) lost: Option<String>,
    /// The map by which its reader says when to wake it.
    pub(crate) wake: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RingOf {
    One(Ty),
    Several(Events),
}

#[derive(Debug)]
pub(crate) struct SectionPlan {
    /// `.bss`
    pub(crate) name: String,
    /// The field, `bss`.
    pub(crate) field: String,
    /// The type, `Bss`.
    pub(crate) rust: String,
    pub(crate) size: usize,
    pub(crate) float: bool,
    /// Whether libbpf makes a map of it that can be mapped into memory: it does
    /// where a variable is not `static`.
    pub(crate) live: bool,
    /// Whether libbpf sets the variables, by the kernel's configuration.
    pub(crate) external: bool,
    pub(crate) made: Struct,
}

/// Plans the module for an object.
pub(crate) fn plan(object: &Object, options: &Options, values: &Values) -> Result<Plan, Error> {
    let mut planner =
        Planner { object, options, types: Collector::new(&object.btf, options, values) };
    let mut maps = Vec::new();
    for def in &object.maps {
        maps.push(planner.map(def)?);
    }
    for name in &options.exports {
        planner.export(name)?;
    }
    let mut sections = Vec::new();
    for section in &object.sections {
        sections.push(planner.section(section)?);
    }
    let file = &options.file;
    let fields = maps.iter().map(|map| (map.rust.as_str(), format!("map `{}`", map.def.name)));
    unique(fields, file, "rename one of them in C")?;
    let fields = sections.iter().map(|s| (s.rust.as_str(), format!("section `{}`", s.name)));
    unique(fields, file, "rename one of them in C")?;
    Ok(Plan { types: planner.types.types, maps, sections })
}

/// Refuses programs whose names become one in Rust.
pub(crate) fn unique_programs(programs: &[Program], file: &Path) -> Result<(), Error> {
    let fields: Vec<_> = programs
        .iter()
        .map(|program| (ident(&program.name), format!("program `{}`", program.name)))
        .collect();
    let fields = fields.iter().map(|(rust, what)| (rust.as_str(), what.clone()));
    unique(fields, file, "rename one of them in C")
}

/// Refuses C names that become one name in Rust.
fn unique<'a>(
    names: impl Iterator<Item = (&'a str, String)>,
    file: &Path,
    remedy: &'static str,
) -> Result<(), Error> {
    let mut seen = std::collections::HashMap::new();
    for (rust, what) in names {
        if let Some(first) = seen.insert(rust, what.clone()) {
            let (file, rust) = (file.into(), rust.into());
            return Err(Error::Collision { file, first, second: what, rust, remedy });
        }
    }
    Ok(())
}

struct Planner<'a> {
    object: &'a Object,
    options: &'a Options,
    types: Collector<'a>,
}

impl<'a> Planner<'a> {
    fn btf(&self) -> &'a Btf {
        &self.object.btf
    }

    fn map(&mut self, def: &MapDef) -> Result<MapPlan, Error> {
        let name = &def.name;
        // The option has found its map, whether there are pointers or not.
        self.options.allows_pointers(name);
        let (key, value) = (self.part(def, name, "key")?, self.part(def, name, "value")?);
        let (kind, handle) = self.handle(def, name, &key, &value)?;
        let inner = match &def.inner {
            Some(inner) => Some(self.inner(inner, name)?),
            None => None,
        };
        let parts = [("key", def.key), ("value", def.value)];
        let decls = parts
            .into_iter()
            .filter_map(|(part, id)| Some(format!("{part}: {}", self.types.decl(id?, ""))));
        let decls = decls.collect();
        let rust = ident(name);
        Ok(MapPlan { def: def.clone(), rust, kind, handle, key, value, decls, inner })
    }

    fn inner(&mut self, def: &MapDef, outer: &str) -> Result<Inner, Error> {
        let name = format!("{outer}_inner");
        let (key, value) = (self.part(def, &name, "key")?, self.part(def, &name, "value")?);
        let (kind, handle) = self.handle(def, outer, &key, &value)?;
        Ok(Inner { rust: camel(&name), kind, handle })
    }

    /// The type of keys or values: as declared, or so many bytes.
    fn part(&mut self, def: &MapDef, name: &str, part: &str) -> Result<Option<Ty>, Error> {
        let (id, size) = match part {
            "key" => (def.key, def.key_size),
            _ => (def.value, def.value_size),
        };
        let Some(id) = id else {
            return Ok(size.filter(|size| *size > 0).map(|size| Ty::bytes(size as usize)));
        };
        // A struct of functions of the kernel; nobody reads it.
        if def.kind == MapDef::STRUCT_OPS {
            return Ok(None);
        }
        let words = format!("the {part} of map `{}`", def.name);
        let at = At::new(format!("{}{}", camel(name), camel(part)), words.as_str());
        match self.types.size_of(id, &at)? {
            0 => Err(self.types.refuse(&words, "it has no bytes")),
            _ => Ok(Some(self.types.ty(id, &at)?)),
        }
    }

    fn handle(
        &mut self,
        def: &MapDef,
        name: &str,
        key: &Option<Ty>,
        value: &Option<Ty>,
    ) -> Result<(String, Handle), Error> {
        let (kind, face) = kinds::of(def.kind);
        let unset = |part| Handle::Raw(format!("the size of its {part} is set when it is loaded"));
        let handle = match (face, key, value) {
            (Face::Keyed(rust), Some(key), Some(value)) => {
                self.no_pointers(name, "key", def.key)?;
                self.no_pointers(name, "value", def.value)?;
                Handle::Keyed(rust, key.clone(), value.clone())
            }
            (Face::Indexed(rust), _, Some(value)) => {
                self.no_pointers(name, "value", def.value)?;
                Handle::Indexed(rust, value.clone())
            }
            (Face::Keyed(_), None, _) => unset("keys"),
            (Face::Keyed(_) | Face::Indexed(_), ..) => unset("values"),
            (Face::Ring, ..) => self.ring(def, name, value)?,
            (Face::Raw(why), ..) => Handle::Raw(why.into()),
        };
        Ok((kind, handle))
    }

    fn no_pointers(&self, map: &str, part: &str, id: Option<TypeId>) -> Result<(), Error> {
        let Some(id) = id else { return Ok(()) };
        match pointers::find(self.btf(), id) {
            Some(found) if !self.options.allows_pointers(map) => Err(Error::Pointer {
                file: self.options.file.clone(),
                map: map.into(),
                place: match found.path.as_str() {
                    "" => format!("the {part}"),
                    path => format!("field `{path}` of the {part}"),
                },
                c_type: self.types.decl(found.of, ""),
            }),
            _ => Ok(()),
        }
    }

    /// A ring: its events are told by `ATLAS_RING` or `ATLAS_RING_OF`, by the
    /// map itself, or by the user.
    fn ring(&mut self, def: &MapDef, name: &str, value: &Option<Ty>) -> Result<Handle, Error> {
        if def.flags & OVERWRITE != 0 {
            return Ok(Handle::Raw("it overwrites what is not read yet".into()));
        }
        let beside = self.beside(name);
        let lost = beside.as_ref().map(|_| format!("{name}_lost"));
        let wake = self.wake(name);
        let event = match (self.options.event(name), beside, def.value) {
            (Some(wanted), ..) => Some(self.find(wanted, "ring_event")?),
            (None, Some(Beside::Several(declared)), _) => {
                for event in &declared {
                    self.no_pointers(name, &format!("event `{}`", event.tag), Some(event.of))?;
                }
                let of = RingOf::Several(self.types.events(name, &declared)?);
                return Ok(Handle::Ring(Ring { of, lost, wake }));
            }
            (None, Some(Beside::One(event)), _) => Some(event),
            (None, None, value) => value,
        };
        let Some(event) = event else {
            let why = match value {
                Some(_) => "its event type is unknown",
                None => {
                    "its event type is unknown: declare the ring by `ATLAS_RING` or \
                     `ATLAS_RING_OF`, or name the type with `ring_event`"
                }
            };
            return Ok(Handle::Raw(why.into()));
        };
        self.no_pointers(name, "event", Some(event))?;
        let words = format!("the event of ring `{name}`");
        let at = At::new(format!("{}Event", camel(name)), words.as_str());
        if self.types.size_of(event, &at)? == 0 {
            return Err(self.types.refuse(&words, "it has no bytes"));
        }
        let ty = self.types.ty(event, &at)?;
        if self.types.types.facts(&ty).1 > 8 {
            return Err(self.types.refuse(
                &words,
                "it is aligned to more than 8 bytes, which records of a ring are not",
            ));
        }
        Ok(Handle::Ring(Ring { of: RingOf::One(ty), lost, wake }))
    }

    /// What `ATLAS_RING` or `ATLAS_RING_OF` leaves beside a ring.
    fn beside(&self, ring: &str) -> Option<Beside> {
        let lost = format!("{ring}_lost");
        let lost = self.object.maps.iter().find(|map| map.name == lost)?;
        let (_, of) = self.btf().resolve(lost.value?).ok()?;
        let Kind::Composite { members, .. } = &of.kind else { return None };
        let last = members.last()?;
        let Kind::Array { element, len: 0 } = self.btf().resolve(last.of).ok()?.1.kind else {
            return None;
        };
        match last.name.as_str() {
            "event" => Some(Beside::One(element)),
            "events_of" => self.types.declared_events(element).map(Beside::Several),
            _ => None,
        }
    }

    /// The words beside a ring by which its reader says when to wake it.
    fn wake(&self, ring: &str) -> Option<String> {
        let name = format!("{ring}_wake");
        let map = self.object.maps.iter().find(|map| map.name == name)?;
        (map.kind == ARRAY && map.flags & MMAPABLE != 0 && map.max_entries == 2).then_some(name)
    }

    /// The type that C calls `name`.
    fn find(&self, name: &str, option: &'static str) -> Result<TypeId, Error> {
        let named = self.btf().types().find(|(id, of)| {
            let c_name = match of.kind {
                Kind::Typedef(_) => format!("typedef {}", of.name),
                Kind::Composite { .. } | Kind::Enum { .. } => self.btf().c_name(*id),
                _ => return false,
            };
            !of.name.is_empty() && is(name, &c_name)
        });
        named.map(|(id, _)| id).ok_or_else(|| Error::Option {
            file: self.options.file.clone(),
            option,
            name: name.into(),
            why: "is not in the object's BTF: clang records the types that maps, global variables \
                  and functions use"
                .into(),
        })
    }

    fn export(&mut self, name: &str) -> Result<(), Error> {
        let id = self.find(name, "export")?;
        self.types.ty(id, &At::new(camel(name), name))?;
        Ok(())
    }

    /// The variables of a section as a struct.
    fn section(&mut self, section: &Section) -> Result<SectionPlan, Error> {
        let rust = camel(&section.name.replace('.', "_"));
        let field = ident(section.name.trim_start_matches('.'));
        let at = At::new(rust.as_str(), format!("section `{}`", section.name));
        let mut flat = Vec::new();
        let mut names = names::Scope::default();
        for var in &section.vars {
            let Some((name, of)) = variable(self.btf(), var.var) else { continue };
            let inner = At::new(format!("{rust}{}", camel(&name)), format!("variable `{name}`"));
            let ty = match self.types.attempt(of, &inner) {
                Ok(ty) => ty,
                Err(error @ Error::Collision { .. }) => return Err(error),
                // What Rust cannot describe stays bytes.
                Err(_) => continue,
            };
            let start = var.offset as usize * 8;
            let end = start + self.types.types.facts(&ty).0 * 8;
            if end > start {
                let name = names.unique(&names::clean(&name));
                flat.push(Flat { name, of, start, end, bits: None });
            }
        }
        let (made, _) = self.types.lay_out(flat, section.size, &at)?;
        let float = made.fields.iter().any(|field| self.types.types.has_float(&field.ty));
        let (name, size) = (section.name.clone(), section.size);
        let external = name == KCONFIG;
        let live = external
            || section.vars.iter().any(|var| {
                let of = self.btf().get(var.var).map(|of| &of.kind);
                matches!(of, Ok(Kind::Var { global: true, .. }))
            });
        Ok(SectionPlan { name, field, rust, size, float, live, external, made })
    }
}

/// What stands beside a ring, of its events.
enum Beside {
    One(TypeId),
    Several(Vec<Declared>),
}

const ARRAY: u32 = 2;
/// `BPF_F_MMAPABLE`
const MMAPABLE: u32 = 1 << 10;
/// `BPF_F_RB_OVERWRITE`
const OVERWRITE: u32 = 1 << 19;
