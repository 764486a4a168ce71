//! The proof against real BTF: `tests/bpf/proof.bpf.c`, loaded, and its map's
//! types as the kernel tells them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::layout::{Field, LayoutKind};
use crate::random::{number, seed};
use crate::{Hash, Pod, RawMap, agent};
use bpf_atlas_btf::Error as BtfError;

#[path = "../../tests/support/reference.rs"]
mod reference;
use reference::{Key, Peer, Reference};

/// The map of `tests/bpf/proof.bpf.c` in the kernel.
fn flows() -> RawMap {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    // Tests may run side by side.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("bpf-atlas-proof-{}-{number}.o", std::process::id());
    let object = std::env::temp_dir().join(name);
    libbpf_cargo::SkeletonBuilder::new()
        .source(root.join("tests/bpf/proof.bpf.c"))
        .obj(&object)
        .clang_args([format!("-I{}", root.join("include").display())])
        .build()
        .unwrap();
    let loaded = agent::load(agent::open_file(&object).unwrap()).unwrap();
    std::fs::remove_file(object).unwrap();
    agent::Attached::new(&loaded).unwrap().map("flows").unwrap().clone()
}

fn leak(layout: Layout) -> &'static Layout {
    Box::leak(Box::new(layout))
}

fn fields_of(layout: &Layout) -> Vec<Field> {
    match layout.kind {
        LayoutKind::Struct { fields } => fields.to_vec(),
        _ => unreachable!(),
    }
}

fn with_fields(fields: Vec<Field>) -> Layout {
    Layout { kind: LayoutKind::Struct { fields: fields.leak() }, ..Reference::LAYOUT }
}

/// Every way in which the field could be written wrongly.
fn mutations(field: Field) -> Vec<(&'static str, Field)> {
    let layout = *field.layout;
    let with = |layout: Layout| Field { layout: leak(layout), ..field };
    let mut all = vec![
        ("name", Field { name: "another", ..field }),
        ("offset", Field { offset: field.offset + 1, ..field }),
        ("type", with(Layout::float("f32", layout.size, layout.align))),
        (
            "nesting",
            with(Layout::structure(
                "Nested",
                layout.size,
                layout.align,
                vec![Field::new("inner", 0, leak(layout))].leak(),
            )),
        ),
    ];
    match layout.kind {
        LayoutKind::Int { signed } => {
            let int = |size, signed| with(Layout::int("int", size, layout.align, signed));
            all.push(("wider", int(layout.size * 2, signed)));
            if layout.size > 1 {
                all.push(("narrower", int(layout.size / 2, signed)));
            }
            // An enum's sign is not known to every compiler, and a bool has none.
            if !matches!(field.name, "state" | "on") {
                all.push(("sign", int(layout.size, !signed)));
            }
            let list = Layout::array(layout.size, layout.align, field.layout, 1);
            all.push(("an array of one", with(list)));
        }
        LayoutKind::Array { element, len } => {
            for len in [len - 1, len + 1] {
                let size = element.size * len;
                all.push(("length", with(Layout::array(size, layout.align, element, len))));
            }
        }
        _ => {}
    }
    all
}

fn refused(map: &RawMap, layout: &Layout, field: &str, how: &str) {
    let error = match of_map(map, &Key::LAYOUT, layout) {
        Err(error @ OpenError::Types { .. }) => error,
        other => panic!("{field}, {how}: {other:?}"),
    };
    let OpenError::Types { mismatches, .. } = &error else { unreachable!() };
    let named = mismatches.iter().flat_map(Mismatch::fields).any(|name| name.starts_with(field));
    assert!(named, "{field}, {how}: not named in\n{error}");
}

/// One mutation of each sort for each field: all refused, all with the field named.
#[test]
fn each_wrong_field_is_refused_by_name() {
    let map = flows();
    let reference = fields_of(&Reference::LAYOUT);
    assert_eq!(
        of_map(&map, &Key::LAYOUT, &Reference::LAYOUT).unwrap(),
        Proof::Btf,
        "the right type is refused"
    );
    let mut refusals = 0;
    for (at, field) in reference.iter().enumerate() {
        // Padding and bitfields have no type of their own.
        if matches!(field.name, "_pad" | "bits") {
            continue;
        }
        for (how, mutated) in mutations(*field) {
            let mut fields = reference.clone();
            fields[at] = mutated;
            refused(&map, &with_fields(fields), field.name, how);
            refusals += 1;
        }
        let mut without = reference.clone();
        without.remove(at);
        refused(&map, &with_fields(without), field.name, "missing");
        let mut extra = reference.clone();
        extra.insert(at, Field { name: "extra", ..*field });
        refused(&map, &with_fields(extra), "extra", "extra");
        if let Some(next) = reference.get(at + 1) {
            let mut swapped = reference.clone();
            (swapped[at].offset, swapped[at + 1].offset) = (next.offset, field.offset);
            refused(&map, &with_fields(swapped), field.name, "order");
        }
        refusals += 3;
    }
    assert!(refusals > 100, "{refusals}");
}

