//! Loading and holding: what libbpf and the verifier say is in the error and
//! the log, not on stderr; programs and maps outlive the object; dropping
//! detaches (G8).
#![forbid(unsafe_code)]

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bpf_atlas::{Array, Hash, OpenError, Pod, RawMap, agent};
use libbpf_rs::{ObjectBuilder, PrintCallback, PrintLevel};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal;

#[path = "support/programs.rs"]
mod programs;
mod support;
use support::{child, role};

/// libbpf's print callback is one for the process, and so are tests that look at it.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused() -> agent::LoadError {
    let object = agent::open_file(programs::compile("refused")).unwrap();
    agent::load(object).expect_err("the verifier took a program that does not check for NULL")
}

/// A `log` back end that keeps what it is given.
struct Kept(Mutex<Vec<String>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

#[test]
fn g2_a_refused_program_tells_why_and_stderr_stays_clean() {
    let name = "g2_a_refused_program_tells_why_and_stderr_stays_clean";
    let _alone = alone();
    programs::compile("refused");
    if role().is_none() {
        let output = child(name, "load").stderr(Stdio::piped()).output().unwrap();
        let (said, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{stderr}");
        assert_eq!(stderr, "", "something was printed to stderr");
        assert!(said.contains("R0 invalid mem access 'map_value_or_null'"), "{said}");
        println!("{said}");
        return;
    }

    log::set_logger(&KEPT).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let error = refused();
    let said = error.to_string();
    println!("{said}");
    assert!(said.starts_with("loading refused"), "{said}");
    assert!(
        said.contains("the verifier says: R0 invalid mem access 'map_value_or_null'"),
        "{said}"
    );
    assert!(said.lines().count() == 1 && said.len() < 300, "a verdict, not the whole log: {said}");
    let verifier = error.verifier_log().expect("the verifier's log");
    assert!(verifier.contains("call bpf_map_lookup_elem") && verifier.contains("processed "));
    assert!(!verifier.contains("END PROG LOAD LOG"));
    assert!(error.log().contains(verifier) && error.log().contains("prog 'unchecked'"));
    assert_eq!(error.missing(), None, "root lacks no capability");
    let source = std::error::Error::source(&error).expect("libbpf-rs's own error");
    assert!(!source.to_string().is_empty());

    // What libbpf said went to the log, under its name.
    let kept = KEPT.0.lock().unwrap().join("\n");
    assert!(kept.contains("DEBUG libbpf: ") && kept.contains("map_value_or_null"), "{kept}");
}

#[test]
fn g2_a_load_that_succeeds_says_nothing() {
    let name = "g2_a_load_that_succeeds_says_nothing";
    let _alone = alone();
    let path = programs::compile("loading");
    if role().is_none() {
        let output = child(name, "load").stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success());
        return assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
    let object = agent::load(agent::open_file(path).unwrap()).unwrap();
    agent::Attached::new(&object).unwrap();
}

static HEARD: Mutex<String> = Mutex::new(String::new());

fn hear(_: PrintLevel, message: String) {
    HEARD.lock().unwrap().push_str(&message);
}

/// Whether libbpf prints to `hear` now.
fn is_heard() -> bool {
    HEARD.lock().unwrap().clear();
    ObjectBuilder::default().open_file("/dev/null").expect_err("not an object");
    !HEARD.lock().unwrap().is_empty()
}

#[test]
fn the_print_callback_is_put_back() {
    let _alone = alone();
    let first = libbpf_rs::set_print(Some((PrintLevel::Warn, hear as PrintCallback)));
    assert!(is_heard());

    // After an error, of which it hears nothing, a success, and a panic.
    HEARD.lock().unwrap().clear();
    refused();
    assert_eq!(*HEARD.lock().unwrap(), "");
    assert!(is_heard());
    assert_eq!(agent::quietly("adding", || Ok(1 + 1)).unwrap(), 2);
    assert!(is_heard());
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        agent::quietly("panicking", || -> libbpf_rs::Result<()> {
            panic::resume_unwind(Box::new("as this test wants"))
        })
    }));
    assert!(panicked.is_err());
    assert!(is_heard());
    // And the next call works.
    assert!(refused().verifier_log().is_some());
    libbpf_rs::set_print(None);
    refused();
    assert!(!is_heard(), "none was there, none is put back");
    libbpf_rs::set_print(first);
}

