//! Types that bpf-atlas-build writes, against what programs in the kernel
//! write: a table of C types, compiled by the oldest clang and the newest,
//! and maps of every shape that C can declare.
#![forbid(unsafe_code)]

use std::fs;

#[path = "support/c_odd_types.rs"]
mod c_odd_types;
#[path = "support/c_types.rs"]
mod c_types;
#[path = "support/generated.rs"]
mod generated;
#[path = "support/outside.rs"]
mod outside;
mod support;
use c_odd_types::ODD_TYPES;
use c_types::TYPES;
use generated::{Case, clangs, generate, reader, run, sample, source};
use support::{Folder, skipped};

/// Maps other than arrays of one struct, and a program that fills them.
const MAPS: &str = r#"
#include "flow_maps.h"

enum proto { PROTO_TCP = 6, PROTO_UDP = 17 };

struct conn_key {
	enum proto proto;
	__be16 port;
	union {
		__be32 v4;
		__u8 v6[16];
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct conn_key);
	__type(value, __u64);
} by_conn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16);
	__uint(key_size, 4);
	__uint(value_size, 12);
} by_size SEC(".maps");

static struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, enum proto);
	__type(value, __u32);
} hidden SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__type(key, __u8[6]);
	__type(value, struct conn_key);
} type SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, __s64);
} data SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} maps SEC(".maps");

struct event {
	__u32 pid;
	enum proto proto;
	char comm[16];
};

ATLAS_RING(events, 4096, struct event);

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(key_size, 4);
	__uint(value_size, 127 * 8);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 4);
		__type(key, __u32);
		__type(value, struct conn_key);
	});
} outer SEC(".maps");

const volatile __u16 wanted = 1;
__u64 runs = 0;
__u32 start = 7;

SEC("syscall")
int fill_maps(void *ctx)
{
	struct conn_key key = {};
	__u64 number = 0x1122334455667788;
	__u32 size_key = 0x01020304, sizes[3] = { 1, 2, 3 }, half = 77, zero = 0, one = 1;
	__s64 less = -5;
	__u8 mac[6] = { 1, 2, 3, 4, 5, 6 };
	enum proto udp = PROTO_UDP;
	struct flow flow = { .bytes = 1500, .seen = 9 };
	struct event *event;
	long err = 0;

	key.proto = PROTO_TCP;
	key.port = __builtin_bswap16(443);
	key.v4 = __builtin_bswap32(0x7f000001);
	err |= bpf_map_update_elem(&by_conn, &key, &number, 0);
	err |= bpf_map_update_elem(&by_size, &size_key, &sizes, 0);
	err |= bpf_map_update_elem(&hidden, &udp, &half, 0);
	err |= bpf_map_update_elem(&type, &mac, &key, 0);
	err |= bpf_map_update_elem(&data, &one, &less, 0);
	err |= bpf_map_update_elem(&maps, &zero, &number, 0);
	err |= bpf_map_update_elem(&flows, &zero, &flow, 0);
	event = atlas_ring_reserve(events);
	if (!event)
		return 1;
	event->pid = 4242;
	event->proto = 99;
	__builtin_memcpy(event->comm, "a\0b\xff\0\0\0\0\0\0\0\0\0\0\0", 16);
	atlas_ring_submit(events, event);
	runs += wanted;
	start++;
	return err != 0;
}
"#;

