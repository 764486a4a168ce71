//! Programs shaped as those of the wild: histograms by process, connections of
//! either family, events of opened files, latency by disk, maps of maps; all
//! objects in one crate.
#![forbid(unsafe_code)]

use std::path::Path;

#[path = "support/generated.rs"]
mod generated;
#[path = "support/outside.rs"]
mod outside;
mod support;
use bpf_atlas_build::Builder;
use generated::{clangs, run, sample};
use support::Folder;

/// Program, and what reads its maps.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "queued",
        r#"
    let mut open = open().unwrap();
    bad.is("a string in rodata", open.rodata.limits.unit == "us" && !open.rodata.by_process.get());
    open.rodata.by_process = true.into();
    open.rodata.limits.min_ns = 1000;
    let mut loaded = open.load().unwrap_or_else(|e| panic!("{e}"));
    bad.ran(loaded.progs().play().libbpf(run), &[]);
    let handle = loaded.into_handle();
    bad.is("what was too short", handle.bss.ignored() == 1);
    let seven: Hist = handle.maps.hists.lookup(7).unwrap().unwrap();
    bad.is("a slot", seven.slots[2] == 2 && seven.slots.iter().sum::<SlotT>() == 2);
    bad.is("a name", seven.comm == "outside-generat");
    let eight = handle.maps.hists.lookup(8).unwrap().unwrap();
    bad.is("a high slot", eight.slots[9] == 1);
    bad.is("cgroups go in as descriptors", handle.maps.cgroup_map.info().value_size == 4);
