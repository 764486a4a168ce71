//! Records from user space to programs: whole, in order, each once; and what finds
//! no room is an error.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{Error, OpenError, Pod, UserRingBuf};
use programs::{Programs, resize};
use support::Pins;
use support::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Pod)]
#[repr(C)]
struct Rule {
    seq: u64,
    check: u64,
}

impl Rule {
    fn new(seq: u64) -> Self {
        Self { seq, check: seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }
}

fn load(bytes: u32) -> Programs {
    Programs::load_with("user_ring", |object| resize(object, "rules", bytes))
}

/// What the program has seen, over all its runs.
#[derive(Default)]
struct Taken {
    next: u64,
    tail_bytes: u64,
}

impl Taken {
    /// Lets the program take so many records, 0 for all; how many it took.
    fn take(&mut self, programs: &Programs, most: u64) -> u64 {
        let mut args = [self.next, 0, 0, self.tail_bytes, most, 0];
        assert_eq!(programs.call("take_all", &mut args), 0);
        assert_eq!(args[2], 0, "records out of order or torn");
        assert_eq!(args[5], args[1], "the kernel's own count");
        (self.next, self.tail_bytes) = (args[0], args[3]);
        args[1]
    }
}

#[test]
fn user_ring_records_arrive_whole_and_in_order_round_and_round() {
    let programs = load(4096);
    let mut ring = UserRingBuf::<Rule>::open(programs.map("rules")).unwrap();
    assert_eq!((ring.capacity(), ring.waiting()), (4096, 0));
    let (mut taken, mut random, mut tails) = (Taken::default(), Random(5), 0);
    let (mut seq, mut received) = (0, 0);
    // Many times the size of the ring.
    for _ in 0..2000 {
        for _ in 0..random.below(8) {
            let tail = vec![seq as u8; random.below(300) as usize];
            match ring.send_with_tail(&Rule::new(seq), &tail) {
                Ok(()) => (seq, tails) = (seq + 1, tails + tail.len() as u64),
                Err(Error::RingFull { capacity: 4096, waiting, .. }) => {
                    assert_eq!(waiting, ring.waiting());
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
        received += taken.take(&programs, random.below(4));
    }
    while ring.waiting() > 0 {
        received += taken.take(&programs, 0);
    }
    assert_eq!((received, taken.next, taken.tail_bytes), (seq, seq, tails));
    assert_eq!(ring.sent(), seq);
    assert!(seq > 2000 && ring.refused() > 0, "{seq} sent, {} refused", ring.refused());
}

#[test]
fn user_ring_that_is_full_says_so_and_loses_nothing() {
    let programs = load(4096);
    let mut ring = UserRingBuf::<Rule>::open(programs.map("rules")).unwrap();
    // 24 bytes each, with the header.
    for seq in 0..170 {
        ring.send(&Rule::new(seq)).unwrap();
    }
    let error = ring.send(&Rule::new(170)).unwrap_err();
    assert!(error.is_full() && error.to_string().contains("4080 of its 4096"), "{error}");
    assert!(!ring.wait(Duration::from_millis(20)).unwrap());
    let mut taken = Taken::default();
    assert_eq!(taken.take(&programs, 1), 1);
    assert!(ring.wait(Duration::ZERO).unwrap());
    ring.send(&Rule::new(170)).unwrap();
    assert_eq!(taken.take(&programs, 0), 170);
    assert_eq!((ring.sent(), ring.refused(), ring.waiting()), (171, 1, 0));
}

/// A sender sleeps until a program has made room.
#[test]
fn user_ring_wait_ends_when_programs_have_made_room() {
    let programs = load(4096);
    let mut ring = UserRingBuf::<[u64; 200]>::open(programs.map("rules")).unwrap();
    let long = Duration::from_secs(20);
    for whole in [false, true] {
        // Full to the last byte, or with room for less than a record.
        let mut filled = 0;
        let mut filler = [0; 200];
        while ring.send(&filler).is_ok() {
            filler[0] += 1;
            filled += 1;
        }
        if whole {
            assert_eq!(ring.send_with_tail(&filler, &[]).unwrap_err().errno(), None);
        }
        let start = Instant::now();
        let room = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                // The program finds them all wrong; only their number counts here.
                let mut args = [0; 6];
                assert_eq!(programs.call("take_all", &mut args), 0);
                assert_eq!(args[1], filled);
            });
            ring.wait(long).unwrap()
        });
        assert!(room && start.elapsed() < long / 2);
    }
}

#[test]
fn user_ring_records_larger_than_the_ring_are_refused() {
    let programs = load(4096);
    let mut ring = UserRingBuf::<Rule>::open(programs.map("rules")).unwrap();
    for tail in [4096, 4096 - 16 - 8 + 1, 1 << 20] {
        let error = ring.send_with_tail(&Rule::new(0), &vec![0; tail]).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        assert!(!error.is_full());
    }
    // The largest that fits.
    ring.send_with_tail(&Rule::new(0), &vec![0; 4096 - 16 - 8]).unwrap();
    assert_eq!(ring.waiting(), 4096);
}

#[test]
fn user_ring_has_one_sender_and_goes_on_where_the_last_one_ended() {
    let pins = Pins::new();
    let programs = load(4096);
    let mut taken = Taken::default();
    let mut ring = UserRingBuf::<Rule>::open(programs.map("rules")).unwrap();
    ring.pin(pins.path("rules")).unwrap();
    assert!(matches!(
        UserRingBuf::<Rule>::open_pinned(pins.path("rules")),
        Err(OpenError::InUse { .. })
    ));
    for seq in 0..500 {
        ring.send(&Rule::new(seq)).unwrap();
        if seq % 2 == 0 {
            taken.take(&programs, 0);
        }
        if seq % 50 == 49 {
            drop(ring);
            ring = UserRingBuf::open_pinned(pins.path("rules")).unwrap();
        }
    }
    taken.take(&programs, 0);
    assert_eq!(taken.next, 500);
}

#[test]
fn user_ring_of_another_kind_or_size_is_refused() {
    let programs = load(4096);
    let error = UserRingBuf::<Rule>::open(programs.map("control")).unwrap_err();
    assert!(matches!(error, OpenError::Kind { wanted: "UserRingBuf", .. }), "{error}");
    let error = bpf_atlas::RingBuf::<Rule>::open(programs.map("rules")).unwrap_err();
    assert!(matches!(error, OpenError::Kind { wanted: "RingBuf", .. }), "{error}");
    for bytes in [0, 1, 6000, u32::MAX] {
        let error = UserRingBuf::<Rule>::create("rules", bytes).unwrap_err();
        assert!(matches!(error, OpenError::InvalidArgument { .. }), "{error}");
    }
    let mut ring = UserRingBuf::<Rule>::create("rules", 8192).unwrap();
    ring.send(&Rule::new(0)).unwrap();
    assert_eq!(ring.capacity(), 8192);
}
