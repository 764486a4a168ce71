//! The probe `exec_events` with exits: each process that a test starts ends once,
//! with the status that `wait` tells, whichever way the probe is attached.
#![cfg(feature = "probes")]

#[path = "support/exec.rs"]
mod exec;
mod support;

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bpf_atlas::probes::{AttachKind, ExecEvents, ExecEventsBuilder, Exit, ProcessEvent};
use exec::*;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, fork};

/// An exit, copied out of the ring.
#[derive(Clone, Debug)]
struct Ended {
    status: ExitStatus,
    code: Option<u8>,
    signal: Option<i32>,
    core: bool,
    comm: String,
    ppid: u32,
    uid: u32,
    start_ns: u64,
    time_ns: u64,
}

impl Ended {
    fn of(exit: &Exit<'_>) -> Self {
        assert_eq!(exit.duration(), Duration::from_nanos(exit.time_ns - exit.start_ns));
        assert_ne!(exit.ppid, 2, "a thread of the kernel: {exit:?}");
        Self {
            status: exit.exit_status(),
            code: exit.code(),
            signal: exit.signal(),
            core: exit.core_dumped(),
            comm: exit.comm.to_string(),
            ppid: exit.ppid,
            uid: exit.uid,
            start_ns: exit.start_ns,
            time_ns: exit.time_ns,
        }
    }
}

fn exits() -> ExecEventsBuilder {
    ExecEvents::builder().exits(true)
}

/// All exits that are there, by process; none twice.
fn ended(probe: &mut ExecEvents) -> BTreeMap<u32, Ended> {
    let mut ended = BTreeMap::new();
    probe
        .drain_events(|event| {
            if let ProcessEvent::Exit(exit) = event {
                let twice = ended.insert(exit.pid, Ended::of(&exit));
                assert!(twice.is_none(), "{} has ended twice: {exit:?} {twice:?}", exit.pid);
            }
        })
        .expect("read the ring");
    ended
}

/// Starts it, waits for it, and tells its pid and what `wait` said.
fn end(command: &mut Command) -> (u32, ExitStatus) {
    let mut child = command.stdout(Stdio::null()).spawn().expect("start a program");
    let status = child.wait().expect("a child of ours");
    (child.id(), status)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// Nanoseconds of the boot clock.
fn now() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap()).as_nanos() as u64
}

#[test]
fn every_code_and_signal_is_the_one_that_wait_tells() {
    let mut probe = attach(exits());
    let mut told = BTreeMap::new();
    for code in 0..256 {
        told.extend([end(&mut shell(&format!("exit {code}")))]);
    }
    // Those that end a process; KILL and real-time ones among them.
    const SIGNALS: [i32; 16] = [1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 31, 34, 64];
    for signal in SIGNALS {
        told.extend([end(&mut shell(&format!("ulimit -c 0; kill -{signal} $$")))]);
    }
    let ended = ended(&mut probe);
    let (mut codes, mut signals) = (Vec::new(), Vec::new());
    for (pid, status) in &told {
        let ended = &ended[pid];
        assert_eq!(ended.status.into_raw(), status.into_raw(), "{pid}: {ended:?}");
        assert_eq!((ended.ppid, ended.uid, ended.comm.as_str()), (process::id(), 0, "sh"));
        assert_eq!(ended.code.map(i32::from), status.code());
        assert_eq!((ended.signal, ended.core), (status.signal(), false));
        codes.extend(ended.code);
        signals.extend(ended.signal);
    }
    codes.sort_unstable();
    signals.sort_unstable();
    assert_eq!((codes, signals), ((0..=255).collect(), SIGNALS.to_vec()));
    assert_eq!(probe.lost().unwrap(), 0);
}

#[test]
fn a_core_that_was_dumped_is_told_by_a_flag() {
    const NAME: &str = "a_core_that_was_dumped_is_told_by_a_flag";
    let folder = support::Folder::new();
    let mut probe = attach(exits());
    let mut dump = shell("ulimit -c unlimited; kill -SEGV $$");
    let (pid, status) = end(dump.current_dir(folder.path()));
    let (without, _) = end(&mut shell("ulimit -c 0; kill -SEGV $$"));
    let ended = ended(&mut probe);
    let (with, without) = (&ended[&pid], &ended[&without]);
    assert_eq!((with.signal, with.core), (Some(11), status.core_dumped()));
    assert_eq!((without.signal, without.core, without.code), (Some(11), false, None));
    if !status.core_dumped() {
        support::skipped(NAME, "this machine dumps no core");
    }
}

