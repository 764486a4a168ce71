//! Loaded objects: their maps, their variables, and what is attached.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;

use bpf_atlas_btf::Kind;
use libbpf_rs::{Link, MapCore as _, Object, ProgramMut, XdpFlags};

use super::{ObjectError, Shared, is_section, map_of};
use crate::agent::{self, btf_of, quietly};
use crate::error::OpenError;
use crate::global::Global;
use crate::layout::{Field, LayoutKind};
use crate::raw::{Declared, RawMap};
use crate::sys::pod::Pod;

/// Anything that keeps a program attached as long as it lives.
trait Held: Send + Sync {}
impl<T: Send + Sync> Held for T {}

/// An object in the kernel, with what is attached of it. Held by the generated
/// `Loaded` and `Handle`; dropping it detaches everything.
pub struct LoadedObject {
    // Before the object: a USDT link must not outlive it.
    held: Vec<Box<dyn Held>>,
    object: Object,
    manual: Vec<&'static str>,
    attached: BTreeSet<String>,
    shared: Shared,
}

/// Sections that say where their programs go, before the first `/`.
const TARGETED: &[&str] = &[
    "fentry",
    "fexit",
    "fmod_ret",
    "fsession",
    "iter",
    "kprobe",
    "kretprobe",
    "ksyscall",
    "kretsyscall",
    "lsm",
    "raw_tp",
    "raw_tracepoint",
    "tp",
    "tp_btf",
    "tracepoint",
    "uprobe",
    "uretprobe",
    "usdt",
];

/// Whether libbpf knows from the section where a program is to be attached.
fn has_target(section: &str) -> bool {
    let Some((kind, target)) = section.trim_start_matches('?').split_once('/') else {
        return false;
    };
    // `kprobe.multi`, `fentry.s`, …
    let kind = kind.split('.').next().unwrap_or(kind);
    !target.is_empty() && TARGETED.contains(&kind)
}

impl LoadedObject {
    pub(super) fn new(object: Object, manual: Vec<&'static str>, shared: Shared) -> Self {
        Self { held: Vec::new(), object, manual, attached: BTreeSet::new(), shared }
    }

    /// libbpf-rs's object.
    pub fn libbpf(&self) -> &Object {
        &self.object
    }

    /// libbpf-rs's object, for what has no method here.
    pub fn libbpf_mut(&mut self) -> &mut Object {
        &mut self.object
    }

    /// The map that the C source calls `name`.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], and as [`RawMap::open`].
    pub fn map(&self, name: &str) -> Result<RawMap, OpenError> {
        self.maps()(name)
    }

    /// Finds maps by their names in C, as [`map`](Self::map). For generated code.
    #[doc(hidden)]
    pub fn maps(&self) -> impl Fn(&str) -> Result<RawMap, OpenError> {
        let own = maps(&self.object);
        move |name| {
            let map = own(name)?;
            // A shared map is told by the object that it was made for.
            Ok(match self.shared.get(name) {
                Some(declared) => map.with_declared(declared.clone()),
                None => map,
            })
        }
    }

    /// The variables of a section, live.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], and as [`Global::open`].
    pub fn global<T: Pod>(&self, section: &'static str) -> Result<Global<T>, ObjectError> {
        let map = map_of(&self.object, |name| is_section(name, section));
        let missing = || ObjectError::Missing { what: format!("section `{section}`") };
        if section == ".kconfig" {
            self.check_places::<T>(section)?;
        }
        Ok(Global::open(&map.ok_or_else(missing)?)?)
    }

    /// Whether the variables lie where `T` has them: for the section that libbpf
    /// lays out itself.
    fn check_places<T: Pod>(&self, section: &str) -> Result<(), ObjectError> {
        let LayoutKind::Struct { fields } = T::LAYOUT.kind else { return Ok(()) };
        let declared = btf_of(&self.object);
        let Some(btf) = declared.as_ref().and_then(Declared::own) else { return Ok(()) };
        let found = btf.types().find(|(_, of)| of.name == section);
        let Some(Kind::DataSec { vars, .. }) = found.map(|(_, of)| &of.kind) else { return Ok(()) };
        for var in vars {
            let name = btf.get(var.var).map_or("", |of| &of.name);
            let there = |field: &Field| field.name == name && field.offset == var.offset as usize;
            if !fields.iter().any(there) {
                let what = format!("field for `{name}` at byte {} of `{section}`", var.offset);
                return Err(ObjectError::Missing { what });
            }
        }
        Ok(())
    }

    /// A program by its name in C.
    ///
    /// Panics when the object has none of that name: generated code asks for
    /// those of its own object.
    pub fn program(&mut self, name: &'static str) -> Program<'_> {
        assert!(self.object.progs().any(|program| program.name() == name), "no program `{name}`");
        Program { object: self, name }
    }

    fn find(&mut self, name: &str) -> Option<ProgramMut<'_>> {
        self.object.progs_mut().find(|program| program.name() == name)
    }

    /// Attaches every program that is loaded, whose section says where to, and
    /// that is not attached yet.
    ///
    /// # Errors
    /// [`ObjectError::Load`] for the first that the kernel refuses.
    pub fn attach_all(&mut self) -> Result<(), ObjectError> {
        let mut links = Vec::new();
        for program in self.object.progs_mut() {
            let text = |text: &OsStr| text.to_string_lossy().into_owned();
            let (name, section) = (text(program.name()), text(program.section()));
            let skip = !program.autoload()
                || self.manual.iter().any(|manual| *manual == name)
                || self.attached.contains(&name)
                || !has_target(&section);
            if !skip {
                let what = format!("attaching `{name}` (section `{section}`)");
                links.push((name, quietly(what, || program.attach())?));
            }
        }
        for (name, link) in links {
            self.attached.insert(name);
            self.held.push(Box::new(link));
        }
        Ok(())
    }

