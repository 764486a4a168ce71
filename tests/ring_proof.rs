//! The events of a ring are proved by what `ATLAS_RING` leaves beside it.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/ring.rs"]
mod ring_programs;
mod support;

use bpf_atlas::{Event, Events, OpenError, Pod, Proof, RingBuf, Unproved};
use programs::Programs;
use ring_programs::{Numbered, load};

fn open<E: Event>(programs: &Programs) -> Result<RingBuf<E>, OpenError> {
    RingBuf::<E>::open(programs.map("events")).unwrap().with_lost(programs.map("events_lost"))
}

#[test]
fn the_type_of_a_rings_events_is_proved() {
    let programs = load(4096);
    let ring = open::<Numbered>(&programs).unwrap();
    assert_eq!(*ring.proof(), Proof::Btf);
    let ring = ring.require_proof().unwrap();
    drop(ring);
    // Without the totals there is nothing to prove it by.
    let ring = RingBuf::<Numbered>::open(programs.map("events")).unwrap();
    assert_eq!(*ring.proof(), Proof::SizesOnly(Unproved::NoBtf));
    let error = ring.require_proof().unwrap_err();
    assert!(matches!(error, OpenError::Unproved { .. }), "{error}");
}

/// Each of another field wrong; all are `Numbered` to the eye.
macro_rules! wrong {
    ($($name:ident { $($field:ident: $ty:ty),* } $says:expr;)*) => {
        #[test]
        fn an_event_of_another_type_is_refused_with_the_field() {
            let programs = load(4096);
            $({
                #[derive(Clone, Copy, Pod)]
                #[repr(C)]
                struct $name { $($field: $ty),* }
                let error = open::<$name>(&programs).unwrap_err();
                let OpenError::Types { map, mismatches } = &error else { panic!("{error}") };
                assert_eq!(map.as_str(), "events");
                assert_eq!(mismatches[0].role(), "event");
                let fields: Vec<_> = mismatches[0].fields().collect();
                assert_eq!(fields, $says, "{error}");
                println!("{error}");
            })*
        }
    };
}

wrong! {
    Renamed { producer: u32, sequence: u32, number: u64, check: u64 } ["seq"];
    Signed { producer: u32, seq: i32, number: u64, check: u64 } ["seq"];
    Narrow { producer: u32, seq: u32, number: u64, check: u32, _pad: [u8; 4] } ["check"];
    Swapped { producer: u32, seq: u32, check: u64, number: u64 } ["number", "check"];
    Short { producer: u32, seq: u32, number: u64 } ["check", ""];
}

#[derive(Clone, Copy, Debug, Pod)]
#[repr(C)]
struct Opened {
    kind: u32,
    fd: i32,
}

#[derive(Clone, Copy, Debug, Pod)]
#[repr(C)]
struct Closed {
    kind: u32,
    fd: i32,
    took_ns: u64,
}

#[derive(Clone, Copy, Debug, Pod)]
#[repr(C)]
struct ClosedOtherwise {
    kind: u32,
    fd: u32,
    took_ns: u64,
}

#[derive(Clone, Copy, Debug, Events)]
enum Files {
    #[event(1)]
    Opened(Opened),
    #[event(7)]
    Closed(Closed),
}

/// Only one of the two; the other is an error when it comes.
#[derive(Clone, Copy, Debug, Events)]
enum SomeFiles {
    #[event(7)]
    Closed(Closed),
}

#[derive(Clone, Copy, Debug, Events)]
enum WrongFiles {
    #[event(1)]
    Opened(Opened),
    #[event(7)]
    Closed(ClosedOtherwise),
}

#[derive(Clone, Copy, Debug, Events)]
enum OtherFiles {
    #[event(9)]
    Opened(Opened),
}

#[derive(Clone, Copy, Debug, Events)]
enum SwappedFiles {
    #[event(7)]
    Opened(Opened),
    #[event(1)]
    Closed(Closed),
}

#[test]
fn each_of_several_types_of_event_is_proved_by_its_tag() {
    let programs = Programs::load("files");
    assert_eq!(*open::<Files>(&programs).unwrap().proof(), Proof::Btf);
    assert_eq!(*open::<SomeFiles>(&programs).unwrap().proof(), Proof::Btf);
    let error = open::<WrongFiles>(&programs).unwrap_err();
    let OpenError::Types { mismatches, .. } = &error else { panic!("{error}") };
    assert_eq!(mismatches.len(), 1, "{error}");
    assert!(mismatches[0].fields().eq(["fd"]), "{error}");
    let error = open::<SwappedFiles>(&programs).unwrap_err();
    let OpenError::Types { mismatches, .. } = &error else { panic!("{error}") };
    assert_eq!(mismatches.len(), 2, "{error}");
    // None of the tags is one of C's.
    let error = open::<OtherFiles>(&programs).unwrap_err();
    assert!(error.to_string().contains("no tag is the same"), "{error}");
    // One type where there are several would misread the others, and the other way round.
    let error = open::<Opened>(&programs).unwrap_err();
    assert!(matches!(error, OpenError::Types { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("struct opened (1), struct closed (7)"), "{said}");
    assert!(said.contains("one type for several"), "{said}");
    let error = open::<Files>(&load(4096)).unwrap_err();
    assert!(error.to_string().contains("several types for one"), "{error}");
}

/// The totals and the words of another ring are refused by name.
#[test]
fn the_maps_beside_another_ring_are_refused() {
    let (programs, others) = (load(4096), Programs::load("two_rings"));
    let open = || RingBuf::<Numbered>::open(programs.map("events")).unwrap();
    for wrong in ["others_lost", "others_wake"] {
        let error = match wrong {
            "others_lost" => open().with_lost(others.map(wrong)).map(drop).unwrap_err(),
            _ => open().with_wake(others.map(wrong)).map(drop).unwrap_err(),
        };
        let OpenError::InvalidArgument { what } = &error else { panic!("{error}") };
        assert!(what.contains(wrong) && what.contains("`events`"), "{error}");
    }
}
