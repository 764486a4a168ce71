//! C types through the generator and the kernel: what the tests of generated
//! types share.
//!
//! A [`Case`] is a C type and its leaves: the scalars in it, each with a path
//! in C and one in Rust. A program writes a known value to every leaf; the
//! generated Rust reads them, builds the same value by itself and compares all
//! bytes; then Rust writes other values and a program compares them.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::outside::Crate;

/// What a leaf is, as far as its values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// So many bits, of a bitfield or an integer.
    Signed(u32),
    Unsigned(u32),
    /// A C enum of which so many bits are kept, and Rust's integer for it.
    Enum(u32, &'static str),
    Bool,
    /// An integer in network byte order.
    Big(u32),
    /// A floating point number.
    Float(u32),
}

/// A scalar inside a type.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// From the value on: `.peer.port`, `[2]`; nothing for the value itself.
    pub c: String,
    /// The same in Rust: `.peer().port`.
    pub rust: String,
    pub kind: Kind,
}

/// A C type that a map holds.
#[derive(Clone, Debug)]
pub struct Case {
    /// Part of the names of its map and programs.
    pub name: String,
    /// What C declares before the map.
    pub decl: String,
    /// The type of the map's values.
    pub ty: String,
    pub leaves: Vec<Leaf>,
}

/// The value of leaf `path` in a round, known to both sides.
fn known(case: &str, path: &str, round: u32, kind: Kind) -> i128 {
    let half = |half: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write(format!("{case}{path} {round} {half}").as_bytes());
        u128::from(hasher.finish())
    };
    let number = (half(0) << 64 | half(1)) as i128;
    let cut = |bits: u32, signed: bool| {
        let high = number << (128 - bits);
        if signed { high >> (128 - bits) } else { (high as u128 >> (128 - bits)) as i128 }
    };
    match kind {
        Kind::Signed(bits) => cut(bits, true),
        Kind::Unsigned(bits) | Kind::Big(bits) => cut(bits, false),
        Kind::Enum(bits, int) => cut(bits, int.starts_with('i')),
        // Never false: zero is what is there before.
        Kind::Bool => 1,
        Kind::Float(32) => i128::from((number as i16 as f32 / 4.0).to_bits()),
        Kind::Float(_) => i128::from((number as i32 as f64 / 8.0).to_bits()),
    }
}

/// A value as C writes it.
fn in_c(value: i128, kind: Kind) -> String {
    let bits = value as u128;
    match kind {
        Kind::Signed(128) | Kind::Unsigned(128) => format!(
            "((unsigned __int128){:#x}ULL << 64 | {:#x}ULL)",
            (bits >> 64) as u64,
            bits as u64
        ),
        Kind::Signed(_) => format!("(long long){:#x}ULL", bits as u64),
        Kind::Enum(_, int) if int.starts_with('i') => format!("(long long){:#x}ULL", bits as u64),
        Kind::Unsigned(_) | Kind::Enum(..) => format!("{:#x}ULL", bits as u64),
        Kind::Bool => "1".into(),
        Kind::Big(width) => format!("__builtin_bswap{width}({:#x}ULL)", bits as u64),
        Kind::Float(_) => format!("{bits:#x}ULL"),
    }
}

/// A leaf as C reads and writes it.
fn place(leaf: &Leaf) -> String {
    match leaf.kind {
        // Programs have no floating point numbers, but may carry their bits.
        Kind::Float(bits) => format!("*(__u{bits} *)&(*v){}", leaf.c),
        _ => format!("(*v){}", leaf.c),
    }
}

/// A value as Rust writes it.
fn in_rust(value: i128, kind: Kind) -> String {
    match kind {
        Kind::Signed(_) => value.to_string(),
        Kind::Unsigned(_) => (value as u128).to_string(),
        Kind::Enum(_, int) => format!("({value}{int}).into()"),
        Kind::Bool => "true.into()".into(),
        Kind::Big(width) => format!("::bpf_atlas::Be{width}::new({value})"),
        Kind::Float(32) => format!("f32::from_bits({value})"),
        Kind::Float(_) => format!("f64::from_bits({value})"),
    }
}

/// Reads `path` of `base`; copies before each accessor, since what is packed
/// cannot be borrowed.
fn read(base: &str, path: &str) -> String {
    match path.find("()") {
        None => format!("{base}{path}"),
        Some(at) => {
            let dot = path[..at].rfind('.').expect("a method of something");
            let (before, name, after) = (&path[..dot], &path[dot + 1..at], &path[at + 2..]);
            read(&format!("{{ {base}{before} }}.{name}()"), after)
        }
    }
}

