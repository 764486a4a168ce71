//! What an object declares: its BTF, its maps, its sections of variables and
//! its programs.

use std::cell::RefCell;
use std::path::Path;

use bpf_atlas_btf::{Btf, Kind, SecVar, TypeId};
use libbpf_rs::{ObjectBuilder, PrintLevel};
use object::{Object as _, ObjectSection as _};

use crate::error::Error;
use crate::map_def::{self, MapDef};

/// What the generator needs of an object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) btf: Btf,
    pub(crate) maps: Vec<MapDef>,
    pub(crate) sections: Vec<Section>,
    pub(crate) programs: Vec<Program>,
}

/// A section of global variables, which libbpf makes a map of.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// `.rodata`, `.bss`, `.data.counters`, …
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) vars: Vec<SecVar>,
}

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// As the source says it, `tp/sched/sched_switch`.
    pub(crate) section: String,
}

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

impl Object {
    /// Reads an object. `file` is what errors name.
    pub(crate) fn read(bytes: &[u8], file: &Path) -> Result<Self, Error> {
        let broken = |what: String| Error::Object { file: file.into(), what };
        let btf = section(bytes, ".BTF").map_err(broken)?.ok_or_else(|| {
            broken("the object has no BTF (section .BTF): compile it with clang -g".into())
        })?;
        let btf = Btf::parse(&btf).map_err(|error| broken(error.to_string()))?;
        let mut maps = Vec::new();
        let mut sections = Vec::new();
        for (_, of) in btf.types() {
            let Kind::DataSec { vars, size } = &of.kind else { continue };
            match of.name.as_str() {
                ".maps" => {
                    for var in vars {
                        maps.push(map_def::read(&btf, var.var, file)?);
                    }
                }
                name if is_data(name) && *size > 0 => sections.push(Section {
                    name: name.into(),
                    size: *size as usize,
                    vars: vars.clone(),
                }),
                _ => {}
            }
        }
        let programs = programs(bytes, file)?;
        Ok(Self { btf, maps, sections, programs })
    }
}

/// Whether libbpf makes a map of this section that user space can map.
fn is_data(name: &str) -> bool {
    [".rodata", ".data", ".bss"].iter().any(|kind| {
        name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Name and type of a variable.
pub(crate) fn variable(btf: &Btf, id: TypeId) -> Option<(String, TypeId)> {
    match btf.get(id) {
        Ok(var) => match var.kind {
            Kind::Var { of, .. } => Some((var.name.clone(), of)),
            _ => None,
        },
        Err(_) => None,
    }
}

/// The bytes of a section of an ELF object.
pub(crate) fn section(bytes: &[u8], name: &str) -> Result<Option<Vec<u8>>, String> {
    let damaged = |error: object::Error| format!("not an ELF object, or a damaged one: {error}");
    let elf = object::File::parse(bytes).map_err(damaged)?;
    if elf.architecture() != object::Architecture::Bpf {
        return Err("an ELF object, but not one for BPF".into());
    }
    let Some(section) = elf.section_by_name(name) else { return Ok(None) };
    Ok(Some(section.data().map_err(damaged)?.to_vec()))
}

/// The programs, from libbpf, which will have to open this object too.
fn programs(bytes: &[u8], file: &Path) -> Result<Vec<Program>, Error> {
    let before = libbpf_rs::set_print(Some((PrintLevel::Warn, |_, text| {
        SAID.with_borrow_mut(|said| said.push_str(&text));
    })));
    SAID.take();
    let opened = ObjectBuilder::default().open_memory(bytes).map(|object| {
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        let programs = object.progs().map(|program| Program {
            name: text(program.name()),
            section: text(program.section()),
        });
        programs.collect()
    });
    libbpf_rs::set_print(before);
    opened.map_err(|error| {
        let said = SAID.take();
        let said = said.trim();
        let what = if said.is_empty() { format!("{error:#}") } else { said.to_owned() };
        Error::Object { file: file.into(), what: format!("libbpf cannot open the object: {what}") }
    })
}
