//! Compiles the program against `bpf_atlas.h`, from the library beside this crate.

use std::path::Path;

fn main() {
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    let include = Path::new("../bpf-atlas").join("include");
    println!("cargo::rerun-if-changed=src/bpf");
    println!("cargo::rerun-if-changed={}", include.display());
    libbpf_cargo::SkeletonBuilder::new()
        .source("src/bpf/calls.bpf.c")
        .clang_args([Path::new("-I").as_os_str(), include.as_os_str()])
        .build_and_generate(Path::new(&out).join("calls.skel.rs"))
        .expect("the program compiles");
}
