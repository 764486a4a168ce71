//! What a program writes is what the generated types read.

#![forbid(unsafe_code)]

use std::mem::offset_of;

use bpf_atlas::{Accumulate, CharArray, LayoutKind, Pod, Proof};
use bpf_atlas_build_e2e::reference::{self, Event, Key, Peer, Reference, State, Wide};
use bpf_atlas_build_e2e::{keywords, safe::without_maps};

fn run(loaded: &mut reference::Loaded) -> u32 {
    loaded.progs().fill().libbpf(|fill| fill.test_run(Default::default()).unwrap().return_value)
}

#[test]
fn every_field_that_a_program_wrote_is_read() {
    let mut loaded = reference::open().unwrap().load().unwrap();
    assert_eq!(run(&mut loaded), 0);
    let maps = &loaded.maps;
    assert_eq!(*maps.flows.proof(), Proof::Btf);

    let key = Key { pid: 7, cpu: 2, device: 3, ..Key::default() };
    let seen = maps.flows.lookup(key).unwrap().expect("padding of the key is zero on both sides");
    assert_eq!(maps.flows.iter().map(|entry| entry.unwrap()).collect::<Vec<_>>(), [(key, seen)]);

    assert_eq!((seen.packets, seen.comm.to_string_lossy().as_ref()), (1, "hello"));
    assert_eq!((seen.on.get(), seen.state, seen.wide), (true, State::STATE_BAD, Wide::WIDE_HIGH));
    let [none, peer] = seen.peers;
    assert_eq!(none, Peer::default());
    assert_eq!((peer.port, peer.address.get()), (80, 0x7f00_0001));
    assert_eq!((seen.inner.low, seen.inner.high), (5, -5));
    assert_eq!((seen.first, seen.second), (11, 12));
    assert_eq!((seen.v4(), seen.lo(), seen.hi()), (0x0102_0304, 0x0102_0304, 0));
    assert_eq!(seen.v6()[..4], 0x0102_0304_u32.to_ne_bytes());
    assert_eq!((seen.either.word(), seen.either.byte()), (0xfe, -2));
    assert_eq!((seen.three(), seen.five(), seen.many()), (-3, -16, 0xab_cdef));
    assert_eq!((seen.flag(), seen.state_bits()), (true, State::STATE_BAD));
    let packed = seen.packed;
    assert_eq!(({ packed.a }, { packed.b }, { packed.c }), (1, 2, 3));
    assert_eq!((seen.unnamed.b, seen.cookie, seen.lined.a), (9, 10, 64));
    assert_eq!((seen.huge, seen.buckets[39], seen.parent), (-2, 39, -1));
    assert_eq!((seen.names[1], seen.signed_bytes), (CharArray::new("x"), [0, 0, -9]));

    assert_eq!(
        maps.sized.lookup([5, 0, 0, 0]).unwrap().map(|value| (value[0], value[8])),
        Some((6, 8))
    );
    assert_eq!(maps.hidden.lookup(5).unwrap(), Some(99));
    assert_eq!(maps.slots.lookup(0).unwrap(), 4);
    let totals = maps.totals.sum_of(0).unwrap();
    assert_eq!((totals.calls, totals.last_ns), (1, 5));
}

#[test]
fn events_are_read_with_the_type_that_the_ring_was_declared_with() {
    let mut loaded =
        reference::open().unwrap().configure(|open| open.rodata.wanted_pid = 31).load();
    let loaded = loaded.as_mut().unwrap();
    run(loaded);
    let event = *loaded.maps.events.next().unwrap().unwrap();
    assert_eq!(event, Event { pid: 31, comm: CharArray::new("abc") });
    assert_eq!(loaded.maps.events.lost().unwrap(), 0);
    let submitted = loaded.maps.events_lost.lookup(0).unwrap();
    assert_eq!(submitted.iter().map(|totals| totals.submitted).sum::<u64>(), 1);
    let peer = *loaded.maps.plain_ring.next().unwrap().unwrap();
    assert_eq!(peer.port, 53);
}

