//! The probe `exec_events`: programs that this test starts are all reported,
//! whichever way it is attached, and nothing stays behind.
#![cfg(feature = "probes")]
#![forbid(unsafe_code)]

#[path = "support/exec.rs"]
mod exec;
mod support;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, process, thread};

use bpf_atlas::probes::{AttachKind, ExecEvents, ProbeError};
use bpf_atlas::{Capability, OpenError, RawMap};
use exec::*;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

#[test]
fn every_one_of_500_programs_is_reported_with_pid_parent_and_arguments() {
    const TAG: &str = "500-programs";
    let mut execs = attach(ExecEvents::builder());
    assert_eq!((execs.attach_kind(), execs.failed_attach_kind()), (AttachKind::TpBtf, None));
    let before = SystemTime::now();
    let mut started = BTreeMap::new();
    let mut reported = BTreeMap::new();
    for n in 0..500 {
        let number = n.to_string();
        let pid = run(Command::new(TRUE).args([TAG, &number]));
        started.insert(pid, number);
        // Now and then, so that the ring wraps round under the reader.
        if n % 7 == 0 {
            reported.extend(drain(&mut execs, TAG).into_iter().map(|exec| (exec.pid, exec)));
        }
    }
    let rest = drain(&mut execs, TAG);
    let count = reported.len() + rest.len();
    reported.extend(rest.into_iter().map(|exec| (exec.pid, exec)));
    let after = SystemTime::now();

    assert_eq!((count, reported.len(), started.len()), (500, 500, 500), "each once");
    let slack = Duration::from_secs(1);
    for (pid, number) in &started {
        let exec = &reported[pid];
        assert_eq!(exec.args, [TRUE, TAG, number]);
        assert_eq!(exec.filename.as_deref(), Some(Path::new(TRUE)));
        assert_eq!((exec.comm.as_str(), exec.uid, exec.error), ("true", 0, None));
        assert_eq!(exec.args_total as usize, exec.arg_bytes());
        assert!(!exec.truncated && !exec.unreadable);
        assert!(exec.time + slack >= before && exec.time <= after + slack);
    }
    let health = execs.health().unwrap();
    assert_eq!((health.capacity, health.dropped(), execs.lost().unwrap()), (1 << 20, 0, 0));
    let totals = execs.ring().totals().unwrap();
    assert!(totals.submitted >= execs.ring().delivered() && execs.ring().refused() == 0);
}

#[test]
fn every_way_to_attach_tells_the_same() {
    const TAG: &str = "every-way";
    use AttachKind::{RawTracepoint, TpBtf, Tracepoint};
    for kind in [TpBtf, RawTracepoint, Tracepoint] {
        for failed in [Tracepoint, RawTracepoint] {
            let builder = ExecEvents::builder().attach_kind(kind).failed(true);
            let mut execs = attach(builder.failed_attach_kind(failed));
            assert_eq!((execs.attach_kind(), execs.failed_attach_kind()), (kind, Some(failed)));
            let pid = run(Command::new(TRUE).args([TAG, "ü"]));
            Command::new("/no/such/program").args([TAG, "2"]).spawn().expect_err("nothing there");
            let kept = drain(&mut execs, TAG);
            let [done, refused] = &kept[..] else { panic!("{kind} {failed}: {kept:?}") };
            assert_eq!((done.pid, done.error, done.comm.as_str()), (pid, None, "true"));
            assert_eq!(done.args, [TRUE, TAG, "ü"]);
            assert_eq!(done.filename.as_deref(), Some(Path::new(TRUE)));
            assert_eq!(refused.error, Some(ENOENT));
            assert_eq!(refused.args, ["/no/such/program", TAG, "2"]);
            assert_eq!(refused.filename.as_deref(), Some(Path::new("/no/such/program")));
        }
    }
}

