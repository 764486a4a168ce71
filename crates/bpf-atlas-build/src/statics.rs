//! `static` maps, which libbpf refuses: made global in the object.
//!
//! libbpf knows a map by the symbol that a relocation names. For a `static`
//! map clang names the section instead, and puts the map's offset into the
//! instruction. So each such relocation is pointed at the map's own symbol, and
//! the map is made global in the table of symbols and in BTF.

use object::elf::{
    FileHeader64, SHF_EXECINSTR, SHT_REL, SHT_SYMTAB, STB_GLOBAL, STB_LOCAL, STT_OBJECT,
    STT_SECTION,
};
use object::read::elf::{FileHeader as _, Rel as _, SectionHeader as _, Sym as _};
use object::{Endianness, SymbolIndex};

/// Relocations of BPF: an instruction that loads an address, and data.
const R_BPF_64_64: u32 = 1;
const R_BPF_64_ABS64: u32 = 2;

/// A change: so many bytes at an offset of the file.
type Patch = (usize, Vec<u8>);

/// Makes `static` maps global. Gives whether there were any.
pub(crate) fn globalise(bytes: &mut [u8]) -> Result<bool, String> {
    let patches = patches(bytes).map_err(|what| format!("a damaged ELF object: {what}"))?;
    for (at, new) in &patches {
        let place = at.checked_add(new.len()).and_then(|end| bytes.get_mut(*at..end));
        place.ok_or("a damaged ELF object: an offset outside")?.copy_from_slice(new);
    }
    Ok(!patches.is_empty())
}

fn patches(bytes: &[u8]) -> Result<Vec<Patch>, String> {
    let text = |error: object::Error| error.to_string();
    let elf = FileHeader64::<Endianness>::parse(bytes).map_err(text)?;
    let endian = elf.endian().map_err(text)?;
    let sections = elf.sections(endian, bytes).map_err(text)?;
    let find = |name: &[u8]| sections.section_by_name(endian, name);
    let (Some((maps, _)), Some((_, btf))) = (find(b".maps"), find(b".BTF")) else {
        return Ok(Vec::new());
    };
    let btf_at = btf.sh_offset(endian) as usize;
    let btf = btf.data(endian, bytes).map_err(text)?;
    let linkages = static_linkages(btf).ok_or("its BTF is cut off")?;
    if linkages.is_empty() {
        return Ok(Vec::new());
    }
    const GLOBAL: u32 = 1;
    let mut patches: Vec<Patch> =
        linkages.into_iter().map(|at| (btf_at + at, GLOBAL.to_ne_bytes().to_vec())).collect();

    let symbols = sections.symbols(endian, bytes, SHT_SYMTAB).map_err(text)?;
    let in_maps = |index: SymbolIndex| {
        let symbol = symbols.symbol(index).ok()?;
        let section = symbols.symbol_section(endian, symbol, index).ok()??;
        (section == maps).then_some(symbol)
    };
    let table = sections.iter().find(|header| header.sh_type(endian) == SHT_SYMTAB);
    let table = table.ok_or("no symbols")?.sh_offset(endian) as usize;
    for index in (1..symbols.len()).map(SymbolIndex) {
        let local = in_maps(index).filter(|symbol| symbol.st_type() == STT_OBJECT);
        if local.is_some_and(|symbol| symbol.st_bind() == STB_LOCAL) {
            // Its binding and type, 4 bytes into an entry of 24.
            patches.push((table + index.0 * 24 + 4, vec![STB_GLOBAL.0 << 4 | STT_OBJECT.0]));
        }
    }
    for header in sections.iter().filter(|header| header.sh_type(endian) == SHT_REL) {
        let Some((relocations, _)) = header.rel(endian, bytes).map_err(text)? else { continue };
        let target = header.info_link(endian);
        let target = sections.section(target).map_err(text)?;
        let name = sections.section_name(endian, target).map_err(text)?;
        // BTF itself refers to sections too.
        let code = name == b".maps" || target.sh_flags(endian).0 & SHF_EXECINSTR.0 != 0;
        if !code {
            continue;
        }
        let target_at = target.sh_offset(endian) as usize;
        for (n, relocation) in relocations.iter().enumerate() {
            let index = SymbolIndex(relocation.r_sym(endian) as usize);
            if in_maps(index).is_none_or(|symbol| symbol.st_type() != STT_SECTION) {
                continue;
            }
            let place = target_at + relocation.r_offset(endian) as usize;
            // The offset in the section: in the instruction's constant, or as data.
            let place = match relocation.r_type(endian).0 {
                R_BPF_64_64 => place + 4,
                R_BPF_64_ABS64 => place,
                other => return Err(format!("relocation {other} of a map")),
            };
            let offset = bytes.get(place..place + 4).ok_or("a relocation outside")?;
            let offset = u32::from_ne_bytes([offset[0], offset[1], offset[2], offset[3]]);
            let own = (1..symbols.len()).map(SymbolIndex).find(|index| {
                in_maps(*index).is_some_and(|symbol| {
                    symbol.st_type() == STT_OBJECT && symbol.st_value(endian) == u64::from(offset)
                })
            });
            let own = own.ok_or_else(|| format!("no map at {offset} of section .maps"))?;
            let info = (own.0 as u64) << 32 | u64::from(relocation.r_type(endian).0);
            let entry = header.sh_offset(endian) as usize + n * 16 + 8;
            patches.push((entry, info.to_ne_bytes().to_vec()));
            patches.push((place, vec![0; 4]));
        }
    }
    Ok(patches)
}

/// Where in BTF the linkage of each `static` variable of `.maps` stands.
fn static_linkages(btf: &[u8]) -> Option<Vec<usize>> {
    let word = |at: usize| -> Option<u32> {
        let bytes = btf.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let header = word(4)? as usize;
    let (types, types_len) = (header + word(8)? as usize, word(12)? as usize);
    let (names, names_len) = (header + word(16)? as usize, word(20)? as usize);
    let names = btf.get(names..names.checked_add(names_len)?)?;
    let is_maps =
        |name: u32| names.get(name as usize..).is_some_and(|name| name.starts_with(b".maps\0"));
    // The place of each type, and the variables of the section.
    let mut places = vec![0];
    let mut vars = Vec::new();
    let end = types.checked_add(types_len)?;
    let mut at = types;
    while at < end {
        places.push(at);
        let info = word(at + 4)?;
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        if kind == 15 && is_maps(word(at)?) {
            for n in 0..count {
                vars.push(word(at + 12 + n * 12)? as usize);
            }
        }
        at += 12
            + match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => count * 12,
                6 | 13 => count * 8,
                _ => 0,
            };
    }
    let mut linkages = Vec::new();
    for var in vars {
        let linkage = places.get(var)? + 12;
        if word(linkage)? == 0 {
            linkages.push(linkage);
        }
    }
    Some(linkages)
}
