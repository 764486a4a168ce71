//! What can be asked of maps and programs before they are loaded.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::pins;
use super::{ObjectError, OpenedObject};
use crate::agent::quietly;
use crate::error::OpenError;
use crate::kind::MapKind;
use crate::layout::Layout;
use crate::raw::RawMap;
use crate::source::MapSource;
use crate::sys::open_map::forget_pin_path;

/// What the generated code knows of a map.
#[derive(Clone, Copy, Debug)]
pub struct MapSpec {
    name: &'static str,
    kind: MapKind,
    key: Option<&'static Layout>,
    value: Option<&'static Layout>,
    by_size: bool,
    pinned_by_name: bool,
}

impl MapSpec {
    /// A map by its name in C and its `BPF_MAP_TYPE_…`.
    pub const fn new(name: &'static str, kind: u32) -> Self {
        let kind = MapKind::from_raw(kind);
        Self { name, kind, key: None, value: None, by_size: false, pinned_by_name: false }
    }

    /// With the types of keys and values.
    #[must_use]
    pub const fn with_types(
        self,
        key: Option<&'static Layout>,
        value: Option<&'static Layout>,
    ) -> Self {
        Self { key, value, ..self }
    }

    /// Declared by a size where a type could stand: the kernel has no BTF of
    /// such a map, and there is nothing to prove but sizes.
    #[must_use]
    pub const fn by_size(self) -> Self {
        Self { by_size: true, ..self }
    }

    /// Pinned where the source says `__uint(pinning, LIBBPF_PIN_BY_NAME)`.
    #[must_use]
    pub const fn pinned_by_name(self) -> Self {
        Self { pinned_by_name: true, ..self }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn kind(&self) -> MapKind {
        self.kind
    }

    /// Whether C declares types, so that they can be proved.
    pub(super) fn is_typed(&self) -> bool {
        !self.by_size
    }

    pub(super) fn types(&self) -> (Option<&'static Layout>, Option<&'static Layout>) {
        (self.key, self.value)
    }
}

/// What is asked of a map before it is created. Nothing, to begin with: then
/// it is created as the source says.
#[derive(Debug, Default)]
pub struct MapConfig {
    max_entries: Option<u32>,
    pin: Option<PathBuf>,
    share: Option<Result<RawMap, OpenError>>,
}

impl MapConfig {
    /// The most entries that the map takes; the bytes of a ring buffer.
    pub fn set_max_entries(&mut self, entries: u32) -> &mut Self {
        self.max_entries = Some(entries);
        self
    }

    /// Goes on with the map that is pinned at `path`, in a mounted BPF file
    /// system, or creates it and pins it there. Its types must be those of
    /// this program: see [`ObjectError::Pin`].
    pub fn set_pin_path(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pin = Some(path.into());
        self
    }

    /// Takes this map instead of creating one: to share a map between objects.
    /// It is not pinned.
    pub fn share(&mut self, map: impl MapSource) -> &mut Self {
        self.share = Some(RawMap::open(map));
        self
    }
}

/// What is asked of a program before it is loaded.
#[derive(Clone, Debug)]
pub struct ProgramConfig {
    pub(super) autoload: Option<bool>,
    pub(super) attach: bool,
}

impl Default for ProgramConfig {
    fn default() -> Self {
        Self { autoload: None, attach: true }
    }
}

impl ProgramConfig {
    /// Whether the program is loaded at all. Programs are, unless their section
    /// begins with `?`.
    pub fn set_autoload(&mut self, autoload: bool) -> &mut Self {
        self.autoload = Some(autoload);
        self
    }

    /// Whether `attach` on the loaded object attaches it. It does, where the
    /// section says to what.
    pub fn set_autoattach(&mut self, attach: bool) -> &mut Self {
        self.attach = attach;
        self
    }
}

impl OpenedObject {
    /// Applies what was asked of a map, and proves that what is pinned in its
    /// place is of the same types. `root` is where maps are that are pinned by
    /// their name.
    ///
    /// # Errors
    /// [`ObjectError::Pin`], [`ObjectError::PinShape`], [`ObjectError::Map`] for
    /// a shared map that is none, [`ObjectError::Missing`], [`ObjectError::Load`].
    pub fn configure_map(
        &mut self,
        spec: &MapSpec,
        config: MapConfig,
        root: Option<&Path>,
    ) -> Result<(), ObjectError> {
        let MapConfig { max_entries, pin, share } = config;
        let name = spec.name;
        let missing = || ObjectError::Missing { what: format!("map `{name}`") };
        let require_proof = self.require_proof;
        // Only of `object`: what is shared is noted beside it.
        let mut maps = self.object.maps_mut();
        let mut map = maps.find(|map| map.name() == name).ok_or_else(missing)?;
        if let Some(entries) = max_entries {
            quietly(format!("setting max_entries of map `{name}`"), || {
                map.set_max_entries(entries)
            })?;
        }
        // A ring that was declared with the type of its events: the kernel
        // refuses one with values.
        if spec.kind == MapKind::RingBuf && map.value_size() != 0 {
            quietly(format!("preparing ring `{name}`"), || map.set_value_size(0))?;
        }
        if let Some(shared) = share {
            let shared = shared?;
            pins::check_shared(spec, &shared, require_proof)?;
            quietly(format!("sharing map `{name}`"), || map.reuse_fd(shared.as_fd()))?;
            self.shared.insert(name, shared.declared().cloned());
            return forget_pin_path(&mut map).map_err(|errno| ObjectError::Kernel {
                what: format!("sharing map `{name}`"),
                errno,
            });
        }
        let asked = pin.is_some();
        let path = pin.or_else(|| {
            let root = root.unwrap_or(Path::new("/sys/fs/bpf"));
            spec.pinned_by_name.then(|| root.join(name))
        });
        let Some(path) = path else { return Ok(()) };
        pins::check(spec, &map, &path, require_proof)?;
        if asked || root.is_some() {
            quietly(format!("pinning map `{name}` at {}", path.display()), || {
                map.set_pin_path(&path)
            })?;
        }
        Ok(())
    }
}