#[test]
fn failed_calls_are_told_with_their_reason_only_if_asked_for() {
    const TAG: &str = "failed";
    let folder = support::Folder::new();
    let no_program = folder.file("no-program", "just text");
    let fail = || {
        Command::new("/no/such/file").arg(TAG).spawn().expect_err("nothing there");
        Command::new(&no_program).arg(TAG).spawn().expect_err("no permission to execute it");
        run(Command::new(TRUE).arg(TAG));
    };
    let mut without = attach(ExecEvents::builder());
    let mut with = attach(ExecEvents::builder().failed(true));
    assert_eq!(with.failed_attach_kind(), Some(AttachKind::Tracepoint));
    fail();
    assert_eq!(one(&mut without, TAG).error, None);
    let kept = drain(&mut with, TAG);
    let [missing, refused, done] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((missing.error, refused.error, done.error), (Some(ENOENT), Some(EACCES), None));
    assert_eq!(refused.filename.as_deref(), Some(&*no_program));
    assert_eq!(missing.filename.as_deref(), Some(Path::new("/no/such/file")));
    // Nothing has been replaced: the name is still that of who called.
    assert_ne!(missing.comm, "true");
    assert!(!missing.truncated && !refused.truncated);
}

#[test]
fn an_exec_by_another_thread_than_the_first_is_told_with_its_number() {
    const NAME: &str = "an_exec_by_another_thread_than_the_first_is_told_with_its_number";
    const TAG: &str = "thread";
    if support::role().is_some() {
        let exec = thread::spawn(|| Command::new(TRUE).arg(TAG).exec());
        panic!("not replaced: {:?}", exec.join());
    }
    let mut execs = attach(ExecEvents::builder());
    let pid = run(support::child(NAME, "exec").stdout(Stdio::null()));
    let mut found = 0;
    execs
        .drain(|exec| {
            if exec.pid == pid && exec.args().nth(1).is_some_and(|arg| arg == TAG) {
                assert!(exec.tid != pid && exec.ppid == process::id(), "{exec:?}");
                found += 1;
            }
        })
        .unwrap();
    assert_eq!(found, 1);
}

#[test]
fn without_tracefs_calls_that_fail_are_seen_by_a_raw_tracepoint() {
    const TAG: &str = "no-tracefs";
    // In a mount namespace of this thread's own.
    let seen = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace, as root may");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("keep mounts to us");
        for place in ["/sys/kernel/tracing", "/sys/kernel/debug"] {
            if Path::new(place).exists() {
                mount(Some("none"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)
                    .expect("cover tracefs");
            }
        }
        let only = ExecEvents::builder().attach_kind(AttachKind::Tracepoint).attach();
        let message = only.expect_err("no tracefs").to_string();
        assert!(message.contains("mount -t tracefs"), "{message}");

        let mut execs = attach(ExecEvents::builder().failed(true));
        assert_eq!(execs.attach_kind(), AttachKind::TpBtf);
        assert_eq!(execs.failed_attach_kind(), Some(AttachKind::RawTracepoint));
        Command::new("/no/such").arg(TAG).spawn().expect_err("nothing there");
        one(&mut execs, TAG).error
    });
    assert_eq!(seen.join().unwrap(), Some(ENOENT));
}

#[test]
fn only_the_user_that_is_asked_for() {
    const TAG: &str = "users";
    const NOBODY: u32 = 65534;
    let mut nobody = attach(ExecEvents::builder().uid(NOBODY).failed(true));
    let mut root = attach(ExecEvents::builder().uid(0));
    run(Command::new(TRUE).arg(TAG).uid(NOBODY));
    run(Command::new(TRUE).arg(TAG));
    Command::new("/no/such").arg(TAG).uid(NOBODY).spawn().expect_err("nothing there");
    let kept = drain(&mut nobody, TAG);
    assert_eq!(kept.iter().map(|k| k.uid).collect::<Vec<_>>(), [NOBODY; 2], "{kept:?}");
    assert_eq!(kept[1].error, Some(ENOENT));
    assert_eq!(one(&mut root, TAG).uid, 0);
}

