//! What an object declares: its BTF, its maps, its sections of variables; and
//! its programs.

use std::ffi::OsStr;
use std::path::Path;

use bpf_atlas_btf::{Btf, Error as BtfError, Kind, SecVar, TypeId};
use libbpf_rs::ObjectBuilder;
use object::elf::{FileHeader64, SHN_LORESERVE, SHT_NOBITS, SHT_SYMTAB, STT_SECTION};
use object::read::elf::{FileHeader as _, Rel as _, SectionHeader as _, Sym as _};
use object::{Endianness, Object as _, ObjectSection as _};

use crate::error::Error;
use crate::kconfig;
use crate::map_def::{self, MapDef};
use crate::said;

/// What the generator needs of an object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) btf: Btf,
    pub(crate) maps: Vec<MapDef>,
    pub(crate) sections: Vec<Section>,
}

/// The section whose variables the kernel's configuration gives.
pub(crate) const KCONFIG: &str = ".kconfig";

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

impl Object {
    /// Reads an object. `file` is what errors name.
    pub(crate) fn read(bytes: &[u8], file: &Path) -> Result<Self, Error> {
        let broken = |what: String| Error::Object { file: file.into(), what };
        let btf = section(bytes, ".BTF").map_err(broken)?.ok_or_else(|| {
            broken("the object has no BTF (section .BTF): compile it with clang -g".into())
        })?;
        is_sound(bytes).map_err(broken)?;
        if String::from_utf8(names(&btf).to_vec()).is_err() {
            return Err(broken("its BTF has names that are not text".into()));
        }
        // A type that contains itself or holds something without a size is refused here:
        // libbpf-rs panics over it, aborts, or does not end.
        let btf = Btf::parse(&btf).map_err(|error| match error {
            BtfError::ByteOrder => broken(
                "it is compiled for machines of the other byte order, and a module is for this \
                 one: compile it with `-target bpf`"
                    .into(),
            ),
            error => broken(error.to_string()),
        })?;
        for (id, _) in btf.types() {
            if let Err(error @ BtfError::TooLarge(_)) = btf.size_of(id) {
                return Err(broken(error.to_string()));
            }
        }
        let mut maps = Vec::new();
        let mut sections = Vec::new();
        let is_absent = |name| Ok(section(bytes, name).map_err(broken)?.is_none());
        for (_, of) in btf.types() {
            let Kind::DataSec { vars, size } = &of.kind else { continue };
            match of.name.as_str() {
                ".maps" => {
                    for var in vars {
                        maps.push(map_def::read(&btf, var.var, file)?);
                    }
                }
                // What the section of a `?` holds is not made unless that is asked for.
                ".struct_ops" | ".struct_ops.link" => {
                    for (name, _) in vars.iter().filter_map(|var| variable(&btf, var.var)) {
                        maps.push(MapDef::struct_ops(name));
                    }
                }
                KCONFIG => {
                    let placed = kconfig::lay_out(&btf, vars).ok_or_else(|| {
                        broken(
                            "a variable of section .kconfig has a type that libbpf refuses".into(),
                        )
                    })?;
                    let (name, (vars, size)) = (KCONFIG.into(), placed);
                    sections.push(Section { name, size, vars });
                }
                name if is_data(name) && *size == 0 && !vars.is_empty() && is_absent(name)? => {
                    return Err(broken(elsewhere(&btf, name, vars)));
                }
                name if is_data(name) && *size > 0 => sections.push(Section {
                    name: name.into(),
                    size: *size as usize,
                    vars: vars.clone(),
                }),
                _ => {}
            }
        }
        Ok(Self { btf, maps, sections })
    }
}

/// Constants of which the compiler made instructions or mergeable data: libbpf
/// looks for their section and gives up without a word.
fn elsewhere(btf: &Btf, section: &str, vars: &[SecVar]) -> String {
    let names = vars.iter().filter_map(|var| Some(format!("`{}`", variable(btf, var.var)?.0)));
    let names: Vec<_> = names.collect();
    format!(
        "the object has no section {section}, where its BTF says that {} would be: the compiler \
         put the constant elsewhere, and libbpf cannot open that; declare it `const volatile`",
        names.join(", ")
    )
}

