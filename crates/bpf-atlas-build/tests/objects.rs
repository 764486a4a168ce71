//! Objects that are compiled already, good and bad.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use bpf_atlas_build::{Builder, Error};

mod support;
use support::{Dir, map, refused};

/// libbpf looks for the section and gives up with a number alone.
#[test]
fn constants_that_the_compiler_moved_are_refused_by_name() {
    let text = format!(
        "{}SEC(\"syscall\") int run(void *ctx) {{ static const char text[16] = \"abcdefghijklmno\"; \
         struct named {{ char of[16]; }} value; int key = 0; \
         __builtin_memcpy(value.of, text, 16); return bpf_map_update_elem(&m, &key, &value, 0); }}",
        map("m", "int", "struct { char of[16]; }")
    );
    let (error, said) = refused("moved", &text);
    assert!(matches!(error, Error::Object { .. }), "{said}");
    assert!(said.contains("no section .rodata") && said.contains("`run.text`"), "{said}");
    assert!(said.contains("const volatile"), "{said}");
}

fn object(dir: &Dir) -> PathBuf {
    let text = format!(
        "struct flow {{ long a; int b[3]; }}; const volatile int wanted = 4; long seen;\n{}\
         SEC(\"syscall\") int run(void *ctx) {{ return seen += wanted; }}",
        map("flows", "int", "struct flow")
    );
    dir.builder(&text).build().unwrap();
    dir.0.join("out/x.bpf.o")
}

#[test]
fn an_object_gives_the_same_module_as_its_source() {
    let dir = Dir::new("object");
    let object = object(&dir);
    let from_source = dir.built();
    let copy = dir.0.join("x.o");
    fs::copy(&object, &copy).unwrap();
    Builder::object(&copy).out_dir(dir.0.join("out")).build().unwrap();
    let without_first_line = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!(without_first_line(&dir.built()), without_first_line(&from_source));
}

#[test]
fn an_object_that_is_none_is_refused() {
    let dir = Dir::new("damaged");
    let build = |bytes: &[u8]| {
        let path = dir.0.join("y.o");
        fs::write(&path, bytes).unwrap();
        let error = Builder::object(&path).out_dir(dir.0.join("out")).build().unwrap_err();
        assert!(error.to_string().contains("y.o: "), "{error}");
        error.to_string()
    };
    assert!(build(b"hello").contains("not an ELF object"));
    let host = fs::read("/proc/self/exe").unwrap();
    assert!(build(&host).contains("not one for BPF"));
    let whole = fs::read(object(&dir)).unwrap();
    for len in (0..whole.len()).step_by(whole.len() / 40) {
        build(&whole[..len]);
    }
    let missing = Builder::object(dir.0.join("none.o")).out_dir(&dir.0).build().unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

/// Both found by the test of damaged objects: libbpf's linker would read at 0, and
/// write a file of 16 GiB.
#[test]
fn sections_that_no_program_has_are_refused() {
    let dir = Dir::new("sections");
    let good = fs::read(object(&dir)).unwrap();
    let headers = u64::from_ne_bytes(good[0x28..0x30].try_into().unwrap()) as usize;
    let of = |at: usize| u32::from_ne_bytes(good[at..at + 4].try_into().unwrap());
    // PROGBITS, with the flags ALLOC and EXECINSTR, and not empty.
    let code = (headers..good.len())
        .step_by(64)
        .find(|at| of(at + 4) == 1 && of(at + 8) == 6 && of(at + 32) > 0);
    let code = code.unwrap();
    let refused = |at: usize, value: u64, words: &str| {
        let mut bytes = good.clone();
        let len = if at == 4 { 4 } else { 8 };
        bytes[code + at..code + at + len].copy_from_slice(&value.to_ne_bytes()[..len]);
        let path = dir.0.join("sections.o");
        fs::write(&path, bytes).unwrap();
        let error = Builder::object(&path).out_dir(dir.0.join("out")).build().unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    // Its type, NOBITS; its alignment; its size.
    refused(4, 8, "relocations of what has no bytes");
    refused(48, 1 << 34, "aligned to 17179869184");
    refused(32, 1 << 40, "section syscall has 1099511627776 bytes");
}

#[test]
fn an_object_without_types_is_refused() {
    let dir = Dir::new("btf");
    let source = dir.source("x.bpf.c", "int a;");
    let include = dir.0.join("out/bpf-atlas-include");
    dir.builder("").build().unwrap();
    let object = dir.0.join("plain.o");
    let clang = std::process::Command::new("clang")
        .args(["-target", "bpf", "-O2", "-c", "-I"])
        .args([&include, &source, Path::new("-o"), &object])
        .status();
    assert!(clang.unwrap().success());
    let error = Builder::object(&object).out_dir(dir.0.join("out")).build().unwrap_err();
    assert!(error.to_string().contains("no BTF") && error.to_string().contains("-g"), "{error}");
}
