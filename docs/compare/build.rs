//! Compiles the kernel half: one object for most mistakes, one for each version of the upgrade.

use std::env;
use std::path::Path;

use bpf_atlas_build::Builder;
use libbpf_cargo::SkeletonBuilder;

fn main() {
    println!("cargo::rerun-if-changed=src/compare.bpf.c");
    println!("cargo::rerun-if-changed=src/upgrade.bpf.c");
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let out = Path::new(&out);
    let builder = |source: &str, object: &str, define: &str| {
        let mut builder = SkeletonBuilder::new();
        builder.source(source).obj(out.join(object)).clang_args(["-I../../include", define]);
        builder
    };
    // With the skeleton, for the types that libbpf-cargo generates.
    builder("src/compare.bpf.c", "compare.bpf.o", "-DCOMPARE")
        .build_and_generate(out.join("compare.skel.rs"))
        .unwrap_or_else(|error| panic!("compare.bpf.c: {error:#}"));
    for version in ["FIRST", "GREW", "REORDERED", "WIDE"] {
        builder("src/upgrade.bpf.c", &format!("{version}.bpf.o"), &format!("-D{version}"))
            .build()
            .unwrap_or_else(|error| panic!("upgrade.bpf.c: {error:#}"));
    }

    // And the modules that bpf-atlas-build generates, beside those objects and not in their place.
    let modules = out.join("modules");
    Builder::new("src/compare.bpf.c")
        .clang_arg("-DGENERATED")
        .skeleton(false)
        .out_dir(&modules)
        .build_or_exit();
    for version in ["FIRST", "GREW", "REORDERED"] {
        Builder::object(out.join(format!("{version}.bpf.o")))
            .skeleton(false)
            .out_dir(&modules)
            .build_or_exit();
    }
}
