//! Objects opened, loaded and held: what the modules that bpf-atlas-build
//! writes are made of.
//!
//! ```text
//!   flows::open()  ──▶  Open      set read-only data, map sizes, pins, programs
//!     .load()      ──▶  Loaded    maps and variables; attach programs one by one
//!     .attach()    ──▶  Handle    'static + Send; dropping it detaches
//! ```
//!
//! The generated types are thin and typed; these do the work, by name.

mod attach;
mod config;
mod pins;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;

pub use libbpf_rs::XdpFlags;
use libbpf_rs::{MapCore, Object, ObjectBuilder, OpenMapMut, OpenObject};

#[doc(hidden)]
pub use self::attach::maps;
pub use self::attach::{LoadedObject, Program};
pub use self::config::{MapConfig, MapSpec, ProgramConfig};
use crate::agent::{LoadError, quietly};
use crate::error::{Errno, OpenError};
use crate::raw::Declared;
use crate::sys::pod::Pod;
use crate::sys::words::{boxed, initialised};

/// An object could not be opened, configured, loaded or attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// libbpf or the kernel refused.
    #[error(transparent)]
    Load(#[from] LoadError),

    /// A map was loaded and could not be opened.
    #[error(transparent)]
    Map(#[from] OpenError),

    /// A pinned map of another version of the program: of another kind, size
    /// or type. `why` tells the differences.
    #[error(
        "map `{map}` cannot go on with what is pinned at {} (remove the pin to start anew): {why}",
        path.display()
    )]
    Pin {
        /// The map, by its name in C.
        map: &'static str,
        /// The pin.
        path: std::path::PathBuf,
        /// What differs.
        why: OpenError,
    },

    /// A pinned map that holds the same types, but was created otherwise.
    #[error(
        "map `{map}` cannot go on with what is pinned at {}: {what}; \
         remove the pin to start anew",
        path.display()
    )]
    PinShape {
        /// The map, by its name in C.
        map: &'static str,
        /// The pin.
        path: std::path::PathBuf,
        /// What differs: `max_entries is 64 there and 128 here`.
        what: String,
    },

    /// The kernel refused, with nothing more to say.
    #[error("{what} failed: {errno}")]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        errno: Errno,
    },

    /// The object has no such map, program or section. Generated code names
    /// those of its own object only.
    #[error("the object has no {what}")]
    Missing {
        /// What was asked for.
        what: String,
    },

    /// The program's section does not say where it is to be attached.
    #[error(
        "program `{program}` (section `{section}`) does not say where it is to be attached; \
         attach it with `attach_with`, or `attach_xdp`"
    )]
    NoTarget {
        /// The program.
        program: &'static str,
        /// Its section.
        section: String,
    },
}

/// An object that is open and not yet loaded. Held by the generated `Open`.
pub struct OpenedObject {
    object: OpenObject,
    name: &'static str,
    /// Programs that `attach` passes over.
    manual: Vec<&'static str>,
    /// Whether sizes alone are not enough for a map of another program.
    require_proof: bool,
    /// Maps of other objects that take the place of this one's, and the BTF
    /// they were declared with.
    shared: Shared,
}

/// By the map's name in C.
type Shared = BTreeMap<&'static str, Option<Declared>>;

impl OpenedObject {
    /// Opens the object in memory. `name` begins the kernel's names of the
    /// sections.
    ///
    /// # Errors
    /// [`ObjectError::Load`].
    pub fn open(name: &'static str, bytes: &[u8]) -> Result<Self, ObjectError> {
        let object = quietly(format!("opening {name}"), || {
            ObjectBuilder::default().name(name)?.open_memory(bytes)
        })?;
        Ok(Self { object, name, manual: Vec::new(), require_proof: false, shared: Shared::new() })
    }

    /// From now on [`configure_map`](Self::configure_map) refuses pinned and
    /// shared maps whose types cannot be proved.
    pub fn require_proof(&mut self) {
        self.require_proof = true;
    }

    /// libbpf-rs's object, for what has no method here.
    pub fn libbpf_mut(&mut self) -> &mut OpenObject {
        &mut self.object
    }

    fn map(&mut self, is: impl Fn(&OsStr) -> bool) -> Option<OpenMapMut<'_>> {
        self.object.maps_mut().find(|map| is(map.name()))
    }

    /// The variables of a section as the source sets them.
    ///
    /// # Errors
    /// [`ObjectError::Missing`].
    pub fn section<T: Pod>(&mut self, section: &'static str) -> Result<Box<T>, ObjectError> {
        let map = self.map(|name| is_section(name, section));
        let bytes = map.as_ref().and_then(|map| map.initial_value());
        match bytes {
            Some(bytes) if bytes.len() == size_of::<T>() => Ok(boxed(bytes)),
            _ => Err(missing_section::<T>(section)),
        }
    }

    /// Sets the variables of a section before the object is loaded.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::Load`].
    pub fn set_section<T: Pod>(
        &mut self,
        section: &'static str,
        value: &T,
    ) -> Result<(), ObjectError> {
        let map = self.map(|name| is_section(name, section));
        let mut map = map.ok_or_else(|| missing_section::<T>(section))?;
        quietly(format!("setting the variables of {section}"), || {
            map.set_initial_value(initialised(value))
        })?;
        Ok(())
    }

    /// Applies what was asked of a program.
    ///
    /// # Errors
    /// [`ObjectError::Missing`].
    pub fn configure_program(
        &mut self,
        name: &'static str,
        config: &ProgramConfig,
    ) -> Result<(), ObjectError> {
        let program = self.object.progs_mut().find(|program| program.name() == name);
        let mut program =
            program.ok_or_else(|| ObjectError::Missing { what: format!("program `{name}`") })?;
        if let Some(autoload) = config.autoload {
            program.set_autoload(autoload);
        }
        if !config.attach {
            self.manual.push(name);
        }
        Ok(())
    }

    /// Creates the maps and loads the programs.
    ///
    /// # Errors
    /// [`ObjectError::Load`], with the verifier's log.
    pub fn load(self) -> Result<LoadedObject, ObjectError> {
        let object = quietly(format!("loading {}", self.name), || self.object.load())?;
        Ok(LoadedObject::new(object, self.manual, self.shared))
    }
}

impl fmt::Debug for OpenedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedObject").field("name", &self.name).finish_non_exhaustive()
    }
}

fn missing_section<T>(section: &str) -> ObjectError {
    ObjectError::Missing { what: format!("section `{section}` of {} bytes", size_of::<T>()) }
}

/// Whether libbpf's name of a map is that of a section: `flows.bss` for
/// `.bss`, but the name itself for one with two dots, `.bss.counters`.
fn is_section(map: &OsStr, section: &str) -> bool {
    let Some(map) = map.to_str() else { return false };
    if section.matches('.').count() > 1 {
        return map == section;
    }
    !map.starts_with('.') && map.strip_suffix(section).is_some_and(|name| !name.contains('.'))
}

/// The map of an object by its name in C.
pub(crate) fn map_of<'a>(
    object: &'a Object,
    is: impl Fn(&OsStr) -> bool,
) -> Option<libbpf_rs::Map<'a>> {
    object.maps().find(|map| is(map.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_told_from_maps_and_from_each_other() {
        let is = |map: &str, section| is_section(OsStr::new(map), section);
        assert!(is("flows.bss", ".bss") && is(".bss.x", ".bss.x"));
        assert!(!is("flows.bss", ".rodata") && !is(".data.bss", ".bss") && !is("bss", ".bss"));
        assert!(!is(".bss.x", ".bss"));
    }
}