    /// Attaches the `struct_ops` map that the C source calls `name`: the kernel
    /// calls its functions as long as the object lives.
    ///
    /// One `BPF_LINK_CREATE` for `.struct_ops.link`, one `BPF_MAP_UPDATE_ELEM` for
    /// `.struct_ops`. Since Linux 6.4 and 5.6.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::Load`].
    pub fn attach_struct_ops(&mut self, name: &str) -> Result<(), ObjectError> {
        let mut map = (self.object.maps_mut())
            .find(|map| map.name() == name)
            .ok_or_else(|| ObjectError::Missing { what: format!("map `{name}`") })?;
        let link = quietly(format!("attaching `{name}`"), || map.attach_struct_ops())?;
        self.keep(link);
        Ok(())
    }

    /// Programs that are loaded and that nothing was attached of.
    pub fn unattached(&self) -> Vec<String> {
        let names = self.object.progs().filter(|program| program.autoload());
        let names = names.map(|program| program.name().to_string_lossy().into_owned());
        names.filter(|name| !self.attached.contains(name)).collect()
    }

    /// Keeps anything that is to live as long as this: a link that was made
    /// elsewhere.
    pub fn keep(&mut self, held: impl Send + Sync + 'static) {
        self.held.push(Box::new(held));
    }
}

impl fmt::Debug for LoadedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedObject").field("attached", &self.attached).finish_non_exhaustive()
    }
}

/// Finds maps of an object by their names in C. For generated code.
pub fn maps(object: &Object) -> impl Fn(&str) -> Result<RawMap, OpenError> {
    let declared = btf_of(object);
    move |name| match map_of(object, |other| other == name) {
        Some(map) => Ok(RawMap::open(&map)?.with_declared(declared.clone())),
        None => Err(OpenError::NotFound { what: format!("map `{name}` in this object") }),
    }
}

/// A program of a loaded object. What it is attached to, it stays attached to
/// until the object is dropped.
#[derive(Debug)]
pub struct Program<'a> {
    object: &'a mut LoadedObject,
    name: &'static str,
}

impl Program<'_> {
    fn libbpf_mut(&mut self) -> ProgramMut<'_> {
        self.object.find(self.name).expect("found when this was made")
    }

    fn hold(&mut self, held: impl Send + Sync + 'static) {
        self.object.attached.insert(self.name.into());
        self.object.keep(held);
    }

    /// Attaches it to what its section says.
    ///
    /// # Errors
    /// [`ObjectError::NoTarget`] where the section says nothing,
    /// [`ObjectError::Load`].
    pub fn attach(&mut self) -> Result<(), ObjectError> {
        let section = self.libbpf_mut().section().to_string_lossy().into_owned();
        if !has_target(&section) {
            return Err(ObjectError::NoTarget { program: self.name, section });
        }
        self.attach_with(|program| program.attach())
    }

    /// Attaches it by a method of libbpf-rs, as for a cgroup, a process or a
    /// network namespace: `attach_with(|program| program.attach_cgroup(fd))`.
    ///
    /// # Errors
    /// [`ObjectError::Load`].
    pub fn attach_with(
        &mut self,
        f: impl FnOnce(&ProgramMut<'_>) -> libbpf_rs::Result<Link>,
    ) -> Result<(), ObjectError> {
        let what = format!("attaching `{}`", self.name);
        let program = self.libbpf_mut();
        let link = quietly(what, || f(&program))?;
        self.hold(link);
        Ok(())
    }

    /// Attaches an XDP program to an interface of the thread's network
    /// namespace, as [`agent::attach_xdp`].
    ///
    /// # Errors
    /// [`ObjectError::Kernel`].
    pub fn attach_xdp(&mut self, ifindex: u32, flags: XdpFlags) -> Result<(), ObjectError> {
        let link = agent::attach_xdp(self.libbpf_mut(), ifindex, flags);
        let link = link.map_err(|errno| ObjectError::Kernel {
            what: format!("attaching `{}` to interface {ifindex}", self.name),
            errno,
        })?;
        self.hold(link);
        Ok(())
    }

    /// Runs of it that the kernel skipped: see [`agent::recursion_misses`].
    ///
    /// # Errors
    /// [`ObjectError::Kernel`].
    pub fn recursion_misses(&mut self) -> Result<u64, ObjectError> {
        let name = self.name;
        let misses = agent::recursion_misses(self.libbpf_mut());
        misses
            .map_err(|errno| ObjectError::Kernel { what: format!("asking about `{name}`"), errno })
    }

    /// libbpf-rs's program, for what has no method here.
    pub fn libbpf<T>(&mut self, f: impl FnOnce(&mut ProgramMut<'_>) -> T) -> T {
        f(&mut self.libbpf_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_say_where_to() {
        for section in
            ["tp/sched/sched_switch", "kprobe.multi/vfs_*", "fentry.s/f", "raw_tp/sys_enter"]
        {
            assert!(has_target(section), "{section}");
        }
        for section in ["xdp", "tc", "raw_tp", "kprobe", "cgroup_skb/egress", "tp/", "xdp/devmap"] {
            assert!(!has_target(section), "{section}");
        }
    }
}