#[test]
fn g6_what_finds_no_room_in_the_ring_is_counted() {
    const TAG: &str = "no-room";
    let mut execs = attach(ExecEvents::builder().ring_size(4096));
    for _ in 0..100 {
        run(Command::new(TRUE).arg(TAG));
    }
    let first = drain(&mut execs, TAG);
    let lost = execs.lost().unwrap();
    assert!(lost > 0 && first.len() < 100, "a ring of 4 KiB holds {} records", first.len());
    assert!(first.len() as u64 + lost >= 100);
    let health = execs.health().unwrap();
    assert!(health.lost >= lost && health.dropped() >= lost && health.capacity == 4096);
    // Once read it takes more.
    run(Command::new(TRUE).args([TAG, "again"]));
    assert_eq!(one(&mut execs, TAG).args[2], "again");
}

#[test]
fn wait_sleeps_until_something_is_executed() {
    const TAG: &str = "wait";
    // A user that nobody is, so that nothing else wakes it.
    let mut execs = attach(ExecEvents::builder().uid(54_321));
    let start = Instant::now();
    assert!(!execs.wait(Duration::from_millis(100)).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(100));
    let child = thread::spawn(|| {
        thread::sleep(Duration::from_millis(200));
        run(Command::new(TRUE).arg(TAG).uid(54_321))
    });
    assert!(execs.wait(Duration::from_secs(20)).unwrap(), "woken by a record");
    assert_eq!(one(&mut execs, TAG).pid, child.join().unwrap());
}

fn gone(map: u32) -> bool {
    matches!(RawMap::open_id(map), Err(OpenError::NotFound { .. }))
}

#[track_caller]
fn goes(map: u32) {
    let start = Instant::now();
    while !gone(map) {
        assert!(start.elapsed() < Duration::from_secs(20), "a program still holds the ring");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn g8_dropping_the_handle_on_any_thread_detaches() {
    let execs = attach(ExecEvents::builder().failed(true));
    let map = execs.ring().info().id;
    assert!(!gone(map));
    thread::spawn(move || drop(execs)).join().unwrap();
    // A program that is attached holds its maps.
    goes(map);
}

#[test]
fn g8_a_process_that_is_killed_leaves_nothing_attached() {
    const NAME: &str = "g8_a_process_that_is_killed_leaves_nothing_attached";
    const FILE: &str = "BPF_ATLAS_TEST_FILE";
    if support::role().is_some() {
        let execs = attach(ExecEvents::builder().failed(true));
        let file = PathBuf::from(std::env::var_os(FILE).expect("told where to write"));
        fs::write(file.with_extension("new"), execs.ring().info().id.to_string()).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
        thread::sleep(Duration::from_secs(600));
    }
    let folder = support::Folder::new();
    let file = folder.path().join("map-id");
    let mut child = support::child(NAME, "hold")
        .env(FILE, &file)
        .stdout(Stdio::null())
        .spawn()
        .expect("start the child");
    let start = Instant::now();
    while !file.exists() && start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(10));
    }
    let map = fs::read_to_string(&file).expect("the child has attached").parse().unwrap();
    assert!(!gone(map));
    child.kill().expect("kill the child");
    child.wait().expect("a child of ours");
    goes(map);
}

#[test]
fn g9_the_missing_capability_is_named_and_two_are_enough() {
    const NAME: &str = "g9_the_missing_capability_is_named_and_two_are_enough";
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    if let Some(role) = support::role() {
        let attached = ExecEvents::builder().attach();
        match role.as_str() {
            "all" => {
                let mut execs = attached.expect("CAP_BPF and CAP_PERFMON are enough");
                run(Command::new(TRUE).arg("capable"));
                assert_eq!(one(&mut execs, "capable").args, [TRUE, "capable"]);
            }
            missing => {
                let error = attached.expect_err("a capability is missing");
                let said = error.to_string();
                assert!(said.contains(missing) && said.contains("setcap"), "{said}");
                assert!(error.missing().is_some_and(|cap: Capability| cap.to_string() == missing));
                assert!(matches!(error, ProbeError::PermissionDenied { .. }));
            }
        }
        return;
    }
    let sets = [(&[PERFMON][..], "CAP_BPF"), (&[BPF], "CAP_PERFMON"), (&[BPF, PERFMON], "all")];
    support::with_each(NAME, &sets, Command::output);
}