/// Sets `path` of `base`.
fn set(base: &str, path: &str, value: &str) -> String {
    let Some(at) = path.find("()") else { return format!("{base}{path} = {value};") };
    let dot = path[..at].rfind('.').expect("a method of something");
    let (before, name, after) = (&path[..dot], &path[dot + 1..at], &path[at + 2..]);
    let bare = name.trim_start_matches("r#");
    // Shorter with each step inwards, so no name hides another.
    let (place, inner) = (format!("place{}", path.len()), format!("inner{}", path.len()));
    let call = match after {
        "" => format!("{place}.set_{bare}({value});"),
        _ => format!(
            "let mut {inner} = {place}.{name}(); {} {place}.set_{bare}({inner});",
            set(&inner, after, value)
        ),
    };
    format!("{{ let mut {place} = {base}{before}; {call} {base}{before} = {place}; }}")
}

impl Leaf {
    /// As `peer.port=peer().port:u16`: path in C, path in Rust if it is
    /// another, and kind. `.` is the value itself.
    pub fn parse(text: &str) -> Self {
        let (paths, kind) = text.rsplit_once(':').unwrap_or_else(|| panic!("`{text}`"));
        let (c, rust) = paths.split_once('=').unwrap_or((paths, paths));
        let from_value = |path: &str| match path {
            "." => String::new(),
            _ if path.starts_with('[') => path.into(),
            _ => format!(".{path}"),
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{kind}`"));
        let kind = match kind {
            "bool" => Kind::Bool,
            _ if kind.starts_with("be") => Kind::Big(number(&kind[2..])),
            _ if kind.starts_with('e') => {
                let int = kind.rfind(['i', 'u']).expect("an integer");
                let ints = ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"];
                let rust = ints.iter().find(|name| **name == &kind[int..]).expect("an integer");
                Kind::Enum(number(&kind[1..int]), rust)
            }
            _ if kind.starts_with('f') => Kind::Float(number(&kind[1..])),
            _ if kind.starts_with('i') => Kind::Signed(number(&kind[1..])),
            _ => Kind::Unsigned(number(&kind[1..])),
        };
        Self { c: from_value(c), rust: from_value(rust), kind }
    }
}

impl Case {
    /// A case with [`Leaf`]s as they are parsed, between spaces.
    pub fn new(name: &str, decl: &str, ty: &str, leaves: &str) -> Self {
        let leaves = leaves.split_whitespace().map(Leaf::parse).collect();
        Self { name: name.into(), decl: decl.into(), ty: ty.into(), leaves }
    }

    /// Map and programs.
    pub fn c(&self) -> String {
        let Self { name, decl, ty, leaves } = self;
        let mut out = format!(
            "{decl}\nstruct {{\n\t__uint(type, BPF_MAP_TYPE_ARRAY);\n\t__uint(max_entries, 1);\n\
             \t__type(key, __u32);\n\t__type(value, {ty});\n}} m_{name} SEC(\".maps\");\n\n"
        );
        let begin = |what| {
            format!(
                "SEC(\"syscall\")\nint {what}_{name}(void *ctx)\n{{\n\t__u32 zero = 0;\n\t{ty} *v = \
                 bpf_map_lookup_elem(&m_{name}, &zero);\n\n\tif (!v)\n\t\treturn -1;\n"
            )
        };
        out.push_str(&begin("fill"));
        for leaf in leaves {
            let value = in_c(known(name, &leaf.c, 1, leaf.kind), leaf.kind);
            writeln!(out, "\t{} = {value};", place(leaf)).unwrap();
        }
        out.push_str("\treturn 0;\n}\n\n");
        out.push_str(&begin("check"));
        for (n, leaf) in (1..).zip(leaves) {
            let value = in_c(known(name, &leaf.c, 2, leaf.kind), leaf.kind);
            writeln!(out, "\tif ({} != {value})\n\t\treturn {n};", place(leaf)).unwrap();
        }
        out.push_str("\treturn 0;\n}\n\n");
        out
    }

    /// A function of the case's name, which compares and tells differences.
    pub fn rust(&self) -> String {
        let Self { name, leaves, .. } = self;
        let value = |leaf: &Leaf, round| known(name, &leaf.c, round, leaf.kind);
        let fill = |round| {
            let sets = leaves
                .iter()
                .map(|leaf| set("w", &leaf.rust, &in_rust(value(leaf, round), leaf.kind)));
            sets.map(|line| format!("    {line}\n")).collect::<String>()
        };
        let compare: String = leaves
            .iter()
            .map(|leaf| {
                let is = read("v", &leaf.rust);
                let is = match leaf.kind {
                    Kind::Enum(..) => format!("{{ {is} }}.0"),
                    _ => format!("{{ {is} }}"),
                };
                format!("    bad.field({:?}, {is}, {});\n", leaf.c, value(leaf, 1))
            })
            .collect();
        let paths: Vec<_> = leaves.iter().map(|leaf| leaf.c.as_str()).collect();
        format!(
            "fn {name}(loaded: &mut Loaded, bad: &mut Bad) {{\n    bad.case({name:?});\n    \
             bad.ran(loaded.progs().fill_{name}().libbpf(run), &[]);\n    \
             let v = loaded.maps.m_{name}.lookup(0).unwrap();\n{compare}    \
             let mut w = zero_like(&v);\n{}    bad.same(&v, &w);\n{}    \
             loaded.maps.m_{name}.update(0, w).unwrap();\n    \
             bad.ran(loaded.progs().check_{name}().libbpf(run), &{paths:?});\n}}\n\n",
            fill(1),
            fill(2),
        )
    }
}

/// The C source with all cases; `more` goes behind them.
pub fn source(cases: &[Case], more: &str) -> String {
    let mut out = "#include \"vmlinux.h\"\n#include \"bpf_atlas.h\"\n\n\
                   char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n\n"
        .to_owned();
    cases.iter().for_each(|case| out.push_str(&case.c()));
    out + more
}

/// The Rust that opens module `module`, whose maps must be `proved`, and compares
/// all cases; `more` goes into
/// its function `all`, and what that calls behind it.
pub fn reader(module: &str, cases: &[Case], proved: bool, more: &str, behind: &str) -> String {
    let ask = if proved { "opened.require_proof();" } else { "" };
    let mut out = format!(
        "mod read_{module} {{\nuse crate::{{Bad, run, zero_like}};\nuse crate::{module}::*;\n\n\
         pub fn all(bad: &mut Bad) {{\n    bad.module = {module:?};\n    \
         let mut opened = open().unwrap();\n    {ask}\n    \
         let mut loaded = opened.load().unwrap_or_else(|e| panic!(\"{{e}}\"));\n"
    );
    for case in cases {
        writeln!(out, "    {}(&mut loaded, bad);", case.name).unwrap();
    }
    out.push_str(more);
    out.push_str("}\n\n");
    cases.iter().for_each(|case| out.push_str(&case.rust()));
    out + behind + "}\n"
}

/// The crate that all tests of generated types build, one after another.
pub fn sample() -> Crate {
    let library = env!("CARGO_MANIFEST_DIR");
    Crate::new(
        "outside-generated",
        &format!(
            "[dependencies]\nbpf-atlas = {{ path = {library:?}, default-features = false }}\n\
             libbpf-rs = \"0.27\"\n\n[profile.dev]\ndebug = false\nincremental = false\n"
        ),
    )
}

/// Writes `text` to `folder` and generates module `name` of it there.
pub fn generate(
    folder: &Path,
    name: &str,
    text: &str,
    clang: &str,
) -> Result<PathBuf, bpf_atlas_build::Error> {
    let source = folder.join(format!("{name}.bpf.c"));
    fs::write(&source, text).expect("write into a folder of our own");
    // A crate that forbids unsafe code has no use for the skeleton.
    let mut builder = bpf_atlas_build::Builder::new(source);
    builder.clang(clang).include(folder).out_dir(folder).skeleton(false).build()?;
    Ok(folder.join(format!("{name}.rs")))
}

/// Builds the crate of `main` with modules of these names, and runs it.
pub fn run(made: &Crate, modules: &[(String, PathBuf)], readers: &str) -> String {
    let mut main = include_str!("../outside/generated/src/main.rs").to_owned();
    for (name, path) in modules {
        writeln!(main, "\n#[path = {:?}]\npub mod {name};", path.display().to_string()).unwrap();
    }
    let calls = modules.iter().map(|(name, _)| format!("    read_{name}::all(&mut bad);\n"));
    let calls: String = calls.collect();
    write!(
        main,
        "\n{readers}\nfn all() -> Bad {{\n    let mut bad = Bad::default();\n{calls}    bad\n}}\n"
    )
    .unwrap();
    made.write("src/main.rs", &main);
    let output = made.cargo("build").output().expect("run cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", said.chars().take(20_000).collect::<String>());
    let output = Command::new(made.path("target/debug/outside-generated")).output();
    let output = output.expect("run what was built");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    said.into_owned()
}

/// clang 14, or the only one there is, and the newest that is installed.
pub fn clangs() -> Vec<String> {
    let runs = |name: &String| Command::new(name).arg("--version").output().is_ok();
    let old = ["clang-14".to_owned(), "clang".to_owned()].into_iter().find(runs);
    let new = (15..40).rev().map(|version| format!("clang-{version}")).find(runs);
    old.into_iter().chain(new).collect()
}
