//! Where the generator puts bitfields, and how they are read and written there,
//! for machines of both byte orders: clang folds initialised structs into
//! bytes, as it would for a machine of that order.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use bpf_atlas_btf::bits::{read, read_signed, write};
use bpf_atlas_btf::{Btf, ByteOrder, Kind};
use object::{Object as _, ObjectSymbol as _};

use crate::collect::{At, Collector};
use crate::enums::Values;
use crate::object::section;
use crate::options::Options;
use crate::types::{FieldKind, Member, Place, Ty};

/// Name, members in C, and the value of each field.
const CASES: &[(&str, &str, &str)] = &[
    ("bytes", "__u8 a:1, b:3, c:4;", "a=1 b=5 c=9"),
    ("word", "__u32 a:3, b:10, c:19;", "a=5 b=682 c=262145"),
    ("long_ones", "__u64 a:40, b:23, c:1;", "a=733007751850 b=4194305 c=1"),
    ("signed_ones", "int a:5, b:11; long c:33;", "a=-3 b=-700 c=-4294967296"),
    ("bools", "bool on:1, off:1; __u8 rest:6;", "on=1 off=0 rest=33"),
    ("enums", "enum way way:3; __u32 more:29;", "way=2 more=268435457"),
    ("unnamed", "__u16 a:3; __u16 :4; __u16 b:9;", "a=6 b=257"),
    ("apart", "__u32 a:3; __u32 :0; __u32 b:5;", "a=7 b=17"),
    (
        "between",
        "__u8 x; __u16 a:5; __u16 b:11; __u32 y; __u8 c:2;",
        "x=1 a=21 b=1025 y=305419896 c=2",
    ),
    ("narrow_in_wide", "__u64 a:7; __u8 b:3; __u16 c:13; __u8 d;", "a=65 b=5 c=4097 d=200"),
    ("packed", "__u32 a:20, b:20, c:7; __u16 y; __u8 d:3;", "a=699051 b=559240 c=85 y=43981 d=6"),
    ("one_less", "__u32 a:31; __u32 b:1; __u64 c:63;", "a=1610612735 b=1 c=6917529027641081857"),
    ("full", "__u32 a:32; __u64 b:64;", "a=2271560481 b=9838263505978427528"),
    ("nested", "__u8 a:4; struct { __u16 b:5, c:6; __u8 d; }; __u8 e:4;", "a=10 b=19 c=33 d=7 e=5"),
    ("aligned", "__u8 a:3; __u8 b:5 __attribute__((aligned(4))); __u8 c:2;", "a=5 b=17 c=1"),
];

/// Members of unions, of which one is set.
const UNIONS: &[(&str, &str, &str)] = &[
    ("union_low", "__u32 a:5; __u16 b:9; __u64 c;", "b=300"),
    ("union_high", "__u64 a:41; int b:7;", "a=1099511627777"),
    ("union_signed", "__u64 a; int b:7;", "b=-60"),
];

fn values(list: &str) -> impl Iterator<Item = (&str, i128)> {
    list.split(' ').map(|value| {
        let (name, value) = value.split_once('=').unwrap();
        (name, value.parse().unwrap())
    })
}

fn source() -> String {
    let mut text = "#define bool _Bool\n\
        typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned __u32;\n\
        typedef unsigned long long __u64; enum way { WAY_IN, WAY_OUT = 2 };\n"
        .to_owned();
    let all = CASES.iter().map(|case| ("struct", case));
    for (word, (name, members, list)) in all.chain(UNIONS.iter().map(|case| ("union", case))) {
        let packed = if *name == "packed" { "__attribute__((packed))" } else { "" };
        let set: Vec<_> =
            values(list).map(|(field, value)| format!(".{field} = {value}ULL")).collect();
        let set = set.join(", ").replace("= -", "= (long long)-");
        writeln!(
            text,
            "{word} {name} {{ {members} }} {packed}; {word} {name} v_{name} = {{ {set} }};"
        )
        .unwrap();
    }
    text
}