/// Ends this thread alone, without what a runtime would do first.
#[allow(unsafe_code, reason = "no crate has a safe call for it")]
fn end_thread(code: i32) -> ! {
    // SAFETY: the system call ends the calling thread and touches no memory.
    // Nothing of this thread is borrowed elsewhere: it waits for no one and the
    // others look at nothing of it.
    unsafe {
        libc::syscall(libc::SYS_exit, code);
    }
    unreachable!("the thread has ended")
}

/// A child that goes on in `act`, in its first thread: a test's own is another.
#[allow(unsafe_code, reason = "a first thread to end has only a process that was forked")]
fn forked(role: &str) -> (u32, ExitStatus) {
    // SAFETY: the child never returns from `act`, which uses nothing that another
    // thread of this process may hold: it starts threads and ends, for which the
    // allocator of the C library is made fit again by fork.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            act(role);
            process::abort()
        }
        ForkResult::Parent { child } => {
            let mut status = 0;
            // SAFETY: the status is written to a variable of our own.
            let waited = unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) };
            assert_eq!(waited, child.as_raw(), "a child of ours");
            (child.as_raw() as u32, ExitStatus::from_raw(status))
        }
    }
}

/// A thread with a name that is not the process's.
fn other(act: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name("other".into()).spawn(act).expect("start a thread");
}

/// What a child of several threads does. It is over after a minute at most.
fn act(role: &str) {
    let wait = || thread::sleep(Duration::from_secs(60));
    match role {
        "leader first, then exit_group" => {
            other(|| {
                thread::sleep(Duration::from_millis(30));
                process::exit(7)
            });
            end_thread(3)
        }
        "leader first, then the last thread" => {
            other(|| {
                thread::sleep(Duration::from_millis(30));
                end_thread(5)
            });
            end_thread(3)
        }
        "leader last" => {
            other(|| end_thread(5));
            thread::sleep(Duration::from_millis(30));
            end_thread(3)
        }
        "exit_group beside the leader" => {
            other(|| process::exit(9));
            wait()
        }
        "exit_group of many" => {
            for _ in 0..16 {
                other(wait);
            }
            process::exit(11)
        }
        "killed" => {
            for _ in 0..4 {
                other(wait);
            }
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
            wait()
        }
        "all at once" => {
            let start = Arc::new(Barrier::new(8));
            for _ in 0..7 {
                let start = Arc::clone(&start);
                other(move || {
                    start.wait();
                    end_thread(0)
                });
            }
            start.wait();
            end_thread(0)
        }
        other => panic!("{other}"),
    }
}

const ROLES: &[&str] = &[
    "leader first, then exit_group",
    "leader first, then the last thread",
    "leader last",
    "exit_group beside the leader",
    "exit_group of many",
    "killed",
    "all at once",
];

#[test]
fn a_process_of_several_threads_ends_once_with_its_last() {
    use AttachKind::{RawTracepoint, TpBtf, Tracepoint};
    for kind in [TpBtf, RawTracepoint, Tracepoint] {
        for by_live_threads in [false, true] {
            let builder = exits().attach_kind(kind).exits_by_live_threads(by_live_threads);
            let mut probe = attach(builder);
            let mut told = BTreeMap::new();
            for role in ROLES {
                let rounds = if *role == "all at once" { 20 } else { 1 };
                for _ in 0..rounds {
                    let (pid, status) = forked(role);
                    told.insert(pid, (role, status));
                }
            }
            let ended = ended(&mut probe);
            for (pid, (role, status)) in told {
                let Some(ended) = ended.get(&pid) else {
                    panic!("{kind} {by_live_threads}: {role}: no end")
                };
                assert_eq!(ended.status.into_raw(), status.into_raw(), "{kind}: {role}: {ended:?}");
                assert_ne!(ended.comm, "other", "{kind}: {role}: the name of its first thread");
                assert!(ended.time_ns > ended.start_ns, "{kind}: {role}: {ended:?}");
            }
        }
    }
}

#[test]
fn a_duration_is_from_fork_to_end() {
    let mut probe = attach(exits());
    let before = now();
    let mut child = Command::new("/bin/sleep").arg("0.2").spawn().expect("start a program");
    let started = now();
    child.wait().expect("a child of ours");
    let after = now();
    let ended = &ended(&mut probe)[&child.id()];
    assert!((before..=started).contains(&ended.start_ns), "{before} {ended:?} {started}");
    assert!((started..=after).contains(&ended.time_ns), "{started} {ended:?} {after}");
    assert!(ended.time_ns - ended.start_ns >= 200_000_000, "{ended:?}");

    // An exec is no new beginning, and a process that executes nothing has one.
    let before = now();
    let (pid, _) = end(&mut shell("(sleep 0.1; exit 4) ; exec true"));
    let ended = self::ended(&mut probe);
    let own = &ended[&pid];
    assert_eq!((own.comm.as_str(), own.code), ("true", Some(0)));
    assert!(own.time_ns - own.start_ns >= 100_000_000 && own.start_ns >= before, "{own:?}");
    let inner: Vec<_> = ended.values().filter(|ended| ended.ppid == pid).collect();
    let [inner] = inner[..] else { panic!("{inner:?}") };
    assert_eq!((inner.comm.as_str(), inner.code), ("sh", Some(4)));
}