#[test]
fn nested_fields_are_named_by_their_path() {
    let map = flows();
    let mut peer = fields_of(&Peer::LAYOUT);
    peer[0].layout = &i16::LAYOUT;
    let peer = leak(Layout { kind: LayoutKind::Struct { fields: peer.leak() }, ..Peer::LAYOUT });
    let mut fields = fields_of(&Reference::LAYOUT);
    for field in &mut fields {
        match field.name {
            "one" => field.layout = peer,
            "peers" => field.layout = leak(Layout::array(16, 4, peer, 2)),
            _ => {}
        }
    }
    refused(&map, &with_fields(fields.clone()), "one.port", "sign");
    refused(&map, &with_fields(fields), "peers[].port", "sign");
}

/// Both types are wrong: one error tells all of it.
#[test]
fn one_error_lists_every_difference() {
    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C)]
    struct Wrong {
        pid: i32,
        interface: u32,
    }
    let map = flows();
    let mut fields = fields_of(&Reference::LAYOUT);
    fields[0].layout = &i64::LAYOUT;
    fields[2].name = "octets";
    let error = of_map(&map, &Wrong::LAYOUT, &with_fields(fields)).unwrap_err();
    let text = error.to_string();
    for word in ["pid", "sign differs", "interface", "name differs", "packets", "octets"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    let error = Hash::<Wrong, Reference>::open(&map).unwrap_err();
    assert!(error.to_string().contains("the key type does not match"), "{error}");
}

#[test]
fn a_map_without_btf_is_proved_by_its_sizes() {
    let map = Hash::<u32, u64>::create("untyped", 4);
    let map = map.unwrap();
    assert_eq!(*map.proof(), Proof::SizesOnly(Unproved::NoBtf));
    let error = map.require_proof().unwrap_err();
    assert!(matches!(error, OpenError::Unproved { why: Unproved::NoBtf, .. }), "{error}");
    assert!(error.to_string().starts_with("map `untyped`: its types are not proved"), "{error}");
}

/// The real map's BTF with bytes changed at random, every type of it compared
/// with ours: an answer or an error, never a panic or a loop.
#[test]
fn hostile_btf_is_an_answer_or_an_error() {
    let map = flows();
    let good = crate::sys::btf::by_id(map.shape().btf_id).unwrap();
    let mut random = seed(20_260_101);
    let mut next = move || random.next();
    let seconds = number("BPF_ATLAS_FUZZ_SECONDS");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds.unwrap_or(2));
    let (mut read, mut answered) = (0_u64, 0_u64);
    while std::time::Instant::now() < end {
        let mut bytes = good.clone();
        for _ in 0..=next() % 6 {
            let at = next() as usize % (bytes.len() - 3);
            match next() % 3 {
                0 => bytes[at] = next() as u8,
                1 => bytes[at & !3] = (next() % 24) as u8,
                _ => bytes[at | 3] = (next() % 24) as u8,
            }
        }
        let Ok(btf) = Btf::parse(&bytes) else { continue };
        read += 1;
        for (id, _) in btf.types() {
            if let Ok(Some(mismatch)) = compare("value", &Reference::LAYOUT, &btf, id) {
                answered += u64::from(!mismatch.to_string().is_empty());
            }
        }
    }
    assert!(read > 10 && answered > 10, "{read} read, {answered} answered: it tests nothing");
}

/// A struct of two anonymous structs of two, and so on: bounded, though each level doubles.
#[test]
fn a_struct_that_doubles_at_each_level_is_no_endless_work() {
    let info = |kind: u32, count: u32| kind << 24 | count;
    let mut types: Vec<u32> =
        (2..=31).flat_map(|next| [1, info(4, 2), 8, 0, next, 0, 0, next, 0]).collect();
    types.extend([1, info(4, 0), 8]);
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let len = types.len() as u32 * 4;
    bytes.extend([24, 0, len, len, 3].iter().chain(&types).flat_map(|word| word.to_ne_bytes()));
    bytes.extend(b"\0s\0");
    let btf = Btf::parse(&bytes).unwrap();
    let error = compare("value", &Reference::LAYOUT, &btf, 1).unwrap_err();
    assert!(matches!(error, BtfError::TooDeep(_)), "{error}");
}
