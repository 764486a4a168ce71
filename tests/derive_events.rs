//! `#[derive(Events)]` on records made by hand: what is told apart, and how.
//! Records of a real ring are read in crates/bpf-atlas-build/e2e.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, unused_qualifications)]

use bpf_atlas::__private::Unfit;
use bpf_atlas::{Be16, Event, Events, Pod};

#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C)]
struct Exec {
    kind: u32,
    pid: u32,
    time_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C)]
struct Exit {
    kind: u32,
    code: i32,
}

const EXIT: u32 = 1 + 1;

#[derive(Clone, Copy, Debug, PartialEq, Events)]
enum Process {
    #[event(1)]
    Exec(Exec),
    #[event(EXIT)]
    Exit(Exit),
}

/// The bytes of a record, as aligned as the kernel's.
#[repr(align(8))]
#[derive(Debug)]
struct Bytes([u8; 24]);

impl Bytes {
    fn of(words: [u32; 6]) -> Self {
        let mut bytes = [0; 24];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        Self(bytes)
    }
}

#[test]
fn each_tag_is_read_as_its_own_event_in_place() {
    let record = Bytes::of([1, 7, 9, 0, 5, 5]);
    let (event, own) = Process::view(&record.0).unwrap();
    let ProcessRef::Exec(exec) = event else { panic!("{event:?}") };
    assert_eq!(
        (own, exec),
        (16, &Exec { kind: 1, pid: 7, time_ns: 9 + if be() { 9 << 32 } else { 0 } })
    );
    assert!(std::ptr::eq((&raw const *exec).cast::<u8>(), record.0.as_ptr()), "not a copy");
    assert_eq!(Process::copy(event), Process::Exec(*exec));

    let record = Bytes::of([2, 42, 0, 0, 0, 0]);
    let (event, own) = Process::view(&record.0[..8]).unwrap();
    assert_eq!((own, Process::copy(event)), (8, Process::Exit(Exit { kind: 2, code: 42 })));
    assert_eq!(format!("{event:?}"), "Exit(Exit { kind: 2, code: 42 })");
    // Longer: the rest is the tail.
    assert_eq!(Process::view(&record.0).unwrap().1, 8);
}

fn be() -> bool {
    cfg!(target_endian = "big")
}

#[test]
fn another_tag_and_too_few_bytes_are_told_apart() {
    let short = |expected| Some(Unfit::Short { expected });
    for len in 0..4 {
        assert_eq!(Process::view(&Bytes::of([1; 6]).0[..len]).err(), short(4));
    }
    for len in 4..16 {
        assert_eq!(Process::view(&Bytes::of([1; 6]).0[..len]).err(), short(16));
    }
    for len in 4..8 {
        assert_eq!(Process::view(&Bytes::of([2; 6]).0[..len]).err(), short(8));
    }
    for other in [0, 3, u32::MAX] {
        let record = Bytes::of([other; 6]);
        assert_eq!(Process::view(&record.0[..4]).err(), Some(Unfit::Tag(other.into())));
        assert_eq!(Process::view(&record.0).err(), Some(Unfit::Tag(other.into())));
    }
}

/// As bpf-atlas-build writes C's enums.
#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(transparent)]
struct Kind(u16);

impl Kind {
    const OPEN: Self = Self(0x100);
}

mod nested {
    use super::*;

    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C)]
    pub(crate) struct Header {
        pub(crate) cpu: u16,
        pub(crate) r#type: Kind,
    }

    #[derive(Clone, Copy, Debug, Pod)]
    #[repr(C, packed)]
    pub(crate) struct Open(pub(crate) u8);
}

#[derive(Clone, Copy, Debug, Pod)]
#[repr(C)]
struct Opened {
    head: nested::Header,
    fd: i32,
}

#[derive(Clone, Copy, Pod)] // without Debug
#[repr(C, packed)]
struct Closed {
    head: nested::Header,
    rest: nested::Open,
}

// A name that the derived code has a use for itself.
#[expect(nonstandard_style, reason = "as the derived code might call it")]
const tag: Kind = Kind(7);

#[derive(Clone, Copy, Events)]
#[events(tag = head.r#type, reference = File, crate = "bpf_atlas")]
#[non_exhaustive]
enum Files {
    /// Something was opened.
    #[event(Kind::OPEN)]
    Opened(Opened),
    #[event(tag)]
    r#Closed(Closed),
    // The same type twice.
    #[event(Kind(Kind::OPEN.0 + 1))]
    Reopened(Opened),
}

#[test]
fn a_tag_may_lie_inside_and_be_of_a_type_of_ones_own() {
    let record = |kind: u16| {
        let mut record = Bytes::of([0; 6]);
        record.0[2..4].copy_from_slice(&kind.to_ne_bytes());
        record
    };
    assert!(matches!(Files::view(&record(0x100).0), Ok((File::Opened(_), 8))));
    assert!(matches!(Files::view(&record(0x101).0), Ok((File::Reopened(_), 8))));
    assert!(matches!(Files::view(&record(7).0), Ok((File::Closed(_), 5))));
    assert_eq!(Files::view(&record(8).0).err(), Some(Unfit::Tag(8)));
    let record = record(7);
    let (event, _) = Files::view(&record.0).unwrap();
    assert!(matches!(Files::copy(event), Files::Closed(closed) if { closed.rest.0 } == 0));
}

#[derive(Clone, Copy, Pod)]
#[repr(C)]
struct Frame {
    proto: Be16,
}

#[derive(Clone, Copy, Events)]
#[events(tag = proto)]
enum Frames {
    #[event(Be16::new(0x0800))]
    V4(Frame),
    #[event(Be16::new(0x86dd))]
    V6(Frame),
}

#[test]
fn a_tag_in_network_order_is_compared_as_it_lies() {
    // Aligned, as records are.
    let [v4, v6, other] = [[0x08, 0x00], [0x86, 0xdd], [0x00, 0x08]].map(|bytes| {
        let mut record = Bytes::of([0; 6]);
        record.0[..2].copy_from_slice(&bytes);
        record
    });
    assert!(matches!(Frames::view(&v4.0[..2]), Ok((FramesRef::V4(_), 2))));
    let (event, _) = Frames::view(&v6.0).unwrap();
    assert!(matches!(Frames::copy(event), Frames::V6(frame) if frame.proto.get() == 0x86dd));
    assert!(matches!(Frames::view(&other.0), Err(Unfit::Tag(_))));
}
