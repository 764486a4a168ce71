//! What other processes and privileges do: a child without capabilities is told
//! which one it lacks, a child with `CAP_BPF` and `CAP_PERFMON` alone can do all
//! that the kernel allows (G9), and a ring has one reader at a time (G6).
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, panic, thread};

use bpf_atlas::{
    Array, Capability, CreateFlags, Hash, LruHash, LruPerCpuHash, OpenError, PerCpu, PerCpuArray,
    PerCpuHash, Proof, RawMap, RingBuf, Unproved, agent,
};
use libbpf_rs::{MapCore, MapHandle, MapType};

#[path = "support/programs.rs"]
mod programs;
mod support;
use support::{Pins, RaiseOnDrop, child, child_with, role, says, skipped};

/// For `setfsuid`.
const CAP_SETUID: u32 = 7;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Where the parent has pinned a map of `u32` to `u64` with the entry 1: 2.
const PIN: &str = "BPF_ATLAS_TEST_PIN";

/// Runs a child and shows what it said.
#[track_caller]
fn must_succeed(command: &mut Command) {
    let output = command.output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout).trim());
    println!("{}", String::from_utf8_lossy(&output.stderr).trim());
    assert!(output.status.success(), "{}", output.status);
}

/// Pins a map as `shared`, and again as `private`, a file of somebody else.
fn pin_a_map(pins: &Pins) {
    let map = Hash::<u32, u64>::create("shared", 10).unwrap();
    map.update(1, 2).unwrap();
    map.pin(pins.path("shared")).unwrap();
    let private = pins.path("private");
    map.pin(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&private, Some(1234), Some(1234)).unwrap();
}

/// A pin that may not be read is no matter of BPF's capabilities.
fn private_pin_is_refused(path: PathBuf) {
    // A thread whose files are nobody's cannot read others' files.
    let error = thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
        Hash::<u32, u64>::open_pinned(path).unwrap_err()
    });
    let error = error.join().unwrap();
    assert!(needs(&error, Capability::Policy), "{error:?}");
    says(error, &["the pin", "permissions"]);
}

fn needs(error: &OpenError, capability: Capability) -> bool {
    matches!(error, OpenError::PermissionDenied { missing, .. } if *missing == capability)
}

#[test]
fn g2_without_cap_bpf_errors_name_it() {
    let name = "g2_without_cap_bpf_errors_name_it";
    if role().is_none() {
        let pins = Pins::new();
        pin_a_map(&pins);
        programs::compile("loading");
        let Some(mut child) = child_with(&[CAP_SETUID], name, "unprivileged") else {
            return skipped(name, "no setpriv");
        };
        return must_succeed(child.env(PIN, pins.path("shared")));
    }
    assert!(!Capability::Bpf.is_effective() && !Capability::SysAdmin.is_effective());

    // What needs it, however the kernel's unprivileged_bpf_disabled is set.
    let errors = [
        LruHash::<u32, u64>::create("mine", 10).unwrap_err(),
        LruPerCpuHash::<u32, u64>::create("mine", 10).unwrap_err(),
    ];
    for error in errors {
        assert!(needs(&error, Capability::Bpf), "{error:?}");
        assert_eq!(error.errno().map(|errno| errno.0), Some(libc::EPERM));
        says(error, &["creating", "`mine`", "needs CAP_BPF", "sudo", "setcap cap_bpf"]);
    }
    let error = RawMap::open_id(1).unwrap_err();
    assert!(needs(&error, Capability::SysAdmin), "{error:?}");
    says(error, &["map with id 1", "needs CAP_SYS_ADMIN", "sudo"]);

    let object = agent::open_file(programs::compile("loading")).unwrap();
    let error = agent::load(object).unwrap_err();
    assert_eq!(error.missing(), Some(Capability::Bpf));
    says(error, &["loading", "CAP_BPF", "sudo"]);

    // A pin can be used by whoever may read its file; kernels before 5.19
    // asked for the capability here too.
    let pin = PathBuf::from(env::var_os(PIN).unwrap());
    match Hash::<u32, u64>::open_pinned(&pin) {
        Ok(map) => assert_eq!((map.lookup(1).unwrap(), map.sum().unwrap()), (Some(2), 2)),
        Err(error) => {
            assert!(needs(&error, Capability::Bpf), "{error:?}");
            says(error, &["needs CAP_BPF"]);
        }
    }
    private_pin_is_refused(pin.with_file_name("private"));
}

