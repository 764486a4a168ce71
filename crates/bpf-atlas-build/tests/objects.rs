//! Objects that are compiled already, good and bad.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use bpf_atlas_btf::{Btf, Kind, Type};
use bpf_atlas_build::{Builder, Error};
use object::{Object as _, ObjectSection as _};

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

/// Both found by the test of damaged objects: libbpf-rs asks for an alignment, which has
/// no end in one and is 0 in the other.
#[test]
fn types_that_no_c_has_are_refused_by_name() {
    let dir = Dir::new("types");
    let text = "struct far; struct node { long a; int few[3]; struct far *far; }; \
                static __attribute__((noinline)) long run(struct node *node) { return node->a; } \
                struct node one; SEC(\"syscall\") int start(void *ctx) { return run(&one); }";
    dir.builder(text).skeleton(false).build().unwrap();
    let good = fs::read(dir.0.join("out/x.bpf.o")).unwrap();
    let elf = object::File::parse(&*good).unwrap();
    let (start, len) = elf.section_by_name(".BTF").unwrap().file_range().unwrap();
    let btf = start as usize..(start + len) as usize;
    let types = Btf::parse(&good[btf.clone()]).unwrap();
    let id = |wanted: &dyn Fn(&Type) -> bool| types.types().find(|(_, of)| wanted(of)).unwrap().0;
    let node = id(&|of| of.name == "node" && matches!(of.kind, Kind::Composite { .. }));
    let few = id(&|of| matches!(of.kind, Kind::Array { len: 3, .. }));
    let far = id(&|of| of.name == "far");
    let Kind::Array { element: int, .. } = types.get(few).unwrap().kind else { panic!() };

    // Words of types that are there once, and what they become.
    let refused = |changes: &[(&[u32], &[u32])], words: &str| {
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut object = good.clone();
        for (from, to) in changes {
            let (from, to): (Vec<u8>, Vec<u8>) = (bytes(from), bytes(to));
            let mut found = (btf.clone()).step_by(4).filter(|&at| object[at..].starts_with(&from));
            let (at, None) = (found.next().unwrap(), found.next()) else { panic!("there twice") };
            object[at..at + to.len()].copy_from_slice(&to);
        }
        let path = dir.0.join("types.o");
        fs::write(&path, object).unwrap();
        let error = Builder::object(&path).out_dir(dir.0.join("out")).build().unwrap_err();
        assert!(error.to_string().contains("types.o: "), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    let info = |kind: u32| kind << 24;
    let itself = format!("BTF type {node} contains itself");
    let index = array_index(&good[btf.clone()], int);
    let array = |element, len| [0, info(3), 0, element, index, len];
    refused(&[(&array(int, 3), &array(node, 0))], &itself);
    // The pointer a `const` of what is declared only, and that an enum.
    let declared = [info(7), 0];
    let sizeless = [(&[0, info(2), far][..], &[0, info(10), far][..]), (&declared, &[info(6), 0])];
    refused(
        &sizeless,
        &format!("BTF type {node}, `struct node`, holds something without a size: `far`"),
    );
}

/// The type of an index of the array of 3 of these.
fn array_index(btf: &[u8], element: u32) -> u32 {
    let words: Vec<_> =
        btf.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
    let array = words.windows(6).find(|of| of[1] == 3 << 24 && of[3] == element && of[5] == 3);
    array.unwrap()[4]
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