#[test]
fn calls_can_be_nested_and_threads_take_turns() {
    let _alone = alone();
    let error = agent::quietly("outside", || {
        let inner = refused();
        assert!(inner.to_string().starts_with("loading refused"));
        assert!(inner.verifier_log().is_some());
        let inner = agent::open_file("/dev/null").unwrap_err();
        assert!(!inner.log().contains("unchecked"), "an inner error has its own log");
        Err::<(), _>(libbpf_rs::Error::from(io::Error::other("the outer error")))
    });
    let error = error.unwrap_err();
    assert!(error.to_string().starts_with("outside: the outer error"), "{error}");
    assert!(error.log().contains("unchecked") && error.log().contains("/dev/null"));

    let logs = [0; 8].map(|_| thread::spawn(|| refused().log().to_owned()));
    for log in logs.map(|thread| thread.join().unwrap()) {
        assert_eq!(log.matches("BEGIN PROG LOAD LOG").count(), 1, "each has its own: {log}");
    }
}

/// `struct watched` of the C source.
#[derive(Clone, Copy, Pod)]
#[repr(C)]
struct Watched {
    nr: u64,
    comm: [u8; 16],
}

/// What an agent keeps: no object, no skeleton, no lifetime.
struct Agent {
    attached: agent::Attached,
    calls: Hash<u32, u64>,
}

/// An agent that counts the `getppid` calls of the threads named `name`.
fn start(name: &str) -> Agent {
    let object = agent::load(agent::open_file(programs::compile("loading")).unwrap()).unwrap();
    let mut attached = agent::Attached::new(&object).unwrap();
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    let watched = Watched { nr: libc::SYS_getppid as u64, comm };
    Array::open(attached.map("watched").unwrap()).unwrap().update(0, watched).unwrap();
    let calls = Hash::<u32, u64>::open(attached.map("calls").unwrap()).unwrap();
    calls.update(0, 0).unwrap();
    let program = object.progs_mut().find(|program| program.name() == "count").unwrap();
    attached.add(agent::quietly("attaching count", || program.attach()).unwrap());
    Agent { attached, calls }
}

#[test]
fn g8_programs_and_maps_outlive_the_object_and_dropping_detaches() {
    let _alone = alone();
    let name = format!("atlas-{}", std::process::id() % 1_000_000);
    let make_calls = |n: u64| {
        let thread = thread::Builder::new().name(name.clone());
        let calls = move || {
            for _ in 0..n {
                nix::unistd::getppid();
            }
        };
        thread.spawn(calls).unwrap().join().unwrap();
    };
    make_calls(100);
    let agent = start(&name);
    assert_eq!(agent.calls.lookup(0).unwrap(), Some(0), "nothing was counted before");

    // The object is gone, the program counts; the agent moves to a thread.
    make_calls(1000);
    assert_eq!(agent.calls.lookup(0).unwrap(), Some(1000));
    let agent = thread::spawn(move || {
        assert_eq!(agent.attached.links().len(), 1);
        assert_eq!(agent.calls.sum().unwrap(), 1000);
        agent
    });
    let agent = agent.join().unwrap();
    make_calls(234);
    assert_eq!(agent.calls.lookup(0).unwrap(), Some(1234));
    let calls = agent.calls.clone();

    // Two of them count each for itself.
    let second = start(&name);
    make_calls(10);
    assert_eq!((calls.sum().unwrap(), second.calls.sum().unwrap()), (1244, 10));

    drop(agent);
    make_calls(5000);
    assert_eq!(calls.lookup(0).unwrap(), Some(1244), "the dropped program still counts");
    assert_eq!(second.calls.lookup(0).unwrap(), Some(5010));
    drop(second);

    // The map is all that is left, and goes with its last handle, once the
    // kernel has put the program away.
    let id = calls.info().id;
    assert!(RawMap::open_id(id).is_ok());
    drop(calls);
    programs::await_for("the map to go", || {
        matches!(RawMap::open_id(id), Err(OpenError::NotFound { .. }))
    });
}

/// The verifier gives up for a signal, and libbpf tries five times: too few beside a profiler's
/// timer.
#[test]
fn signals_do_not_keep_a_program_from_being_loaded() {
    let _alone = alone();
    let source = programs::compile("counting");
    let seen = Arc::new(AtomicUsize::new(0));
    let signal = signal_hook::consts::SIGPROF;
    signal_hook::flag::register_usize(signal, seen.clone(), 1).unwrap();
    let (is_over, loader) = (AtomicBool::new(false), pthread_self());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                pthread_kill(loader, Signal::SIGPROF).unwrap();
                thread::sleep(Duration::from_micros(20));
            }
        });
        for _ in 0..20 {
            let object = agent::open_file(&source).unwrap();
            let loaded = agent::load(object).map(drop);
            is_over.store(loaded.is_err(), Ordering::Relaxed);
            loaded.unwrap_or_else(|error| panic!("{error}"));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    // They were delivered, once each load was over.
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}