#[test]
fn an_exec_comes_before_the_end_of_its_process_and_each_once() {
    let mut probe = attach(exits().failed(true));
    let mut pids = Vec::new();
    let mut seen: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut note = |probe: &mut ExecEvents| {
        probe
            .drain_events(|event| {
                let what = match &event {
                    ProcessEvent::Exec(exec) => match exec.error() {
                        None => format!("exec {}", exec.comm),
                        Some(error) => format!("failed {}", error.0),
                    },
                    ProcessEvent::Exit(exit) => format!("exit {:?}", exit.code()),
                    other => panic!("{other:?}"),
                };
                seen.entry(event.pid()).or_default().push(what);
            })
            .expect("read the ring")
    };
    for n in 0..200 {
        pids.push(run(&mut Command::new(TRUE)));
        if n % 9 == 0 {
            note(&mut probe);
        }
    }
    note(&mut probe);
    let expected = ["exec true", "exit Some(0)"];
    assert!(pids.iter().all(|pid| seen[pid] == expected), "{seen:?}");
}

#[test]
fn a_program_that_cannot_be_started_leaves_an_end_too() {
    const TAG: &str = "no-start";
    let mut probe = attach(exits().failed(true));
    Command::new("/no/such").arg(TAG).spawn().expect_err("nothing there");
    let mut failed = None;
    let mut end = None;
    probe
        .drain_events(|event| match event {
            ProcessEvent::Exec(exec) if exec.args().any(|arg| arg == TAG) => {
                assert_eq!((exec.error(), end), (Some(ENOENT), None));
                failed = Some(exec.pid);
            }
            ProcessEvent::Exit(exit) if failed == Some(exit.pid) => {
                assert_eq!((exit.ppid, end), (process::id(), None));
                end = Some(exit.code());
            }
            _ => {}
        })
        .unwrap();
    // posix_spawn's child says by 127 that it could not, as the shell does.
    assert_eq!(end, Some(Some(127)));
    // Whoever asks for execs alone gets those alone.
    run(Command::new(TRUE).arg(TAG));
    assert_eq!(one(&mut probe, TAG).args, [TRUE, TAG]);
}

#[test]
fn without_being_asked_for_there_are_no_exits() {
    let mut probe = attach(ExecEvents::builder());
    let pid = run(&mut Command::new(TRUE));
    let mut execs = 0;
    probe
        .drain_events(|event| match event {
            ProcessEvent::Exec(exec) => execs += usize::from(exec.pid == pid),
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert_eq!(execs, 1);
}

#[test]
fn g6_delivered_and_lost_are_all_that_was_produced_under_a_burst() {
    // A user that nobody is: what others do is not counted.
    const NOBODY: u32 = 54_322;
    const EACH: u64 = 150;
    let mut probe = attach(exits().uid(NOBODY).ring_size(4096));
    let burst = || (0..EACH).for_each(|_| assert!(run(Command::new(TRUE).uid(NOBODY)) > 0));
    let (mut execs, mut ends) = (0, 0);
    let mut count = |probe: &mut ExecEvents| {
        probe
            .drain_events(|event| match event {
                ProcessEvent::Exec(_) => execs += 1,
                _ => ends += 1,
            })
            .unwrap()
    };
    thread::scope(|scope| {
        let producers = [scope.spawn(burst), scope.spawn(burst)];
        // Nothing is read before something was lost.
        let done = || producers.iter().all(|producer| producer.is_finished());
        while probe.lost().unwrap() == 0 && !done() {
            thread::sleep(Duration::from_millis(1));
        }
        while !done() {
            count(&mut probe);
            thread::sleep(Duration::from_millis(10));
        }
    });
    count(&mut probe);
    let stats = probe.ring().stats().unwrap();
    assert_eq!((stats.produced(), stats.accounted()), (4 * EACH, 4 * EACH), "{stats:?}");
    assert_eq!(stats.delivered, execs + ends);
    assert_eq!((stats.refused, probe.lost().unwrap()), (0, stats.lost()));
    assert!(stats.lost() > 0 && execs > 0 && ends > 0, "{stats:?}");
}
