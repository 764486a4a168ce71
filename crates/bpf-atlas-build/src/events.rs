//! Rings of several types of event, as `ATLAS_RING_OF` of `bpf_atlas.h`
//! declares them.
//!
//! The array of totals beside the ring ends in a member of no bytes, `events_of`:
//! a struct with a member `of_TAG` for each event, which holds `value`, a pointer
//! to an array as long as the tag says, and `event`, the type.

use bpf_atlas_btf::{Kind, Member, TypeId};

use crate::collect::{At, Collector};
use crate::error::Error;
use crate::names::{camel, ident};
use crate::types::{FieldKind, ItemKind, Ty};

/// The enum that is written for a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Events {
    /// The ring.
    pub(crate) ring: String,
    pub(crate) rust: String,
    pub(crate) events: Vec<Event>,
    /// Whether a floating point number is inside: such a type is not `Eq`.
    pub(crate) float: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The tag in C: `EXEC`.
    pub(crate) c_tag: String,
    /// The constant for it.
    pub(crate) constant: String,
    /// `Exec`
    pub(crate) variant: String,
    pub(crate) ty: Ty,
    /// The type of its member `kind`, and the value that this has.
    pub(crate) kind: Ty,
    pub(crate) value: u32,
    /// As C declares it.
    pub(crate) decl: String,
}

/// An event as BTF tells it.
pub(crate) struct Declared {
    pub(crate) tag: String,
    pub(crate) value: u32,
    pub(crate) of: TypeId,
}

impl Collector<'_> {
    /// The events in the struct `events_of`; none where it is no such thing.
    pub(crate) fn declared_events(&self, id: TypeId) -> Option<Vec<Declared>> {
        let (_, of) = self.btf.resolve(id).ok()?;
        let Kind::Composite { union: false, members, .. } = &of.kind else { return None };
        members.iter().map(|member| self.declared(member)).collect()
    }

    fn declared(&self, member: &Member) -> Option<Declared> {
        let tag = member.name.strip_prefix("of_")?.to_owned();
        let Kind::Composite { members, .. } = &self.btf.resolve(member.of).ok()?.1.kind else {
            return None;
        };
        let named = |name| members.iter().find(|member| member.name == name);
        let Kind::Ptr(to) = self.btf.resolve(named("value")?.of).ok()?.1.kind else { return None };
        let Kind::Array { len, .. } = self.btf.resolve(to).ok()?.1.kind else { return None };
        Some(Declared { tag, value: len, of: named("event")?.of })
    }

    /// The enum for ring `name` of these events, of which none has a pointer
    /// that is not allowed.
    pub(crate) fn events(&mut self, name: &str, declared: &[Declared]) -> Result<Events, Error> {
        let ring = format!("ring `{name}`");
        if declared.is_empty() {
            return Err(self.refuse(&ring, "`ATLAS_RING_OF` names no event"));
        }
        for (at, event) in declared.iter().enumerate() {
            if let Some(earlier) = declared[..at].iter().find(|other| other.value == event.value) {
                return Err(self.refuse(
                    &ring,
                    format!(
                        "its events `{}` and `{}` have the same tag, {}, and a reader could not \
                         tell them apart; give one of them another",
                        earlier.tag, event.tag, event.value
                    ),
                ));
            }
        }
        let rust = self.options.ring_name(name).map_or_else(|| camel(name), str::to_owned);
        let remedy = "rename one of them in C, or give the enum another name with \
                      `rename(\"ring NAME\", …)`";
        for claimed in [rust.clone(), format!("{rust}Ref")] {
            self.claim_as(&claimed, &format!("the events of {ring}"), remedy)?;
        }
        let mut events: Vec<Event> = Vec::new();
        for event in declared {
            let event = self.event(name, event)?;
            if let Some(other) = events.iter().find(|other| other.variant == event.variant) {
                return Err(Error::Collision {
                    file: self.options.file.clone(),
                    first: format!("event `{}`", other.c_tag),
                    second: format!("event `{}` of {ring}", event.c_tag),
                    rust: event.variant,
                    remedy: "rename one of the tags in C",
                });
            }
            events.push(event);
        }
        let float = events.iter().any(|event| self.types.has_float(&event.ty));
        Ok(Events { ring: name.into(), rust, events, float })
    }

    fn event(&mut self, ring: &str, declared: &Declared) -> Result<Event, Error> {
        let Declared { tag, value, of } = declared;
        let words = format!("the event `{tag}` of ring `{ring}`");
        let variant = camel(tag);
        let at = At::new(format!("{}{variant}", camel(ring)), words.as_str());
        if self.size_of(*of, &at)? == 0 {
            return Err(self.refuse(&words, "it has no bytes"));
        }
        let ty = self.ty(*of, &at)?;
        if self.types.facts(&ty).1 > 8 {
            return Err(self.refuse(
                &words,
                "it is aligned to more than 8 bytes, which records of a ring are not",
            ));
        }
        let kind = self.kind_of(&ty).ok_or_else(|| {
            self.refuse(&words, "it does not begin with a member `kind`: write `__u32 kind` first")
        })?;
        if let Some(what) = self.not_a_kind(&kind) {
            return Err(self.refuse(&words, format!("its `kind` is {what}; write `__u32 kind`")));
        }
        let decl = self.decl(*of, "");
        Ok(Event {
            c_tag: tag.clone(),
            constant: ident(tag),
            variant,
            ty,
            kind,
            value: *value,
            decl,
        })
    }

    /// The type of the field `kind` at the start of an event.
    fn kind_of(&self, ty: &Ty) -> Option<Ty> {
        let Ty::Named(at) = self.types.behind(ty) else { return None };
        let ItemKind::Struct(made) = &self.types.items[*at].kind else { return None };
        let field = made.fields.first().filter(|field| field.c_name == "kind")?;
        matches!(field.kind, FieldKind::Plain).then(|| field.ty.clone())
    }

    /// Why the constant of a tag cannot be of this type.
    fn not_a_kind(&self, kind: &Ty) -> Option<String> {
        match self.types.behind(kind) {
            Ty::Int { bits: 32, .. } => None,
            Ty::Named(at) => match &self.types.items[*at] {
                item if item.path.is_some() => Some(format!("`{}`, a type of yours", item.c_name)),
                item if matches!(&item.kind, ItemKind::Enum(of) if of.bits == 32) => None,
                item => Some(format!("`{}`", item.c_name)),
            },
            Ty::BigEndian { .. } => Some("in network byte order".into()),
            _ => Some("no integer of 32 bits".into()),
        }
    }
}
