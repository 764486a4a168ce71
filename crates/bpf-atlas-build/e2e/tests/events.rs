//! Several types of event in one ring: what programs submit is what is read, and
//! what is no event is an error and a count.

#![forbid(unsafe_code)]

use bpf_atlas::{Error, Event, Events, Pod, RingBuf, WakeUp};
use bpf_atlas_build_e2e::events::{
    self, Big, Event as Seen, EventRef, LinkChanges, LinkChangesRef, LinkDown, LinkKind, LinkUp,
    Loaded, Named, Small,
};

fn load() -> Loaded {
    events::open().unwrap().load().unwrap()
}

fn produce(loaded: &mut Loaded, rounds: u32, odd: bool) {
    loaded.bss.set_odd(odd.into());
    loaded.progs().produce().libbpf(|program| {
        for _ in 0..rounds {
            assert_eq!(program.test_run(Default::default()).unwrap().return_value, 0);
        }
    });
}

const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyzabcdef";

/// Round `n`, as the program writes it, and its tail.
fn expected(n: u32) -> Option<(Seen, &'static [u8])> {
    let kind = Seen::SMALL;
    Some(match n % 6 {
        0 | 1 => (Seen::Small(Small { kind, seq: n }), b""),
        2 => {
            let mut named = Named { kind: Seen::NAMED, seq: n, ..Named::default() };
            (named.time_ns, named.len) = (u64::from(n) << 32, (n & 31) as u16);
            (Seen::Named(named), &ALPHABET[..n as usize & 31])
        }
        3 => {
            let words = std::array::from_fn(|i| u64::from(n) * 100 + i as u64);
            (Seen::Big(Big { kind: Seen::BIG, seq: n, words }), b"")
        }
        _ => return None,
    })
}

/// What `rounds` rounds are, without those that make no event.
fn all(rounds: u32) -> Vec<(Seen, Vec<u8>)> {
    (0..rounds).filter_map(expected).map(|(event, tail)| (event, tail.to_vec())).collect()
}

#[test]
fn every_event_is_read_as_its_own_type_with_its_tail() {
    const ROUNDS: u32 = 300;
    for way in ["next", "drain_records", "drain_up_to"] {
        let mut loaded = load();
        produce(&mut loaded, ROUNDS, false);
        let mut ring = loaded.into_handle().maps.events.with_tail();
        let mut read = Vec::new();
        match way {
            "next" => {
                while let Some(record) = ring.next().unwrap() {
                    read.push((Seen::copy(record.event()), record.tail().to_vec()));
                }
            }
            "drain_records" => {
                let keep = |event: EventRef<'_>, tail: &[u8]| {
                    read.push((Seen::copy(event), tail.to_vec()));
                };
                assert_eq!(ring.drain_records(keep).unwrap(), all(ROUNDS).len());
            }
            _ => {
                while ring
                    .drain_up_to(7, |event, tail| read.push((Seen::copy(event), tail.to_vec())))
                    .unwrap()
                    > 0
                {}
            }
        }
        assert_eq!(read, all(ROUNDS), "{way}");
        let stats = ring.stats().unwrap();
        assert_eq!((stats.accounted(), stats.delivered), (stats.produced(), read.len() as u64));
    }
}

