//! Random C structs: generated, compiled, written in the kernel, read in Rust,
//! and the other way round. `BPF_ATLAS_FUZZ_SEED` gives other structs.
#![forbid(unsafe_code)]

#[path = "support/generated.rs"]
mod generated;
#[path = "support/outside.rs"]
mod outside;
mod support;
use generated::{Case, Kind, Leaf, clangs, generate, reader, run, sample, source};
use support::Folder;
use support::random::{Random, seed};

/// Structs in an object, and objects.
const STRUCTS: usize = 40;
const OBJECTS: usize = 8;
/// Structs inside structs inside structs inside one.
const DEPTH: u32 = 4;
/// Leaves after which a struct gets simple fields only.
const ENOUGH: usize = 30;

const ENUMS: &str = "enum way { WAY_IN, WAY_OUT = 9 };\n\
                     enum sign { SIGN_LESS = -1, SIGN_MORE = 1 };\n\
                     enum long_one { LONG_ONE = 1ULL << 40 };\n\n";

/// C type and what it holds.
const SCALARS: &[(&str, Kind)] = &[
    ("__u8", Kind::Unsigned(8)),
    ("__u16", Kind::Unsigned(16)),
    ("__u32", Kind::Unsigned(32)),
    ("__u64", Kind::Unsigned(64)),
    ("signed char", Kind::Signed(8)),
    ("short", Kind::Signed(16)),
    ("int", Kind::Signed(32)),
    ("long", Kind::Signed(64)),
    ("bool", Kind::Bool),
    ("__be16", Kind::Big(16)),
    ("__be32", Kind::Big(32)),
    ("enum way", Kind::Enum(32, "u32")),
    ("enum sign", Kind::Enum(32, "i32")),
    ("enum long_one", Kind::Enum(64, "u64")),
    ("__int128", Kind::Signed(128)),
    ("unsigned __int128", Kind::Unsigned(128)),
    // Last: the kernel refuses all BTF of an object with one that is not aligned, so
    // half of the objects have none.
    ("double", Kind::Float(64)),
];

/// Where members go: the paths of the struct that has them, and whether Rust
/// reaches them by methods, as the members of a union.
#[derive(Clone)]
struct At {
    c: String,
    rust: String,
    methods: bool,
    depth: u32,
}

impl At {
    /// Paths of a member; `index` of its elements.
    fn member(&self, name: &str, method: bool, index: &str) -> (String, String) {
        let call = if method || self.methods { "()" } else { "" };
        (format!("{}.{name}{index}", self.c), format!("{}.{name}{call}{index}", self.rust))
    }

    /// The struct or union that member `name` is.
    fn inside(&self, name: &str, index: &str, union: bool) -> Self {
        let (c, rust) = self.member(name, false, index);
        Self { c, rust, methods: union, depth: self.depth + 1 }
    }

    /// One without a name.
    fn unnamed(&self, union: bool) -> Self {
        Self { methods: self.methods || union, depth: self.depth + 1, ..self.clone() }
    }
}

struct Maker {
    random: Random,
    floats: bool,
    names: u32,
    leaves: Vec<Leaf>,
}

impl Maker {
    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn chance(&mut self, of_16: u64) -> bool {
        self.below(16) < of_16
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("f{}", self.names)
    }

    fn leaf(&mut self, (c, rust): (String, String), kind: Kind) {
        self.leaves.push(Leaf { c, rust, kind });
    }

    /// ` __attribute__((…))`, now and then.
    fn attribute(&mut self, packed: bool) -> String {
        let align = 1 << self.below(7);
        match self.below(12) {
            0 => format!(" __attribute__((aligned({align})))"),
            1 | 2 if packed => " __attribute__((packed))".into(),
            3 if packed => format!(" __attribute__((packed, aligned({align})))"),
            _ => String::new(),
        }
    }

    /// The members of a struct, as C declares them.
    fn members(&mut self, at: &At) -> String {
        let count = 1 + self.below(5);
        (0..count).map(|_| self.any(at)).collect()
    }

    fn any(&mut self, at: &At) -> String {
        let deep = at.depth >= DEPTH || self.leaves.len() >= ENOUGH;
        match self.below(if deep { 10 } else { 16 }) {
            0..4 => self.scalar(at),
            4 => self.text(at),
            5..7 => self.array(at),
            7..10 => self.bitfields(at),
            10 => {
                let inside = at.unnamed(false);
                let members = self.members(&inside);
                format!("struct {{ {members}}}{}; ", self.attribute(true))
            }
            11 => {
                let (name, len) = (self.name(), 1 + self.below(3));
                let inside = at.inside(&name, &format!("[{}]", self.below(len)), false);
                let members = self.members(&inside);
                format!("struct {{ {members}}}{} {name}[{len}]; ", self.attribute(true))
            }
            12 => self.union(at),
            _ => {
                let name = self.name();
                let inside = at.inside(&name, "", false);
                let members = self.members(&inside);
                format!("struct {{ {members}}}{} {name}; ", self.attribute(true))
            }
        }
    }

    fn scalar_type(&mut self) -> (&'static str, Kind) {
        let count = SCALARS.len() - usize::from(!self.floats);
        SCALARS[self.below(count as u64) as usize]
    }

    fn scalar(&mut self, at: &At) -> String {
        let (c, kind) = self.scalar_type();
        let name = self.name();
        self.leaf(at.member(&name, false, ""), kind);
        format!("{c} {name}{}; ", self.attribute(false))
    }