#[test]
fn variables_are_set_before_and_read_written_and_reset_meanwhile() {
    let mut open = reference::open().unwrap();
    assert_eq!((open.rodata.wanted_pid, open.rodata.label), (7, CharArray::new("abc")));
    assert_eq!((open.data.small, open.data.enabled.get(), open.bss.counter), (3, true, 0));
    open.rodata.wanted_pid = 9;
    open.data.small = 1000;
    open.bss.counter = 40;
    let mut loaded = open.load().unwrap();
    run(&mut loaded);
    run(&mut loaded);
    let mut handle = loaded.into_handle();

    assert_eq!(handle.rodata.wanted_pid(), 9);
    assert_eq!(
        (handle.bss.counter(), handle.bss.fill_runs(), handle.bss.last_peer().port),
        (42, 2, 443)
    );
    let shared = handle.bss.shared()[1];
    assert_eq!({ shared.c }, 0x1122_3344_5566_7788);
    assert_eq!(handle.bss_apart.apart(), 5);
    assert_eq!(handle.maps.slots.lookup(0).unwrap(), 1001);

    handle.bss.set_counter(5);
    assert_eq!((handle.bss.take_counter(), handle.bss.counter()), (5, 0));
    handle.data.set_enabled(false.into());
    assert_eq!((handle.data.small(), handle.data.enabled().get()), (1000, false));
    let ran = handle.progs().fill().libbpf(|fill| fill.test_run(Default::default()).is_ok());
    assert!(ran);
    assert_eq!((handle.bss.counter(), handle.maps.slots.lookup(0).unwrap()), (1, 1000));
    let all = handle.bss.read();
    assert_eq!((all.counter, all.fill_runs), (1, 3));
    assert!(handle.bss.is_writable() && !handle.rodata.is_writable());

    // The view outlives what it came from.
    let view = handle.bss.clone();
    drop(handle);
    assert_eq!(view.counter(), 1);
}

#[test]
fn a_handle_is_static_and_can_be_sent() {
    fn is<T: Send + 'static>(_: T) {}
    is(reference::open().unwrap().load().unwrap().attach().unwrap());
}

#[test]
fn the_layout_has_the_names_and_places_of_c() {
    let LayoutKind::Struct { fields } = keywords::Self_::LAYOUT.kind else { unreachable!() };
    let names: Vec<_> = fields.iter().map(|field| field.name).collect();
    assert_eq!(names, ["crate", "super", "Self", "impl", "trait"]);
    assert_eq!((offset_of!(Reference, anon0), Reference::LAYOUT.size), (68, 576));
    assert_eq!(offset_of!(Reference, lined) % 64, 0, "the alignment that BTF does not tell");
}

#[test]
fn keywords_are_no_trouble() {
    let mut loaded = keywords::open().unwrap().load().unwrap();
    let ran = loaded.progs().r#use().libbpf(|r#use| r#use.test_run(Default::default()).is_ok());
    assert!(ran);
    assert_eq!(loaded.maps.r#mut.lookup(0).unwrap(), keywords::types::Maps { r#let: 4 });
    assert_eq!(loaded.data.read().read, 4);
    assert_eq!((loaded.bss.r#move(), loaded.bss.set_move_()), (8, 9));
    let self_ = keywords::Self_ { crate_: 1, r#trait: keywords::Match::r#fn, ..Default::default() };
    let value = keywords::types::Option::default();
    loaded.maps.r#loop.update(self_, value).unwrap();
    assert_eq!(loaded.maps.r#loop.lookup(self_).unwrap(), Some(value));
    assert_eq!(format!("{self_:?}"), "Self_ { crate: 1, super: 0, Self: 0, impl: 0, trait: fn }");
}

#[test]
fn a_program_without_maps_and_without_unsafe_code() {
    let mut loaded = without_maps::open().unwrap().load().unwrap();
    let answer = loaded.progs().answer();
    let answer = { answer }.libbpf(|p| p.test_run(Default::default()).unwrap().return_value);
    assert_eq!(answer, 42);
    assert!(loaded.attach().unwrap().object().unattached() == ["answer"]);
}

#[test]
fn enums_are_open() {
    assert_eq!(format!("{:?} {:?}", State::STATE_AGED, State(7)), "STATE_OLD State(7)");
    assert_eq!(i32::from(State::STATE_BAD), -1);
    assert_eq!(u64::from(Wide::WIDE_HIGH), 1 << 32);
}

#[test]
fn unions_and_bitfields_are_written_through_their_methods() {
    let mut value = Reference::default();
    value.set_v6([9; 16]);
    value.set_lo(1);
    assert_eq!((value.v4(), value.v6()[4]), (1, 9));
    value.set_three(-4);
    value.set_many(u32::MAX);
    value.set_state_bits(State::STATE_OLD);
    assert_eq!((value.three(), value.five(), value.many()), (-4, 0, 0xff_ffff));
    assert_eq!(value.state_bits(), State::STATE_OLD);
    let from = reference::ReferenceEither::from_byte(-1);
    assert_eq!((from.word(), from.words()), (0xff, [0xff]));
}

#[test]
fn padding_shows_only_where_it_is_dirty() {
    let mut key = Key::default();
    assert_eq!(format!("{key:?}"), "Key { pid: 0, cpu: 0, device: 0 }");
    key._pad0 = [3];
    assert_eq!(format!("{key:?}"), "Key { pid: 0, cpu: 0, _pad0: [3], device: 0 }");
}

#[test]
fn derives_and_attributes_of_the_user() {
    let mut sums = reference::Sums { calls: 2, last_ns: 7, ..Default::default() };
    sums.accumulate(reference::Sums { calls: 3, last_ns: 5, ..Default::default() });
    assert_eq!((sums.calls, sums.last_ns), (5, 7));
}
