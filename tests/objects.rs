//! Every C source of the tests compiles: also for machines without a compiler, to which the
//! objects are brought (`scripts/vm.sh`).
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::fs;
use std::path::Path;

#[test]
fn every_source_of_the_tests_compiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bpf");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let names = files.filter_map(|name| Some(name.to_str()?.strip_suffix(".bpf.c")?.to_string()));
    let objects: Vec<_> = names.map(|name| programs::compile(&name)).collect();
    assert!(objects.len() > 5, "{objects:?}");
    assert!(objects.iter().all(|object| object.exists()));
}