"#,
    ),
    (
        "connects",
        r#"
    use bpf_atlas::{Be16, Be32, Be64};
    let mut loaded = open().unwrap().load().unwrap_or_else(|e| panic!("{e}"));
    bad.ran(loaded.progs().play().libbpf(run), &[]);
    let maps = loaded.into_handle().maps;
    let starts: Vec<_> = maps.start.iter().map(|entry| entry.unwrap()).collect();
    bad.is("a socket is a number", matches!(starts[..], [(0xffff_8880_1234_5678_u64, ref d)] if d.comm == "curl" && d.ts == 5 && d.tgid == 42));
    let mut four = Tuple { dport: Be16::new(443), ..Tuple::default() };
    four.set_af(Family::FAMILY_V4);
    four.set_inbound(1);
    four.set_saddr_v4(Be32::new(0x0a00_0001));
    four.daddr.set_v4(Be32::new(0x0a00_0002));
    bad.is("a key of IPv4", maps.latency.lookup(four).unwrap() == Some(1000));
    let mut six = TupleT::default();
    six.set_af(Family::FAMILY_V6);
    six.set_saddr_v6(std::net::Ipv6Addr::LOCALHOST.octets());
    let mut to = six.daddr.v6();
    (to.high, to.low) = (Be64::new(0xfe80 << 48), Be64::new(2));
    six.daddr.set_v6(to);
    bad.is("a key of IPv6", maps.latency.lookup(six).unwrap() == Some(2000));
    let key = Ipv4Key { saddr: 1, daddr: 2, dport: 443 };
    let sent = maps.bytes.lookup(key).unwrap().unwrap();
    bad.is("a packed key", sent.iter().any(|bytes| *bytes == [10, 20]));
    bad.is("perf buffers are not typed", maps.events.info().key_size == 4);
"#,
    ),
    (
        "opened",
        r#"
    let mut loaded = open().unwrap().load().unwrap_or_else(|e| panic!("{e}"));
    bad.ran(loaded.progs().play().libbpf(run), &[]);
    let mut maps = loaded.into_handle().maps;
    let args: ArgsT = maps.start.lookup(7).unwrap().unwrap();
    bad.is("a pointer is a number", args.fname == 0x1000 && args.flags == 0x241);
    let mut events: Vec<Event> = Vec::new();
    maps.events.drain(|event| events.push(*event)).unwrap();
    let [event] = events[..] else { panic!("{} events", events.len()) };
    bad.is("a union without a name", event.pid() == 7 && event.r#type() == 7);
    bad.is("numbers", event.uid == 1000 as UidT && event.ret == -2 && event.flags == 0x241);
    bad.is("a negative outcome", event.outcome.0 == -1 && event.outcome.c_name() == Some("FAILED"));
    bad.is("text", event.comm == "cat" && event.fname == "/etc/none");
    bad.is("all is shown", format!("{event:?}").contains("fname: b\"/etc/none\""));
"#,
    ),
    (
        "disks",
        r#"
    let mut open = open().unwrap();
    bad.is("a matrix to begin with", open.data.depth == [[1, 2, 3], [4, 5, 6]]);
    open.data.depth[0][0] = 100;
    let mut loaded = open.load().unwrap_or_else(|e| panic!("{e}"));
    bad.ran(loaded.progs().play().libbpf(run), &[]);
    let handle = loaded.into_handle();
    let maps = &handle.maps;
    bad.is("a matrix after", handle.data.depth() == [[100, 2, 3], [4, 5, -6]]);
    let key = HistKey { dev: 8 << 20 | 1, op: Op::OP_FLUSH, r#type: 3, ..HistKey::default() };
    let hist: Hist = maps.hists.lookup(key).unwrap().unwrap();
    bad.is("by disk", hist.slots[12] == 9);
    bad.is("an enum of a byte", size_of::<Op>() == 1 && Op::OP_FLUSH.0 == 255);
    bad.is("an inner map", maps.first.lookup(0).unwrap() == key);
    let inner: inner::CgroupsInner = bpf_atlas::Array::create("inner", 4).unwrap();
    inner.update(3, key).unwrap();
    bad.is("another one", inner.lookup(3).unwrap() == key);
    bad.is("untyped maps", maps.routes.info().key_size == 8 && maps.waiting.info().value_size == 8);
"#,
    ),
    (
        "names",
        r#"
    let mut open = open().unwrap();
    open.rodata.r#type = 5;
    open.rodata.name = bpf_atlas::CharArray::new("lo");
    bad.is("a section with two dots", open.data_read_mostly.counters == [[1, 2], [3, 4]]);
    open.data_read_mostly.counters[1][0] = 30;
    let mut loaded = open.load().unwrap_or_else(|e| panic!("{e}"));
    bad.ran(loaded.progs().r#match().libbpf(run), &[]);
    bad.is("a section of zeros", loaded.bss_more.more() == 1);
    loaded.bss_more.set_more(7);
    bad.ran(loaded.progs().libbpf().libbpf(run), &[]);
    let handle = loaded.into_handle();
    bad.is("programs ran on what was set", handle.data.self_() == 1 + 5 + 3 + 30 + i64::from(b'l') + 7);
    let maps = &handle.maps;
    maps.a_name_that_is_longer_than_the_kernel_keeps.insert(bpf_atlas::CharArray::new("k"), 1).unwrap();
    for map in [&maps.open, &maps.inner, &maps.map, &maps.object, &maps.r#fn, &maps.crate_] {
        map.insert(1, 2).unwrap();
        bad.is("a map of any name", map.lookup(1).unwrap() == Some(2));
    }
"#,
    ),
];

#[test]
fn programs_of_the_wilds_shapes_are_generated_and_read() {
    let folder = Folder::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bpf/shapes");
    let mut modules = Vec::new();
    let mut readers = String::new();
    for clang in clangs() {
        println!("compiled by {clang}");
        let out = folder.path().join(&clang);
        for (name, body) in PROGRAMS {
            let mut builder = Builder::new(sources.join(format!("{name}.bpf.c")));
            builder.clang(&clang).out_dir(&out).skeleton(false);
            match *name {
                "connects" => builder.allow_pointers("start"),
                "opened" => builder.allow_pointers("start").ring_event("events", "struct event"),
                _ => &mut builder,
            };
            builder.build().unwrap_or_else(|error| panic!("{clang}: {error}"));
            let module = format!("{name}_{}", clang.replace('-', "_"));
            readers.push_str(&format!(
                "mod read_{module} {{\nuse crate::{{Bad, run}};\nuse crate::{module}::*;\n\n\
                 pub fn all(bad: &mut Bad) {{\n    bad.module = {module:?};\n    \
                 bad.case({name:?});\n{body}}}\n}}\n\n"
            ));
            modules.push((module, out.join(format!("{name}.rs"))));
        }
    }
    let said = run(&sample(), &modules, &readers);
    println!("{said}");
    assert!(said.starts_with(&format!("{} types", modules.len())), "{said}");
}
