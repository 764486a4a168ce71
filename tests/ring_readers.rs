//! G6: one reader at a time, a reader that is killed loses nothing, and a ring
//! that something else has written to is an error and no crash.

#[path = "support/programs.rs"]
mod programs;
#[path = "support/ring.rs"]
mod ring_programs;
mod support;

use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, process, thread};

use bpf_atlas::{Error, OpenError, RingBuf};
use libbpf_rs::Map;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use programs::Programs;
use ring_programs::{Numbered, load, produce, read_all, reader};
use support::random::Random;
use support::{Pins, child, role};

/// Where a child finds the ring.
const PIN: &str = "BPF_ATLAS_TEST_PIN";

/// A process that reads a ring. Killed when dropped, as a reader may be.
struct Reading(Child);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A child of the test `name` that reads the ring pinned at `pin`, and the last
/// word of the line with which it said that it is ready.
fn start(name: &str, role: &str, pin: &Path) -> (Reading, String) {
    let mut command = child(name, role);
    let child = command.env(PIN, pin).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Reading(child);
    for line in BufReader::new(child.0.stdout.take().unwrap()).lines() {
        if let Some((_, word)) = line.unwrap().rsplit_once("ready ") {
            return (child, word.to_owned());
        }
    }
    panic!("the child ended early: {}", child.0.wait().unwrap());
}