/// The object for a machine of that order.
fn compile(target: &str) -> Vec<u8> {
    let dir = std::env::temp_dir().join(format!("atlas_bits_{target}_{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (from, to) = (dir.join("bits.c"), dir.join("bits.o"));
    std::fs::write(&from, source()).unwrap();
    let clang = std::env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let output = Command::new(clang)
        .args(["-target", target, "-g", "-O2", "-fno-common", "-w", "-c"])
        .args([&from, &PathBuf::from("-o"), &to])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let object = std::fs::read(to).unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    object
}

/// The bytes that clang made of a variable.
fn folded<'a>(elf: &object::File<'_>, data: &'a [u8], name: &str) -> &'a [u8] {
    let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap();
    let at = symbol.address() as usize;
    &data[at..at + symbol.size() as usize]
}

/// A field or member as a bitfield: whole bytes are one too.
struct Seen<'a> {
    name: &'a str,
    start: usize,
    width: u8,
    signed: bool,
}

impl<'a> Seen<'a> {
    fn new(at: usize, member: &'a Member, whole: u8, signed: bool) -> Self {
        let (start, width) = match member.place {
            Place::At(byte) => (byte * 8, whole),
            Place::Bits(start, width) => (start, width),
        };
        Self { name: &member.c_name, start: at * 8 + start, width, signed }
    }

    fn read(&self, bytes: &[u8], order: ByteOrder) -> i128 {
        match self.signed {
            true => read_signed(bytes, self.start, self.width, order),
            false => read(bytes, self.start, self.width, order) as i128,
        }
    }
}

fn check(target: &str, order: ByteOrder) {
    let object = compile(target);
    let elf = object::File::parse(&*object).unwrap();
    let data = section(&object, ".data").unwrap().unwrap();
    let btf = Btf::parse_in(&section(&object, ".BTF").unwrap().unwrap(), order).unwrap();
    let (options, enums) = (Options::new("bits.c".into()), Values::default());
    let mut collector = Collector::new(&btf, &options, &enums);
    for (name, _, list) in CASES.iter().chain(UNIONS) {
        let bytes = folded(&elf, &data, &format!("v_{name}"));
        let (id, of) = btf.types().find(|(_, of)| of.name == *name).unwrap();
        let Kind::Composite { union, size, .. } = of.kind else { panic!("{name}") };
        assert_eq!(bytes.len(), size as usize, "{name}");
        let at = At::new("Case", *name);
        let (mut fields, mut members) = (Vec::new(), Vec::new());
        if union {
            members = collector.union(id, bytes.len(), &at).unwrap().0.members;
        } else {
            fields = collector.structure(id, &at).unwrap().0.fields;
        }
        let facts = |ty: &Ty| {
            let ty = collector.types.behind(ty);
            let signed = matches!(ty, Ty::Int { signed: true, .. });
            (collector.types.facts(ty).0 as u8 * 8, signed)
        };
        let mut seen: Vec<Seen<'_>> = Vec::new();
        for member in &members {
            let (whole, signed) = facts(&member.ty);
            seen.push(Seen::new(0, member, whole, signed));
        }
        for field in &fields {
            match &field.kind {
                FieldKind::Bits(members) => seen
                    .extend(members.iter().map(|m| Seen::new(field.offset, m, 0, facts(&m.ty).1))),
                FieldKind::Plain => {
                    let (width, signed) = facts(&field.ty);
                    let (name, start) = (&*field.c_name, field.offset * 8);
                    seen.push(Seen { name, start, width, signed });
                }
                _ => {}
            }
        }
        let mut made = vec![0; bytes.len()];
        for (field, value) in values(list) {
            let place = seen.iter().find(|seen| seen.name == field).unwrap();
            assert_eq!(place.read(bytes, order), value, "{target}: {name}.{field} of {bytes:02x?}");
            write(&mut made, place.start, place.width, value as u128, order);
        }
        assert_eq!(made, bytes, "{target}: {name} written");
    }
}

#[test]
fn bitfields_lie_where_clang_puts_them_on_a_little_endian_machine() {
    check("bpfel", ByteOrder::Little);
}

#[test]
fn bitfields_lie_where_clang_puts_them_on_a_big_endian_machine() {
    check("bpfeb", ByteOrder::Big);
}

/// A module is for the machine that it is generated on.
#[test]
fn objects_of_the_other_byte_order_are_refused_in_words() {
    let other = if ByteOrder::NATIVE == ByteOrder::Big { "bpfel" } else { "bpfeb" };
    let error = crate::object::Object::read(&compile(other), "x.o".as_ref()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("x.o: ") && said.contains("the other byte order"), "{said}");
}
