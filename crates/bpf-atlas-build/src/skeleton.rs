//! libbpf-cargo's skeleton, and the names that it cannot take.

use std::collections::BTreeSet;
use std::path::Path;

use bpf_atlas_btf::Kind;
use libbpf_cargo::SkeletonBuilder;

use crate::names;
use crate::object::{Object, Program};
use crate::said;

/// Names of its own that the skeleton uses beside the maps and programs.
const OF_MAPS: &[&str] = &["object", "config", "name", "map", "_phantom"];
const OF_PROGRAMS: &[&str] = &["object", "name", "prog", "_phantom"];
/// Names in Rust that a type of the same name would hide.
const OF_TYPES: &[&str] = &[
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "Eq",
    "Option",
    "PartialEq",
    "StructOps",
    "bool",
    "core",
    "f32",
    "f64",
    "i128",
    "i16",
    "i32",
    "i64",
    "i8",
    "libbpf_rs",
    "libbpf_sys",
    "std",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
];

/// Why libbpf-cargo's skeleton of this object would not compile, if a name is
/// the reason.
pub(crate) fn obstacle(object: &Object, programs: &[Program], name: &str) -> Option<String> {
    if name.split('_').any(str::is_empty) {
        return Some(format!("libbpf-cargo cannot take the name `{name}`"));
    }
    let keyword = |name: &str| names::ident(name) != name;
    let sections: BTreeSet<_> = (object.btf.types())
        .filter(|(_, of)| matches!(of.kind, Kind::DataSec { .. }) && of.name != ".ksyms")
        .map(|(_, of)| of.name.trim_start_matches('.').replace('.', "_"))
        .collect();
    for map in &object.maps {
        let map = &map.name;
        let of_section = map.strip_suffix("_data").is_some_and(|name| sections.contains(name));
        if keyword(map) || OF_MAPS.contains(&map.as_str()) || sections.contains(map) || of_section {
            return Some(format!("it would not compile with a map named `{map}`"));
        }
    }
    for program in programs {
        let program = &program.name;
        if keyword(program) || OF_PROGRAMS.contains(&program.as_str()) {
            return Some(format!("it would not compile with a program named `{program}`"));
        }
    }
    let mut enums = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (_, of) in object.btf.types() {
        let name = &of.name;
        match &of.kind {
            Kind::Composite { .. } | Kind::Enum { .. }
                if !name.is_empty()
                    && (keyword(name)
                        || sections.contains(name)
                        || OF_TYPES.contains(&name.as_str())) =>
            {
                return Some(format!("it would not compile with a type named `{name}`"));
            }
            // It tells them apart, but not the unnamed types inside.
            Kind::Composite { .. } if !name.is_empty() && !seen.insert(name) => {
                return Some(format!("it would not compile with two types named `{name}`"));
            }
            Kind::Var { global: true, .. } if keyword(name) => {
                return Some(format!("it would not compile with a variable named `{name}`"));
            }
            _ => {}
        }
        if let Kind::Enum { values, size, signed } = &of.kind {
            enums.clear();
            for (name, value) in values {
                let most = 1_i128 << (size * 8).min(64);
                let fits = if *signed { *value < most / 2 } else { (0..most).contains(value) };
                if keyword(name) || !enums.insert(name) || !fits {
                    return Some(format!("it would not compile with the enum constant `{name}`"));
                }
            }
        }
    }
    None
}

/// Writes the skeleton of `object` to `to`.
pub(crate) fn write(object: &Path, to: &Path) -> Result<(), String> {
    let generate = || {
        SkeletonBuilder::new()
            .obj(object)
            .reference_obj(true)
            // A path that does not exist: a missing rustfmt is passed over, one that
            // fails would fail the build, and nobody reads this code.
            .rustfmt(to.with_extension("unformatted"))
            .generate(to)
            .map_err(|error| format!("{error:#}"))
    };
    // It panics on names that it does not expect.
    said::by_libbpf(generate)
}