    fn text(&mut self, at: &At) -> String {
        let (name, len) = (self.name(), 1 + self.below(19));
        let last = format!("[{}]", len - 1);
        let (c, rust) = at.member(&name, false, "");
        // C's char has a sign and Rust's byte has none: 7 bits are the same.
        self.leaf((c + &last, format!("{rust}.0{last}")), Kind::Unsigned(7));
        format!("char {name}[{len}]; ")
    }

    fn array(&mut self, at: &At) -> String {
        let (c, kind) = self.scalar_type();
        let (name, rows, columns) = (self.name(), 1 + self.below(3), 1 + self.below(4));
        let rows = if self.chance(5) { Some(rows) } else { None };
        let size = rows.map_or(String::new(), |rows| format!("[{rows}]")) + &format!("[{columns}]");
        for _ in 0..1 + self.below(3) {
            let row = rows.map_or(String::new(), |rows| format!("[{}]", self.below(rows)));
            let index = row + &format!("[{}]", self.below(columns));
            let paths = at.member(&name, false, &index);
            if !self.leaves.iter().any(|leaf| leaf.c == paths.0) {
                self.leaf(paths, kind);
            }
        }
        format!("{c} {name}{size}; ")
    }

    fn bitfields(&mut self, at: &At) -> String {
        let mut out = String::new();
        for _ in 0..1 + self.below(4) {
            let bases = ["__u8", "__u16", "__u32", "__u64", "int", "long", "bool", "enum way"];
            let base = self.below(bases.len() as u64) as usize;
            let bits = [8, 16, 32, 64, 32, 64, 1, 32][base];
            if self.chance(1) && base < 6 {
                out.push_str(&format!("{} :{}; ", bases[base], self.below(bits + 1)));
            }
            let (name, width) = (self.name(), 1 + self.below(bits));
            let kind = match bases[base] {
                "bool" => Kind::Bool,
                "int" | "long" => Kind::Signed(width as u32),
                "enum way" => Kind::Enum(width as u32, "u32"),
                _ => Kind::Unsigned(width as u32),
            };
            self.leaf(at.member(&name, true, ""), kind);
            out.push_str(&format!("{} {name}:{width}; ", bases[base]));
        }
        out
    }

    /// A union, of which one member is used and the others only lie there.
    fn union(&mut self, at: &At) -> String {
        let (inside, name) = match self.chance(8) {
            true => (at.unnamed(true), String::new()),
            false => {
                let name = self.name();
                (at.inside(&name, "", true), format!(" {name}"))
            }
        };
        let before = self.leaves.len();
        let used = self.one_field(&inside);
        let after = self.leaves.len();
        let mut other = || {
            let out = self.one_field(&inside);
            self.leaves.truncate(after);
            out
        };
        let (first, last) = (other(), other());
        assert!(before < after);
        format!("union {{ {first}{used}{last}}}{}{name}; ", self.attribute(false))
    }

    /// A member whose leaves do not lie over one another.
    fn one_field(&mut self, at: &At) -> String {
        match self.below(6) {
            0 => self.array(at),
            1 => self.text(at),
            2 => {
                let name = self.name();
                let members = self.members(&at.inside(&name, "", false));
                format!("struct {{ {members}}}{} {name}; ", self.attribute(true))
            }
            3 => {
                let members = self.members(&at.unnamed(false));
                format!("struct {{ {members}}}{}; ", self.attribute(true))
            }
            _ => self.scalar(at),
        }
    }
}

fn random_case(seed: u64, name: &str, floats: bool) -> Case {
    let mut maker = Maker { random: Random(seed), floats, names: 0, leaves: Vec::new() };
    let at = At { c: String::new(), rust: String::new(), methods: false, depth: 1 };
    let members = maker.members(&at);
    let decl = format!("struct {name} {{ {members}}}{};\n", maker.attribute(true));
    Case { name: name.into(), decl, ty: format!("struct {name}"), leaves: maker.leaves }
}

#[test]
fn random_structs_go_through_the_kernel_and_back() {
    let (folder, clangs) = (Folder::new(), clangs());
    let mut random = seed(20_260_101);
    let mut modules = Vec::new();
    let mut readers = String::new();
    let mut fields = 0;
    for object in 0..OBJECTS {
        let module = format!("random_{object}");
        let names = (0..STRUCTS).map(|n| format!("s{object}_{n}"));
        // By pairs, so that each clang has both sorts.
        let floats = object / 2 % 2 == 0;
        let cases = names.map(|name| random_case(random.next(), &name, floats));
        let mut cases: Vec<_> = cases.collect();
        cases[0].decl.insert_str(0, ENUMS);
        fields += cases.iter().map(|case| case.leaves.len()).sum::<usize>();
        let clang = &clangs[object % clangs.len()];
        let made = generate(folder.path(), &module, &source(&cases, ""), clang);
        let path = made.unwrap_or_else(|error| panic!("{clang}: {error}"));
        modules.push((module.clone(), path));
        readers.push_str(&reader(&module, &cases, !floats, "", ""));
    }
    let said = run(&sample(), &modules, &readers);
    println!("{said}");
    const { assert!(OBJECTS * STRUCTS >= 300) };
    assert_eq!(said.trim(), format!("{} types, {fields} fields", OBJECTS * STRUCTS));
}
