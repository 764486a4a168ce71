//! What the user of the builder asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Options of the generator, by C name.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The source or object, for messages.
    pub(crate) file: PathBuf,
    pub(crate) krate: String,
    /// Type and path of a derive macro; `*` for all types.
    pub(crate) derives: Vec<(String, String)>,
    /// Type or `type.field`, and an attribute without its brackets.
    pub(crate) attributes: Vec<(String, String)>,
    /// Type or `type.field`, and what is to be known of it.
    pub(crate) docs: Vec<(String, String)>,
    pub(crate) renames: BTreeMap<String, String>,
    /// Types of the user's own, by their path in Rust.
    pub(crate) own: BTreeMap<String, String>,
    /// The event type of a ring that does not tell it.
    pub(crate) events: BTreeMap<String, String>,
    /// Maps whose pointers are taken as numbers; `*` for all.
    pub(crate) pointers: Vec<String>,
    /// Types that no map reaches.
    pub(crate) exports: Vec<String>,
    /// Options that found what they name.
    pub(crate) used: RefCell<BTreeSet<(&'static str, String)>>,
}

impl Options {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self {
            file,
            krate: "::bpf_atlas".into(),
            derives: Vec::new(),
            attributes: Vec::new(),
            docs: Vec::new(),
            renames: BTreeMap::new(),
            own: BTreeMap::new(),
            events: BTreeMap::new(),
            pointers: Vec::new(),
            exports: Vec::new(),
            used: RefCell::default(),
        }
    }

    fn found(&self, option: &'static str, name: &str) {
        self.used.borrow_mut().insert((option, name.to_owned()));
    }

    /// What `options` says of a C type.
    fn of_type<'a, T>(
        &self,
        option: &'static str,
        options: impl IntoIterator<Item = (&'a String, &'a T)>,
        c_name: &str,
    ) -> Vec<&'a T> {
        let named = options.into_iter().filter(|(name, _)| *name == "*" || is(name, c_name));
        named
            .map(|(name, value)| {
                self.found(option, name);
                value
            })
            .collect()
    }

    pub(crate) fn rename(&self, c_name: &str) -> Option<&str> {
        Some(self.of_type("rename", &self.renames, c_name).first()?.as_str())
    }

    /// The name of the enum of a ring's events, by `ring NAME`.
    pub(crate) fn ring_name(&self, ring: &str) -> Option<&str> {
        let (name, rust) = self.renames.get_key_value(&format!("ring {ring}"))?;
        self.found("rename", name);
        Some(rust)
    }

    /// What the user says of the enum of a ring's events.
    pub(crate) fn ring_docs(&self, ring: &str) -> impl Iterator<Item = &str> {
        let wanted = format!("ring {ring}");
        self.docs.iter().filter(move |(name, _)| *name == wanted).map(|(name, text)| {
            self.found("doc", name);
            text.as_str()
        })
    }

    pub(crate) fn own_type(&self, c_name: &str) -> Option<&str> {
        Some(self.of_type("own_type", &self.own, c_name).first()?.as_str())
    }

    pub(crate) fn derives(&self, c_name: &str) -> Vec<&String> {
        self.of_type("derive", self.derives.iter().map(|(name, path)| (name, path)), c_name)
    }

    /// The attributes of a type, or of one of its fields.
    pub(crate) fn attributes(&self, c_name: &str, field: Option<&str>) -> Vec<&str> {
        self.of_field("attribute", &self.attributes, c_name, field)
    }

    /// What the user says of a type, or of one of its fields.
    pub(crate) fn docs(&self, c_name: &str, field: Option<&str>) -> Vec<&str> {
        self.of_field("doc", &self.docs, c_name, field)
    }

    fn of_field<'a>(
        &self,
        option: &'static str,
        options: &'a [(String, String)],
        c_name: &str,
        field: Option<&str>,
    ) -> Vec<&'a str> {
        let mut out = Vec::new();
        for (name, value) in options {
            let (of, its) = match name.split_once('.') {
                Some((of, its)) => (of, Some(its)),
                None => (name.as_str(), None),
            };
            if (of == "*" || is(of, c_name)) && its == field {
                self.found(option, name);
                out.push(value.as_str());
            }
        }
        out
    }

    pub(crate) fn event(&self, map: &str) -> Option<&str> {
        let event = self.events.get(map)?;
        self.found("ring_event", map);
        Some(event)
    }

    pub(crate) fn allows_pointers(&self, map: &str) -> bool {
        let mut allowed = self.pointers.iter().filter(|name| *name == "*" || *name == map);
        allowed.by_ref().inspect(|name| self.found("allow_pointers", name)).count() > 0
    }

    /// The first option that names nothing in the object, and its name.
    pub(crate) fn unused(&self) -> Option<(&'static str, &str)> {
        let used = self.used.borrow();
        let all = (self.derives.iter().map(|(name, _)| ("derive", name)))
            .chain(self.attributes.iter().map(|(name, _)| ("attribute", name)))
            .chain(self.docs.iter().map(|(name, _)| ("doc", name)))
            .chain(self.renames.keys().map(|name| ("rename", name)))
            .chain(self.own.keys().map(|name| ("own_type", name)))
            .chain(self.events.keys().map(|name| ("ring_event", name)))
            .chain(self.pointers.iter().map(|name| ("allow_pointers", name)));
        let mut unused = all
            .filter(|(option, name)| *name != "*" && !used.contains(&(*option, (*name).clone())));
        unused.next().map(|(option, name)| (option, name.as_str()))
    }
}

/// Whether an option means a C type: `flow`, or `struct flow` where that is
/// not clear enough.
pub(crate) fn is(option: &str, c_name: &str) -> bool {
    option == c_name || c_name.split_once(' ').is_some_and(|(_, tag)| tag == option)
}