#[test]
fn without_tails_a_longer_record_is_refused_and_the_next_one_read() {
    let mut loaded = load();
    produce(&mut loaded, 12, false);
    let ring = &mut loaded.maps.events;
    let mut seqs = Vec::new();
    let mut refused = 0;
    loop {
        let drained = ring.drain(|event| match event {
            EventRef::Small(small) => seqs.push(small.seq),
            EventRef::Named(named) => panic!("{named:?} has a tail"),
            EventRef::Big(big) => seqs.push(big.seq),
        });
        match drained {
            Ok(_) => break,
            Err(Error::RecordSize { expected: 24, tail: false, .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((seqs, refused, ring.refused()), (vec![0, 1, 3, 6, 7, 9], 2, 2));
}

#[test]
fn unknown_tags_and_short_records_are_errors_counts_and_no_misreads() {
    const ROUNDS: u32 = 120;
    let mut loaded = load();
    produce(&mut loaded, ROUNDS, true);
    let mut ring = loaded.into_handle().maps.events.with_tail();
    let (mut read, mut kinds, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match ring.next() {
            Ok(None) => break,
            Ok(Some(record)) => read.push((Seen::copy(record.event()), record.tail().to_vec())),
            Err(Error::RecordKind { tag, found, .. }) => kinds.push((tag, found)),
            Err(Error::RecordSize { expected, found, tail: true, .. }) => {
                sizes.push((expected, found));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(read, all(ROUNDS), "everything that is an event came, in order");
    assert_eq!(kinds, [(99, 16), (99, 4)].repeat(ROUNDS as usize / 12));
    assert_eq!(sizes, [(24, 16), (4, 3)].repeat(ROUNDS as usize / 12));
    let stats = ring.stats().unwrap();
    assert_eq!(stats.refused, (kinds.len() + sizes.len()) as u64);
    assert_eq!((stats.accounted(), stats.waiting, stats.lost()), (stats.produced(), 0, 0));

    // A drain tells the first, having handed out what came before, and goes on behind it.
    let mut loaded = load();
    produce(&mut loaded, 6, true);
    let mut ring = loaded.into_handle().maps.events.with_tail();
    let mut count = 0;
    let error = ring.drain(|_| count += 1).unwrap_err();
    assert!(matches!(error, Error::RecordKind { tag: 99, .. }) && count == 4, "{error} {count}");
    let text = error.to_string();
    assert!(text.contains("events") && text.contains("99"), "{text}");
    assert!(matches!(ring.drain(|_| count += 1), Err(Error::RecordSize { .. })));
    assert_eq!((ring.drain(|_| count += 1).unwrap(), count), (0, 4));
}

#[test]
fn what_finds_no_room_is_counted_whatever_its_type() {
    let mut loaded = load();
    produce(&mut loaded, 4000, false);
    let mut ring = loaded.into_handle().maps.events.with_tail();
    let mut bytes = 0;
    let delivered = ring.drain_records(|event, tail| {
        bytes += tail.len()
            + match event {
                EventRef::Small(_) => size_of::<Small>(),
                EventRef::Named(_) => size_of::<Named>(),
                EventRef::Big(_) => size_of::<Big>(),
            };
    });
    let stats = ring.stats().unwrap();
    assert!(stats.lost() > 0 && bytes < 1 << 16, "{stats:?}");
    assert_eq!(stats.delivered, delivered.unwrap() as u64);
    assert_eq!(
        (stats.accounted(), stats.produced()),
        (all(4000).len() as u64, all(4000).len() as u64)
    );
}

/// What a hand would write for the ring.
#[derive(Clone, Copy, Debug, PartialEq, Events)]
#[events(tag = kind)]
enum ByHand {
    #[event(1)]
    Small(Small),
    #[event(2)]
    Named(Named),
    #[event(0xffff_fffe)]
    Big(HandBig),
}

#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C)]
struct HandBig {
    kind: u32,
    seq: u32,
    words: [u64; 20],
}

#[test]
fn an_enum_by_hand_reads_what_the_generated_one_does() {
    let mut loaded = load();
    produce(&mut loaded, 60, false);
    let object = loaded.into_handle();
    let fd = std::os::fd::AsFd::as_fd(&object.maps.events).try_clone_to_owned().unwrap();
    drop(object);
    let mut ring = RingBuf::<ByHand>::open(fd).unwrap().with_tail();
    let mut seen = Vec::new();
    ring.drain_records(|event, tail| seen.push((format!("{event:?}"), tail.to_vec()))).unwrap();
    let expected: Vec<_> = all(60)
        .into_iter()
        .map(|(event, tail)| (format!("{:?}", EventRef::from(&event)), tail))
        .collect();
    let by_hand = |text: &str| text.replace("HandBig", "Big");
    assert_eq!(
        seen.into_iter().map(|(text, tail)| (by_hand(&text), tail)).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn kinds_may_be_an_enum_of_c_and_zero() {
    let mut loaded = load();
    loaded.progs().change().libbpf(|program| {
        assert_eq!(program.test_run(Default::default()).unwrap().return_value, 0);
    });
    assert_eq!(LinkChanges::LINK_UP, LinkKind::LINK_UP);
    let mut seen = Vec::new();
    loaded.maps.link_changes.drain(|event| seen.push(LinkChanges::copy(event))).unwrap();
    let up = LinkUp { kind: LinkKind::LINK_UP, speed: 2.5 };
    let [LinkChanges::LinkUp(first), LinkChanges::LinkDown(down)] = seen[..] else {
        panic!("{seen:?}")
    };
    let LinkDown { kind, reason } = down;
    assert_eq!(
        (first, kind, reason.to_string_lossy().as_ref()),
        (up, LinkKind::LINK_DOWN, "unplugged")
    );
    assert!(matches!(LinkChangesRef::from(&seen[0]), LinkChangesRef::LinkUp(_)));
}

#[test]
fn a_generated_ring_has_its_wake_up_words() {
    let mut loaded = load();
    let ring = &mut loaded.maps.events;
    ring.set_wake_up(WakeUp::Manual).unwrap();
    assert_eq!((ring.wake_up(), ring.waiting()), (WakeUp::Manual, 0));
}