/// The part of BTF that holds the names.
fn names(btf: &[u8]) -> &[u8] {
    let word = |at: usize| {
        let bytes = btf.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes) as usize
    };
    let start = word(4).saturating_add(word(16));
    btf.get(start..start.saturating_add(word(20))).unwrap_or_default()
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
pub(crate) fn programs(bytes: &[u8], file: &Path) -> Result<Vec<Program>, Error> {
    let opened = said::by_libbpf(|| {
        let object = ObjectBuilder::default().open_memory(bytes)?;
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let programs = object.progs().map(|program| Program {
            name: text(program.name()),
            section: text(program.section()),
        });
        Ok::<_, libbpf_rs::Error>(programs.collect())
    });
    opened.map_err(|said| Error::Object {
        file: file.into(),
        what: format!("libbpf cannot open the object: {said}"),
    })
}

/// No map is larger, whatever memory there is.
const MAX_SECTION: u64 = i32::MAX as u64;
/// libbpf's linker writes as many bytes before the section.
const MAX_ALIGN: u64 = 1 << 20;

/// Refuses what libbpf and libbpf-rs take on trust: names that are not text
/// end the process, and a relocation of a symbol that is not there is followed.
fn is_sound(bytes: &[u8]) -> Result<(), String> {
    let damaged = |error: object::Error| format!("a damaged ELF object: {error}");
    let elf = FileHeader64::<Endianness>::parse(bytes).map_err(damaged)?;
    let endian = elf.endian().map_err(damaged)?;
    let sections = elf.sections(endian, bytes).map_err(damaged)?;
    let text = |name: &[u8]| match std::str::from_utf8(name) {
        Ok(_) => Ok(()),
        Err(_) => Err("a damaged ELF object: a name is not text".to_owned()),
    };
    for section in sections.iter() {
        let name = sections.section_name(endian, section).map_err(damaged)?;
        text(name)?;
        let (size, align) = (section.sh_size(endian), section.sh_addralign(endian));
        if size > MAX_SECTION || align > MAX_ALIGN {
            let name = String::from_utf8_lossy(name);
            return Err(format!(
                "section {name} has {size} bytes, aligned to {align}: no program has such a section"
            ));
        }
        // libbpf prints it.
        if name == b"license" {
            let license = section.data(endian, bytes).map_err(damaged)?;
            text(license.split(|&byte| byte == 0).next().unwrap_or_default())?;
        }
    }
    let symbols = sections.symbols(endian, bytes, SHT_SYMTAB).map_err(damaged)?;
    for symbol in symbols.iter() {
        text(symbols.symbol_name(endian, symbol).map_err(damaged)?)?;
        let section = symbol.st_shndx(endian).0;
        let special = section >= SHN_LORESERVE && symbol.st_type() != STT_SECTION;
        if !special && usize::from(section) >= sections.len() {
            return Err(format!("a damaged ELF object: a symbol in section {section}"));
        }
    }
    for section in sections.iter() {
        let Some((relocations, _)) = section.rel(endian, bytes).map_err(damaged)? else {
            continue;
        };
        let target = sections.section(section.info_link(endian)).map_err(damaged)?;
        // libbpf's linker looks for the instructions.
        if target.sh_type(endian) == SHT_NOBITS {
            return Err("a damaged ELF object: relocations of what has no bytes".into());
        }
        for relocation in relocations {
            let symbol = relocation.r_sym(endian) as usize;
            // The shortest is of 4 bytes.
            let end = relocation.r_offset(endian).checked_add(4);
            if symbol >= symbols.len() || end.is_none_or(|end| end > target.sh_size(endian)) {
                return Err("a damaged ELF object: a relocation outside".into());
            }
        }
    }
    Ok(())
}