#[test]
fn g9_cap_bpf_and_cap_perfmon_are_enough() {
    let name = "g9_cap_bpf_and_cap_perfmon_are_enough";
    if role().is_none() {
        let pins = Pins::new();
        pin_a_map(&pins);
        programs::compile("loading");
        let Some(mut child) = child_with(&[CAP_BPF, CAP_PERFMON], name, "an agent") else {
            return skipped(name, "no setpriv");
        };
        return must_succeed(child.env(PIN, pins.path("shared")));
    }
    assert!(Capability::Bpf.is_effective() && Capability::Perfmon.is_effective());
    assert!(!Capability::SysAdmin.is_effective() && !Capability::NetAdmin.is_effective());

    // Each kind: created, written, walked.
    let entries = || (0..1000).map(|key| (key, u64::from(key)));
    let spread = || (0..1000).map(|key| (key, PerCpu::on_cpu(0, u64::from(key))));
    const SUM: u64 = 499_500;
    let map = Hash::<u32, u64>::create("agent", 1000).unwrap();
    assert_eq!((map.update_all(entries()).unwrap(), map.sum().unwrap()), (1000, SUM));
    assert_eq!((map.take(999).unwrap(), map.delete_all([1, 2]).unwrap()), (Some(999), 2));
    assert_eq!((map.drain().count(), map.count().unwrap()), (997, 0));
    let lru = LruHash::<u32, u64>::create("agent", 5000).unwrap();
    assert_eq!((lru.update_all(entries()).unwrap(), lru.sum().unwrap()), (1000, SUM));
    let per_cpu = PerCpuHash::<u32, u64>::create("agent", 1000).unwrap();
    assert_eq!((per_cpu.update_all(spread()).unwrap(), per_cpu.sum().unwrap()), (1000, SUM));
    let lru = LruPerCpuHash::<u32, u64>::create("agent", 5000).unwrap();
    assert_eq!((lru.update_all(spread()).unwrap(), lru.sum().unwrap()), (1000, SUM));
    let array = Array::<u64>::create_with("agent", 1000, CreateFlags::MMAPABLE).unwrap();
    assert_eq!((array.update_all(entries()).unwrap(), array.sum().unwrap()), (1000, SUM));
    assert_eq!(array.mapped().unwrap().sum(), SUM);
    let array = PerCpuArray::<u64>::create("agent", 1000).unwrap();
    assert_eq!((array.update_all(spread()).unwrap(), array.sum().unwrap()), (1000, SUM));
    let mut ring = RingBuf::<u64>::create("agent", 65_536).unwrap();
    assert!(ring.next().unwrap().is_none());

    // Pins; and what remains out of reach.
    let pin = PathBuf::from(env::var_os(PIN).unwrap());
    let shared = Hash::<u32, u64>::open_pinned(&pin).unwrap();
    assert_eq!((shared.lookup(1).unwrap(), shared.info().frozen), (Some(2), false));
    let mine = pin.with_file_name("mine");
    map.pin(&mine).unwrap();
    map.freeze().unwrap();
    assert!(Hash::<u32, u64>::open_pinned(&mine).unwrap().info().frozen);
    let error = RawMap::open_id(shared.info().id).unwrap_err();
    assert!(needs(&error, Capability::SysAdmin), "{error:?}");
    says(error, &["needs CAP_SYS_ADMIN"]);

    // Programs: loaded and attached, with their maps.
    let object = agent::load(agent::open_file(programs::compile("loading")).unwrap()).unwrap();
    let mut attached = agent::Attached::new(&object).unwrap();
    let program = object.progs_mut().find(|program| program.name() == "count").unwrap();
    attached.add(agent::quietly("attaching", || program.attach()).unwrap());
    let calls = Hash::<u32, u64>::open(attached.map("calls").unwrap()).unwrap();
    assert_eq!(calls.count().unwrap(), 0);
    // The kernel gives such a process no BTF by its id. The object has its own;
    // where there is no object, sizes are what is proved.
    assert_eq!(*calls.proof(), Proof::ObjectBtf);
    let anew = Hash::<u32, u64>::open(calls.as_fd()).unwrap();
    assert_eq!(*anew.proof(), Proof::SizesOnly(Unproved::NotPermitted));
}

#[test]
fn g2_without_cap_perfmon_a_tracing_program_says_so() {
    let name = "g2_without_cap_perfmon_a_tracing_program_says_so";
    if role().is_none() {
        programs::compile("loading");
        let Some(mut child) = child_with(&[CAP_BPF], name, "maps only") else {
            return skipped(name, "no setpriv");
        };
        return must_succeed(&mut child);
    }
    assert_eq!(Hash::<u32, u64>::create("mine", 10).unwrap().count().unwrap(), 0);
    let object = agent::open_file(programs::compile("loading")).unwrap();
    let error = agent::load(object).unwrap_err();
    assert_eq!(error.missing(), Some(Capability::Perfmon));
    says(error, &["loading", "CAP_PERFMON", "sudo"]);
}

