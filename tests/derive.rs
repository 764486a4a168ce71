//! `#[derive(Pod)]` and `#[derive(Accumulate)]`: what they make of the types
//! they accept. What they refuse is in `derive_refused.rs`.
#![forbid(unsafe_code)]

use bpf_atlas::{Accumulate, Be16, Layout, LayoutKind, Pod};

#[derive(Clone, Copy, Debug, PartialEq, Pod, Accumulate)]
#[repr(C)]
struct Stat {
    packets: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Pod)]
#[repr(C)]
struct Address {
    port: Be16,
    family: u16,
    ip: [u8; 16],
}

#[derive(Clone, Copy, Pod)]
#[repr(C)]
struct Flow {
    peers: [Address; 2],
    per_direction: [[Stat; 2]; 3],
    mark: i32,
    _pad: [u8; 4],
}

/// Name and offset of each field, and the name and size of its type.
fn fields(layout: &Layout) -> Vec<(&'static str, usize, &'static str, usize)> {
    let LayoutKind::Struct { fields } = layout.kind else {
        panic!("{} is no struct: {:?}", layout.name, layout.kind);
    };
    fields.iter().map(|f| (f.name, f.offset, f.layout.name, f.layout.size)).collect()
}

/// The element of an array and how many there are.
fn array(layout: &Layout) -> (&'static Layout, usize) {
    let LayoutKind::Array { element, len } = layout.kind else {
        panic!("{} is no array: {:?}", layout.name, layout.kind);
    };
    (element, len)
}

#[test]
fn a_struct_has_a_name_a_size_and_its_fields() {
    assert_eq!((Stat::LAYOUT.name, Stat::LAYOUT.size, Stat::LAYOUT.align), ("Stat", 16, 8));
    assert_eq!(fields(&Stat::LAYOUT), [("packets", 0, "u64", 8), ("bytes", 8, "u64", 8)]);
}

#[test]
fn structs_and_arrays_nest() {
    assert_eq!((Flow::LAYOUT.size, Flow::LAYOUT.align), (144, 8));
    let LayoutKind::Struct { fields: [peers, per_direction, mark, pad] } = Flow::LAYOUT.kind else {
        panic!("four fields: {:?}", Flow::LAYOUT.kind);
    };
    assert_eq!([peers.offset, per_direction.offset, mark.offset, pad.offset], [0, 40, 136, 140]);
    assert_eq!(mark.layout.kind, LayoutKind::Int { signed: true });

    let (address, two) = array(peers.layout);
    assert_eq!((two, address.name, address.size, address.align), (2, "Address", 20, 2));
    assert_eq!(
        fields(address),
        [("port", 0, "__be16", 2), ("family", 2, "u16", 2), ("ip", 4, "array", 16)]
    );

    let (row, three) = array(per_direction.layout);
    let (stat, two) = array(row);
    assert_eq!((three, two, stat), (3, 2, &Stat::LAYOUT));
}

#[test]
fn packed_structs_have_no_gaps_to_fill() {
    #[derive(Clone, Copy, Pod)]
    #[repr(C, packed)]
    struct Tight {
        tag: u8,
        value: u64,
        port: u16,
    }
    assert_eq!((Tight::LAYOUT.size, Tight::LAYOUT.align), (11, 1));
    assert_eq!(
        fields(&Tight::LAYOUT),
        [("tag", 0, "u8", 1), ("value", 1, "u64", 8), ("port", 9, "u16", 2)]
    );

    #[derive(Clone, Copy, Pod)]
    #[repr(C, packed(2))]
    struct Half {
        tag: u16,
        value: u64,
    }
    assert_eq!((Half::LAYOUT.size, Half::LAYOUT.align), (10, 2));
    assert_eq!(fields(&Half::LAYOUT), [("tag", 0, "u16", 2), ("value", 2, "u64", 8)]);
}

#[test]
fn aligned_structs_fill_up_to_their_alignment() {
    #[derive(Clone, Copy, Pod)]
    #[repr(C, align(64))]
    struct Line {
        count: u64,
        _pad: [u8; 56],
    }
    assert_eq!((Line::LAYOUT.size, Line::LAYOUT.align), (64, 64));

    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    #[repr(align(8))]
    struct Pair(u32, i32);
    assert_eq!((Pair::LAYOUT.size, Pair::LAYOUT.align), (8, 8));

    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    struct Wide {
        low: u64,
        _pad: u64,
        wide: u128,
    }
    assert_eq!((Wide::LAYOUT.size, Wide::LAYOUT.align), (32, align_of::<u128>()));
}