/// What a child does: reads as many records as its role says, holds the next
/// one, says which it is, and waits to be killed.
fn read_and_hold(role: &str) -> ! {
    let mut ring = RingBuf::<Numbered>::open_pinned(env::var_os(PIN).unwrap()).unwrap();
    for _ in 0..role.parse().unwrap() {
        assert!(ring.next().unwrap().unwrap().is_whole());
    }
    let record = ring.next().unwrap().unwrap();
    assert!(record.is_whole());
    println!("ready {}", record.seq);
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn g6_i17_a_killed_reader_leaves_the_record_it_held_to_the_next_reader() {
    if let Some(role) = role() {
        read_and_hold(&role);
    }
    let test = "g6_i17_a_killed_reader_leaves_the_record_it_held_to_the_next_reader";
    let pins = Pins::new();
    let programs = load(4096);
    let ring = reader(&programs);
    ring.pin(pins.path("ring")).unwrap();
    drop(ring);
    assert_eq!(produce(&programs, 0, 0, 100), 0);

    // Each reader consumes some, is killed holding the next, and so on.
    let mut at = 0;
    for consumed in [0, 0, 1, 2, 3, 10, 20] {
        at += consumed;
        let (child, held) = start(test, &consumed.to_string(), &pins.path("ring"));
        assert_eq!(held, at.to_string(), "the record after the last one consumed");
        drop(child);
    }
    let mut ring = RingBuf::open_pinned(pins.path("ring")).unwrap();
    assert_eq!(read_all(&mut ring), (at..100).collect::<Vec<u32>>(), "none lost, none twice");
}

/// The pin is all that keeps the ring and its records.
#[test]
fn g6_records_of_a_pinned_ring_outlive_program_and_reader() {
    let pins = Pins::new();
    let programs = load(4096);
    let ring = reader(&programs);
    ring.pin(pins.path("ring")).unwrap();
    produce(&programs, 0, 0, 10);
    drop((ring, programs));
    let mut ring = RingBuf::<Numbered>::open_pinned(pins.path("ring")).unwrap();
    assert_eq!(ring.next().unwrap().map(|record| record.seq), Some(0));
    drop(ring);
    let mut ring = RingBuf::open_pinned(pins.path("ring")).unwrap();
    assert_eq!(read_all(&mut ring), (1..10).collect::<Vec<_>>());
}

#[test]
fn g6_the_stats_of_a_restarted_reader_add_up_from_its_first_look() {
    let pins = Pins::new();
    let programs = load(4096);
    let mut ring = reader(&programs);
    ring.pin(pins.path("ring")).unwrap();
    // 24 bytes and a header: 127 fit, since a ring is never quite full.
    assert_eq!(produce(&programs, 0, 0, 130), 3);
    assert_eq!(read_all(&mut ring).len(), 127);
    produce(&programs, 0, 130, 3);
    drop(ring);

    let mut ring = RingBuf::<Numbered>::open_pinned(pins.path("ring")).unwrap();
    let first = ring.stats().unwrap();
    assert_eq!((first.produced(), first.lost(), first.delivered), (133, 3, 0));
    assert_eq!(read_all(&mut ring).len(), 3);
    let now = ring.stats().unwrap().since(&first);
    assert_eq!((now.produced(), now.accounted()), (0, 3), "what waited then");

    let first = ring.stats().unwrap();
    assert_eq!(produce(&programs, 0, 133, 131), 4);
    read_all(&mut ring);
    let now = ring.stats().unwrap().since(&first);
    assert_eq!((now.produced(), now.accounted()), (131, 131));
    assert_eq!((now.delivered, now.lost_full, now.waiting, now.capacity), (127, 4, 0, 4096));
}

#[test]
fn g6_i19_a_second_reader_in_the_process_is_refused_until_the_first_is_gone() {
    let programs = load(4096);
    let mut first = reader(&programs);
    produce(&programs, 0, 0, 3);
    assert_eq!(first.next().unwrap().unwrap().seq, 0);
    let open = || RingBuf::<Numbered>::open(programs.map("events"));
    match open() {
        Err(OpenError::InUse { pid: Some(pid), .. }) => assert_eq!(pid, process::id()),
        other => panic!("{other:?}"),
    }
    // Another ring is another matter.
    let others = load(4096);
    drop(reader(&others));
    assert_eq!(first.next().unwrap().unwrap().seq, 1);
    drop(first);
    assert_eq!(read_all(&mut open().unwrap()), [2]);
}

#[test]
fn g6_i19_a_second_reader_in_another_process_is_refused_until_the_first_is_dead() {
    if let Some(role) = role() {
        if role != "refused" {
            read_and_hold(&role);
        }
        match RingBuf::<Numbered>::open_pinned(env::var_os(PIN).unwrap()) {
            Err(error @ OpenError::InUse { pid: Some(pid), .. }) => {
                assert!(error.to_string().contains(&pid.to_string()), "{error}");
                println!("ready {pid}");
                process::exit(0);
            }
            other => panic!("{other:?}"),
        }
    }
    let test = "g6_i19_a_second_reader_in_another_process_is_refused_until_the_first_is_dead";
    let pins = Pins::new();
    let programs = load(4096);
    let ring = reader(&programs);
    ring.pin(pins.path("ring")).unwrap();
    produce(&programs, 0, 0, 3);

    let (mut refused, by) = start(test, "refused", &pins.path("ring"));
    assert_eq!(by, process::id().to_string(), "this process reads the ring");
    assert!(refused.0.wait().unwrap().success());
    drop(ring);

    let (child, _) = start(test, "1", &pins.path("ring"));
    match RingBuf::<Numbered>::open_pinned(pins.path("ring")) {
        Err(OpenError::InUse { pid: Some(pid), .. }) => assert_eq!(pid, child.0.id()),
        other => panic!("{other:?}"),
    }
    drop(child);
    assert_eq!(read_all(&mut RingBuf::open_pinned(pins.path("ring")).unwrap()), [1, 2]);
}

/// Another mapping of a ring's consumer page, as a second reader would have
/// that does not ask.
struct Intruder {
    page: std::ptr::NonNull<std::ffi::c_void>,
    len: usize,
}

#[allow(unsafe_code, reason = "no safe call of the library writes a ring's position")]
impl Intruder {
    fn new(ring: &Map<'_>) -> Self {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap();
        let len = page as usize;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choosing.
        let page = unsafe {
            mmap(
                None,
                NonZeroUsize::new(len).unwrap(),
                access,
                MapFlags::MAP_SHARED,
                ring.as_fd(),
                0,
            )
        };
        Self { page: page.unwrap(), len }
    }

    /// The consumer position.
    fn position(&self) -> &AtomicUsize {
        // SAFETY: the page is mapped for as long as `self`, its start is
        // aligned, and everyone accesses the position atomically.
        unsafe { self.page.cast::<AtomicUsize>().as_ref() }
    }
}

#[allow(unsafe_code, reason = "as above")]
impl Drop for Intruder {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows from it any more.
        unsafe { munmap(self.page, self.len) }.unwrap();
    }
}