#[test]
fn g2_a_pin_that_may_not_be_read_is_no_matter_of_capabilities() {
    let pins = Pins::new();
    pin_a_map(&pins);
    assert!(Capability::Bpf.is_effective());
    private_pin_is_refused(pins.path("private"));
}

/// A ring that libbpf-rs made, which keeps nobody out by itself.
fn ring() -> MapHandle {
    let opts = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
        ..Default::default()
    };
    MapHandle::create(MapType::RingBuf, Some("events"), 0, 0, 65_536, &opts).unwrap()
}

#[track_caller]
fn in_use_by(result: Result<RingBuf<u64>, OpenError>, reader: u32) {
    let error = result.expect_err("a second reader was let in");
    assert!(
        matches!(&error, OpenError::InUse { pid: Some(pid), .. } if *pid == reader),
        "{error:?}"
    );
    says(error, &["`events` is in use already", &format!("process {reader}")]);
}

#[test]
fn g6_a_ring_has_one_reader() {
    let (map, other) = (ring(), ring());
    let reader = RingBuf::<u64>::open(&map).unwrap();
    in_use_by(RingBuf::open(&map), process::id());
    // From another thread, or by another descriptor, it is the same ring.
    let clone = MapHandle::try_from(&map).unwrap();
    in_use_by(thread::spawn(move || RingBuf::open(clone)).join().unwrap(), process::id());
    // Another ring is another ring.
    let second = RingBuf::<u64>::open(&other).unwrap();
    assert_ne!(second.info().id, reader.info().id);

    drop(reader);
    let again = RingBuf::<u64>::open(&map).unwrap();
    in_use_by(RingBuf::open(&map), process::id());
    // A reader that goes by a panic frees the ring too.
    let panicked = thread::spawn(move || {
        let _reader = again;
        panic::resume_unwind(Box::new("as this test wants"));
    });
    assert!(panicked.join().is_err());
    RingBuf::<u64>::open(&map).unwrap();

    // And one that could not be opened for another reason holds nothing.
    let hash = Hash::<u32, u64>::create("hash", 1).unwrap();
    assert!(matches!(RingBuf::<u64>::open(&hash), Err(OpenError::Kind { .. })));
}

#[test]
fn g6_every_second_reader_is_told_who_reads() {
    let map = ring();
    let _reader = RingBuf::<u64>::open(&map).unwrap();
    for _ in 0..100 {
        let error = RingBuf::<u64>::open(&map).unwrap_err();
        assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == process::id()));
    }
}

#[test]
fn g6_a_ring_is_free_at_once_though_children_are_being_started() {
    let map = ring();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = RaiseOnDrop(&done);
        // A child has copies of all descriptors until it execs.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(Command::new("true").status().unwrap().success());
            }
        });
        for _ in 0..2000 {
            let reader = RingBuf::<u64>::open(&map).unwrap();
            drop(reader);
        }
    });
}

#[test]
fn g6_a_ring_is_kept_for_its_reader_in_another_process() {
    let name = "g6_a_ring_is_kept_for_its_reader_in_another_process";
    if role().is_some() {
        let _ring = RingBuf::<u64>::open_pinned(env::var_os(PIN).unwrap()).unwrap();
        println!("\nreading");
        // Until the parent closes the pipe, or kills this process.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let pins = Pins::new();
    let path = pins.path("events");
    let mut map = ring();
    map.pin(&path).unwrap();
    let reader = || {
        let mut reader = child(name, "reader")
            .env(PIN, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(reader.stdout.take().unwrap()).lines();
        let opened = said.any(|line| line.unwrap() == "reading");
        assert!(opened, "the reader gave up");
        (reader, said)
    };

    // One that ends, and one that is killed with the ring open.
    let (mut ends, _said) = reader();
    in_use_by(RingBuf::open(&map), ends.id());
    in_use_by(RingBuf::open_pinned(&path), ends.id());
    ends.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(ends.wait().unwrap().success());
    drop(RingBuf::<u64>::open(&map).unwrap());

    let (mut killed, _said) = reader();
    in_use_by(RingBuf::open(&map), killed.id());
    killed.kill().unwrap();
    killed.wait().unwrap();
    RingBuf::<u64>::open(&map).unwrap();
    assert_eq!(map.map_type(), MapType::RingBuf);
}