const HEADER: &str = r#"
struct flow {
	__u32 bytes;
	__u8 seen;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");
"#;

/// Behind the cases: the maps above.
const READ_MAPS: &str = r#"
    bad.case("maps");
    drop(loaded);
    let mut open = open().unwrap();
    open.rodata.wanted = 41;
    open.bss.runs = 1;
    open.maps.by_conn.set_max_entries(32);
    open.require_proof();
    let mut loaded = open.load().unwrap_or_else(|e| panic!("{e}"));
    bad.ran(loaded.progs().fill_maps().libbpf(run), &[]);
    maps(loaded.into_handle(), bad);
    enums(bad);
"#;

const READ_MAPS_BEHIND: &str = r##"
fn enums(bad: &mut Bad) {
    bad.is("64 bits of an enum", WideEnum::WIDE_MAX.0 == u64::MAX && WideEnum::WIDE_LARGE.0 == 1 << 32);
    bad.is("64 bits with a sign", Deep::DEEP_LOW.0 == -(1 << 32) && Deep::DEEP_HIGH.0 == 1 << 32);
    bad.is("a negative constant", Verdict::VERDICT_DENY.0 == -1);
    bad.is("a constant of a byte", Small::SMALL_B.0 == 200_u8);
    bad.is("two constants of one value", State::STATE_LAST == State::STATE_OPEN && State::STATE_SHUT.0 == 6);
    bad.is("the first name", format!("{:?} {:?}", State::STATE_LAST, State(77)) == "STATE_OPEN State(77)");
    let chained = Chained { a: 1 as TwoT, b: MadeT { a: 2 as OneT }, c: 3 as PidT };
    bad.is("typedefs are aliases", chained.a + chained.b.a == 3_u32 && chained.c == 3_i32);
}

fn maps(mut handle: Handle, bad: &mut Bad) {
    let maps = &mut handle.maps;
    let mut key = ConnKey { proto: Proto::PROTO_TCP, port: ::bpf_atlas::Be16::new(443), ..ConnKey::default() };
    key.set_v4(::bpf_atlas::Be32::new(0x7f00_0001));
    bad.is("by_conn finds its key", maps.by_conn.lookup(key).unwrap() == Some(0x1122_3344_5566_7788));
    let keys: Vec<_> = maps.by_conn.keys().map(|key| key.unwrap()).collect();
    bad.is("by_conn walks", keys == [key]);
    bad.is("by_conn is larger", maps.by_conn.max_entries() == 32);
    bad.is("a key shows itself", format!("{key:?}").contains("PROTO_TCP"));
    let words = [1_u32, 2, 3].map(u32::to_ne_bytes).concat();
    let sizes = maps.by_size.lookup(0x0102_0304_u32.to_ne_bytes()).unwrap();
    bad.is("by_size has bytes", sizes.is_some_and(|bytes: [u8; 12]| bytes[..] == words[..]));
    let unproved = ::bpf_atlas::Proof::SizesOnly(::bpf_atlas::Unproved::NoBtf);
    bad.is("nothing is to be proved of bytes", *maps.by_size.proof() == unproved);
    bad.is("all else is proved", *maps.by_conn.proof() == ::bpf_atlas::Proof::Btf);
    bad.is("hidden has an enum key", maps.hidden.lookup(Proto::PROTO_UDP).unwrap() == Some(77));
    let per_cpu = maps.r#type.lookup([1, 2, 3, 4, 5, 6]).unwrap();
    bad.is("type holds keys", per_cpu.is_some_and(|all| all.iter().any(|one| *one == key)));
    bad.is("data has a signed number", maps.data.lookup(1).unwrap() == -5);
    bad.is("maps has a number a CPU", maps.maps.sum_of(0).unwrap() == 0x1122_3344_5566_7788);
    let flow = maps.flows.lookup(0).unwrap();
    bad.is("flows is of a header", flow.is_some_and(|flow: Flow| flow.bytes == 1500 && flow.seen == 9));
    let mut events: Vec<Event> = Vec::new();
    maps.events.drain(|event| events.push(*event)).unwrap();
    bad.is("one event", events.len() == 1 && events[0].pid == 4242);
    bad.is("a number that is no enum value", events[0].proto == Proto(99) && events[0].proto.c_name().is_none());
    bad.is("text with a NUL inside", events[0].comm == "a" && events[0].comm.0[3] == 0xff);
    bad.is("all of the text is shown", format!("{:?}", events[0]).contains(r#"b"a\x00b\xff""#));
    bad.is("nothing lost", maps.events.lost().unwrap() == 0);
    bad.is("a raw map", maps.stacks.info().value_size == 127 * 8);
    let inner = inner::OuterInner::create("inner", 4).unwrap();
    inner.insert(1, key).unwrap();
    bad.is("an inner map", inner.lookup(1).unwrap() == Some(key));
    bad.is("rodata was set", handle.rodata.read().wanted == 41);
    bad.is("bss was set, then written", handle.bss.read().runs == 42);
    bad.is("data was written", handle.data.read().start == 8);
}
"##;

#[test]
fn generated_types_are_those_that_programs_write() {
    let folder = Folder::new();
    fs::write(folder.path().join("flow_maps.h"), HEADER).unwrap();
    let rows = TYPES.iter().chain(ODD_TYPES);
    let cases = rows.map(|(name, decl, ty, leaves)| Case::new(name, decl, ty, leaves));
    let cases: Vec<_> = cases.collect();
    assert!(cases.len() >= 60);
    // The kernel refuses all BTF of an object for a name that is not ASCII, or for
    // what clang 14 makes of `_Atomic`: a member without a type.
    let taken = |case: &Case| case.decl.is_ascii() && !case.decl.contains("_Atomic");
    let (cases, foreign): (Vec<_>, Vec<_>) = cases.into_iter().partition(taken);
    assert!(!foreign.is_empty());
    let (text, other) = (source(&cases, MAPS), source(&foreign, ""));

    let clangs = clangs();
    assert!(!clangs.is_empty(), "no clang");
    if clangs.len() == 1 {
        skipped("generated_types, the newest clang", "only one clang is installed");
    }
    let mut modules = Vec::new();
    let mut readers = String::new();
    for clang in &clangs {
        println!("compiled by {clang}");
        let name = clang.replace('-', "_");
        let path = generate(folder.path(), &name, &text, clang);
        modules.push((name.clone(), path.unwrap_or_else(|error| panic!("{clang}: {error}"))));
        readers.push_str(&reader(&name, &cases, true, READ_MAPS, READ_MAPS_BEHIND));
        let name = format!("{name}_names");
        let path = generate(folder.path(), &name, &other, clang);
        modules.push((name.clone(), path.unwrap_or_else(|error| panic!("{clang}: {error}"))));
        readers.push_str(&reader(&name, &foreign, false, "", ""));
    }
    let said = run(&sample(), &modules, &readers);
    println!("{said}");
    let types = format!("{} types", (cases.len() + foreign.len() + 1) * clangs.len());
    assert!(said.starts_with(&types), "{said}");
}