#[test]
fn fields_of_tuple_structs_are_named_by_number() {
    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    struct Key(u32, u16, [u8; 2]);
    assert_eq!(
        fields(&Key::LAYOUT),
        [("0", 0, "u32", 4), ("1", 4, "u16", 2), ("2", 6, "array", 2)]
    );
}

#[test]
fn raw_identifiers_are_named_as_the_bpf_side_names_them() {
    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    struct r#struct {
        r#type: u32,
        r#in: u32,
    }
    assert_eq!(r#struct::LAYOUT.name, "struct");
    assert_eq!(fields(&r#struct::LAYOUT), [("type", 0, "u32", 4), ("in", 4, "u32", 4)]);
}

#[test]
fn a_transparent_struct_looks_like_what_is_inside() {
    #[derive(Clone, Copy, Pod)]
    #[repr(transparent)]
    struct Pid(u32);
    #[derive(Clone, Copy, Pod)]
    #[repr(transparent)]
    struct Outer {
        stat: Stat,
    }
    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    struct Key {
        pid: Pid,
        family: u32,
    }
    assert_eq!(Pid::LAYOUT, u32::LAYOUT);
    assert_eq!(Outer::LAYOUT, Stat::LAYOUT);
    assert_eq!(fields(&Key::LAYOUT), [("pid", 0, "u32", 4), ("family", 4, "u32", 4)]);
}

#[test]
fn lengths_may_be_any_constant_also_of_the_type_itself() {
    const COMM: usize = 16;
    #[derive(Clone, Copy, Pod)]
    #[repr(C)]
    struct Event {
        comm: [u8; COMM],
        args: [u8; Self::ARGS * 2],
        tail: [u8; size_of::<u64>()],
        none: [u64; 0],
    }
    impl Event {
        const ARGS: usize = 20;
    }
    assert_eq!(
        fields(&Event::LAYOUT),
        [
            ("comm", 0, "array", 16),
            ("args", 16, "array", 40),
            ("tail", 56, "array", 8),
            ("none", 64, "array", 0)
        ]
    );
}

#[test]
fn types_may_come_from_a_macro_or_an_alias() {
    type Nanoseconds = u64;
    macro_rules! event {
        ($name:ident { $($field:ident: $ty:ty),* }) => {
            #[derive(Clone, Copy, Pod)]
            #[repr(C)]
            struct $name { $($field: $ty),* }
        };
    }
    event!(Exit { at: Nanoseconds, code: i32, comm: [u8; 12] });
    assert_eq!(
        fields(&Exit::LAYOUT),
        [("at", 0, "u64", 8), ("code", 8, "i32", 4), ("comm", 12, "array", 12)]
    );
}

#[test]
fn a_derived_type_is_plain_too() {
    fn plain<T: plain::Plain>(bytes: &[u8]) -> &T {
        plain::from_bytes(bytes).expect("right size; u8 needs no alignment")
    }
    #[derive(Clone, Copy, Debug, PartialEq, Pod)]
    #[repr(C)]
    struct Mac([u8; 6]);
    assert_eq!(plain::<Mac>(&[1, 2, 3, 4, 5, 6]), &Mac([1, 2, 3, 4, 5, 6]));
}

mod reexport {
    pub mod atlas {
        pub use bpf_atlas::*;
    }
}

#[test]
fn the_library_may_be_reexported() {
    #[derive(Clone, Copy, Debug, PartialEq, Pod, Accumulate)]
    #[repr(C)]
    #[pod(crate = "crate::reexport::atlas")]
    struct Count(u64, #[accumulate(max)] u64);
    let mut count = Count(1, 1);
    count.accumulate(Count(2, 2));
    assert_eq!((count, Count::LAYOUT.size), (Count(3, 2), 16));
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Accumulate)]
#[repr(C)]
struct Latency {
    calls: u64,
    #[accumulate(sum)]
    errno: [u32; 2],
    delta: i64,
    #[accumulate(max)]
    worst: u64,
    #[accumulate(min)]
    best: u64,
    #[accumulate(first)]
    comm: [u8; 4],
    _pad: [u8; 4],
}

#[test]
fn each_field_follows_its_rule() {
    let mut sum = Latency {
        calls: 1,
        errno: [1, 2],
        delta: -5,
        worst: 70,
        best: 30,
        comm: *b"bash",
        _pad: [0; 4],
    };
    sum.accumulate(Latency {
        calls: 2,
        errno: [10, 20],
        delta: 2,
        worst: 60,
        best: 20,
        comm: *b"curl",
        _pad: [0; 4],
    });
    assert_eq!(
        sum,
        Latency {
            calls: 3,
            errno: [11, 22],
            delta: -3,
            worst: 70,
            best: 20,
            comm: *b"bash",
            _pad: [0; 4]
        }
    );
}

#[test]
fn zero_is_not_set_for_min_and_first() {
    let set = Latency { worst: 4, best: 9, comm: *b"bash", ..Latency::default() };
    let mut left = set;
    left.accumulate(Latency::default());
    assert_eq!(left, set);
    let mut right = Latency::default();
    right.accumulate(set);
    assert_eq!(right, set);
}

#[test]
fn sums_wrap_as_counters_do() {
    let mut sum =
        Latency { calls: u64::MAX, errno: [u32::MAX, 0], delta: i64::MAX, ..Latency::default() };
    sum.accumulate(Latency { calls: 2, errno: [3, 0], delta: 1, ..Latency::default() });
    assert_eq!((sum.calls, sum.errno, sum.delta), (1, [2, 0], i64::MIN));
}

#[test]
fn since_takes_the_earlier_totals_away_and_keeps_the_rest() {
    let earlier = Latency {
        calls: 10,
        errno: [1, 5],
        delta: 4,
        worst: 90,
        best: 8,
        comm: *b"bash",
        _pad: [0; 4],
    };
    let later = Latency {
        calls: 15,
        errno: [1, 7],
        delta: -2,
        worst: 80,
        best: 7,
        comm: *b"curl",
        _pad: [0; 4],
    };
    assert_eq!(
        later.since(earlier),
        Some(Latency { calls: 5, errno: [0, 2], delta: -6, ..later }),
        "a signed total may fall, and what is no total is the later one"
    );
}

#[test]
fn since_is_none_when_one_total_fell() {
    let earlier = Latency { calls: 10, errno: [0, 5], ..Latency::default() };
    assert_eq!(Latency { calls: 9, errno: [0, 9], ..earlier }.since(earlier), None);
    assert_eq!(Latency { calls: 11, errno: [0, 4], ..earlier }.since(earlier), None);
    assert_eq!(earlier.since(earlier), Some(Latency::default()));
}

#[test]
fn explicit_padding_cannot_make_since_fail() {
    let earlier = Latency { calls: 1, _pad: [0xff; 4], ..Latency::default() };
    let later = Latency { calls: 3, _pad: [0x01; 4], ..Latency::default() };
    assert_eq!(later.since(earlier).map(|grown| grown.calls), Some(2));
}

#[test]
fn packed_and_tuple_structs_accumulate() {
    #[derive(Clone, Copy, Pod, Accumulate)]
    #[repr(C, packed)]
    struct Tight {
        cpu: u8,
        calls: u64,
        #[accumulate(max)]
        worst: u32,
    }
    let mut sum = Tight { cpu: 0, calls: 1, worst: 2 };
    sum.accumulate(Tight { cpu: 1, calls: 5, worst: 1 });
    assert_eq!((sum.cpu, { sum.calls }, { sum.worst }), (1, 6, 2));
    let grown = sum.since(Tight { cpu: 1, calls: 2, worst: 9 }).expect("no total fell");
    assert_eq!((grown.cpu, { grown.calls }, { grown.worst }), (0, 4, 2));

    #[derive(Clone, Copy, Debug, PartialEq, Pod, Accumulate)]
    #[repr(transparent)]
    struct Count(u64);
    let mut count = Count(40);
    count.accumulate(Count(2));
    assert_eq!((count, count.since(Count(43))), (Count(42), None));
}

#[test]
fn structs_of_structs_accumulate() {
    #[derive(Clone, Copy, Debug, PartialEq, Pod, Accumulate)]
    #[repr(C)]
    struct Both {
        directions: [Stat; 2],
        other: Stat,
    }
    let one = Both {
        directions: [Stat { packets: 1, bytes: 2 }, Stat { packets: 3, bytes: 4 }],
        other: Stat { packets: 5, bytes: 6 },
    };
    let mut sum = one;
    sum.accumulate(one);
    sum.accumulate(one);
    assert_eq!(sum.directions[1], Stat { packets: 9, bytes: 12 });
    assert_eq!(sum.since(one).and_then(|two| two.since(one)), Some(one));
}