fn is_corrupt<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    match result {
        Err(Error::RingCorrupt { .. }) => true,
        Err(other) => panic!("{other}"),
        Ok(_) => false,
    }
}

/// A ring whose consumer position is `move_by` from where it should be.
fn moved(move_by: isize) -> (Programs, RingBuf<Numbered>) {
    let programs = load(4096);
    produce(&programs, 0, 0, 10);
    let intruder = Intruder::new(&programs.map("events"));
    intruder.position().fetch_add(move_by as usize, Ordering::AcqRel);
    let ring = reader(&programs);
    (programs, ring)
}

#[test]
fn g6_positions_that_contradict_each_other_are_an_error() {
    // In the middle of a word, past what was produced, far behind, far ahead.
    for move_by in [4, 1, 4104, 8192, -4096 * 4, isize::MAX, isize::MIN] {
        let (programs, mut ring) = moved(move_by);
        assert!(is_corrupt(ring.next().map(drop)), "{move_by}");
        assert!(is_corrupt(ring.drain(|_| {})), "{move_by}");
        assert!(is_corrupt(ring.wait(Duration::from_secs(5))), "{move_by}");
        // It stays so, and the programs are none the worse for it.
        produce(&programs, 0, 10, 5);
        assert!(is_corrupt(ring.next().map(drop)), "{move_by}");
    }
}

/// A reader that another one has overtaken: producers have written over what it
/// has not read. It must notice, or read what is there, and never crash.
#[test]
fn g6_a_reader_that_was_overtaken_gets_an_error() {
    let programs = load(4096);
    let mut ring = reader(&programs);
    let intruder = Intruder::new(&programs.map("events"));
    let mut seq = 0;
    for _ in 0..5 {
        assert_eq!(produce(&programs, 0, seq, 100), 0);
        seq += 100;
        // 100 records of 32 bytes.
        intruder.position().fetch_add(3200, Ordering::AcqRel);
    }
    assert!(is_corrupt(ring.next().map(drop)));
}

/// Positions anywhere: headers are then whatever bytes lie there, from the
/// program's random numbers. Any answer will do but a crash or a hang.
#[test]
fn g6_no_position_crashes_a_reader() {
    let mut random = Random(7);
    let (mut corrupt, mut sizes, mut read) = (0, 0, 0);
    for _ in 0..100 {
        let programs = load(4096);
        let intruder = Intruder::new(&programs.map("events"));
        for round in 0..20 {
            produce(&programs, 0, 0, random.below(60));
            // A reader that starts there, or one that is overtaken as it reads.
            let mut ring = reader(&programs);
            intruder.position().fetch_add(random.below(600) as usize * 8, Ordering::AcqRel);
            if round % 2 == 0 {
                drop(ring);
                ring = reader(&programs);
            }
            produce(&programs, 1, 0, random.below(60));
            for _ in 0..10 {
                let result = match random.below(3) {
                    0 => ring
                        .next()
                        .map(|record| record.map_or(0, |record| usize::from(record.is_whole()))),
                    1 => ring.drain(|_| {}),
                    _ => ring.wait(Duration::ZERO).map(|_| 0),
                };
                match result {
                    Ok(records) => read += records,
                    Err(Error::RingCorrupt { .. }) => corrupt += 1,
                    Err(Error::RecordSize { .. }) => sizes += 1,
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
    println!("{read} records read, {corrupt} times corrupt, {sizes} times the wrong size");
    assert!(corrupt > 0 && read > 0);
}
