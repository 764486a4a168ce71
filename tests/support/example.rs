//! Runs an example and keeps an eye on it.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use libbpf_rs::query::LinkInfoIter;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use serde_json::Value;

use crate::programs::await_for;

/// An example and what it takes to test it.
pub struct Example {
    pub name: &'static str,
    /// What it needs to be told.
    pub args: &'static [&'static str],
    /// How many programs it attaches.
    pub links: usize,
    /// What gives it something to show.
    pub stir: Stir,
    /// The `type` of its main JSON objects.
    pub shows: &'static str,
}

/// What happens while an example runs.
#[derive(Clone, Copy)]
pub enum Stir {
    /// This process makes system calls.
    Calls,
    /// Programs are started.
    Execs,
    /// Datagrams on `lo` of a network namespace that the example has to itself.
    Datagrams,
    /// Whatever this makes of the test's own.
    Own(fn() -> Box<dyn FnMut()>),
}

/// The file of an example. `cargo test` builds them all, next to the tests.
pub fn file(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a mounted /proc");
    let target = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let file = target.join("examples").join(name);
    assert!(file.exists(), "{} is missing: run `cargo build --examples`", file.display());
    file
}

impl Example {
    /// Its command line, with `more` arguments.
    pub fn command(&self, more: &[&str]) -> Command {
        self.command_in(&[], more)
    }

    /// The same, run by another program.
    pub fn command_in(&self, runner: &[&str], more: &[&str]) -> Command {
        let file = file(self.name);
        let mut words: Vec<&OsStr> = Vec::new();
        if matches!(self.stir, Stir::Datagrams) {
            words.extend(["unshare", "--net", "--"].map(OsStr::new));
        }
        words.extend(runner.iter().map(OsStr::new));
        words.push(file.as_os_str());
        words.extend(self.args.iter().chain(more).map(OsStr::new));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    /// Starts it. On return it is attached, and there is something to show.
    pub fn start(&self, more: &[&str]) -> Running {
        let example = file(self.name);
        let mut command = self.command(more);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
        let pid = child.id();
        let mut running = Running { child, links: BTreeSet::new(), stirring: None };
        await_for("an example to attach", || {
            // Until it is executed, a child has the descriptors of this process.
            let executed =
                fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == example);
            running.links = if executed { links_of(pid) } else { BTreeSet::new() };
            assert!(running.child.try_wait().unwrap().is_none(), "{} has ended", self.name);
            running.links.len() >= self.links
        });
        running.stirring = Some(Stirring::start(self.stir, pid));
        running
    }
}

/// An example that runs.
pub struct Running {
    pub child: Child,
    links: BTreeSet<u32>,
    stirring: Option<Stirring>,
}

impl Running {
    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a child that lives");
    }

    /// Waits for its end: all that was not read yet. Nothing of it stays attached.
    pub fn end(mut self) -> Output {
        self.links.extend(links_of(self.child.id()));
        let deadline = Deadline::after(Duration::from_secs(20), self.child.id());
        let stdout = self.child.stdout.take().map(collect);
        let stderr = self.child.stderr.take().map(collect);
        let status = self.child.wait().expect("wait for a child");
        drop(deadline);
        self.stirring = None;
        assert_ne!(status.signal(), Some(9), "it did not end in 20 s");
        self.until_detached();
        let text = |reader: Option<JoinHandle<Vec<u8>>>| {
            reader.map_or_else(Vec::new, |reader| reader.join().unwrap())
        };
        Output { status, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Kills it, so that it can clean up nothing itself. Nothing of it stays attached.
    pub fn kill(mut self) {
        self.stirring = None;
        self.child.kill().expect("a child that lives");
        self.child.wait().expect("wait for a child");
        self.until_detached();
    }

    /// The kernel takes its time to free what was closed.
    fn until_detached(&self) {
        let links = &self.links;
        await_for("its links to go", || !LinkInfoIter::default().any(|l| links.contains(&l.id)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).expect("read from a child");
        all
    })
}

/// The ids of the links that a process holds.
fn links_of(pid: u32) -> BTreeSet<u32> {
    let Ok(infos) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return BTreeSet::new() };
    let infos = infos.filter_map(|info| fs::read_to_string(info.ok()?.path()).ok());
    let id = |info: String| {
        let id = info.lines().find_map(|line| line.strip_prefix("link_id:"))?;
        id.trim().parse().ok()
    };
    infos.filter_map(id).collect()
}

/// Kills a process that takes too long, so that a test fails and does not hang.
struct Deadline(Arc<AtomicBool>);

impl Deadline {
    fn after(time: Duration, pid: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        thread::spawn(move || {
            let start = Instant::now();
            while !seen.load(Ordering::Acquire) {
                if start.elapsed() > time {
                    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).ok();
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self(over)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A thread that gives an example something to show, until this is dropped.
struct Stirring {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stirring {
    fn start(stir: Stir, pid: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut once = stirrer(stir, pid);
            while !seen.load(Ordering::Acquire) {
                once();
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Stirring {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let result = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || result.is_none_or(|result| result.is_ok()));
    }
}

fn stirrer(stir: Stir, pid: u32) -> Box<dyn FnMut()> {
    match stir {
        Stir::Calls => Box::new(|| {
            getppid();
        }),
        Stir::Execs => Box::new(|| {
            Command::new("true").status().expect("run `true`");
        }),
        Stir::Own(make) => make(),
        Stir::Datagrams => {
            let Ok(space) = fs::File::open(format!("/proc/{pid}/ns/net")) else {
                // It has ended already.
                return Box::new(|| ());
            };
            // Of this thread alone.
            setns(space, CloneFlags::CLONE_NEWNET).expect("enter it, as root may");
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.is_ok_and(|status| status.success()), "ip link set lo up");
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bind to lo");
            let own = socket.local_addr().unwrap();
            Box::new(move || {
                socket.send_to(b"hello", own).expect("send on lo");
                socket.recv(&mut [0; 16]).expect("receive on lo");
            })
        }
    }
}

/// The objects of NDJSON. Each says what and when it is, the latter twice alike.
pub fn objects(stdout: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stdout).expect("JSON is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "a line was cut: {text:?}");
    let parse = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(object["type"].is_string(), "{line}");
        let time: jiff::Timestamp = object["time"].as_str().expect(line).parse().expect(line);
        assert_eq!(
            object["time_ns"].as_i64().map(i128::from),
            Some(time.as_nanosecond()),
            "{line}"
        );
        object
    };
    text.lines().map(parse).collect()
}
