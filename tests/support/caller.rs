//! A process that makes a known number of system calls when it is told to.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, hint, io, thread};

use nix::sys::signal::kill;
use nix::unistd::{self, Pid};

use crate::programs::await_for;
use crate::support;

/// What a caller does.
#[derive(Clone, Copy)]
pub struct Job {
    /// So many threads beside the main one; 0: the main one works itself.
    pub threads: usize,
    /// So many calls of each.
    pub calls: u64,
    /// `kill` of nobody, which fails, instead of `getppid`.
    pub failing: bool,
}

/// The calls that a job makes beside its own, from [`Caller::start`] to the end
/// of [`Caller::work`]: a `write` of one byte, and the `read` in which it waits.
pub const OVERHEAD: u64 = 2;

/// Longer than the 15 bytes that the kernel keeps of a name.
pub const NEW_NAME: &str = "an-other-long-name";

impl Job {
    fn role(self) -> String {
        format!("call {} {} {}", self.threads, self.calls, self.failing)
    }
}

/// Plays the role if this process was started for it; the test returns then.
pub fn plays() -> bool {
    let Some(role) = support::role() else { return false };
    let mut words = role.strip_prefix("call ").expect("the role of a caller").split(' ');
    let mut next = || words.next().expect("three words");
    let (threads, calls) = (next().parse().unwrap(), next().parse().unwrap());
    obey(Job { threads, calls, failing: next() == "true" });
    true
}

/// From the first `read` to the second, no system call but those that are told.
fn obey(job: Job) {
    let (started, go, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let leave = AtomicUsize::new(0);
    // Spins: whatever else waits makes system calls.
    let reaches = |counter: &AtomicUsize, n| {
        while counter.load(Ordering::Acquire) < n {
            hint::spin_loop();
        }
    };
    thread::scope(|scope| {
        for _ in 0..job.threads {
            scope.spawn(|| {
                started.fetch_add(1, Ordering::AcqRel);
                reaches(&go, 1);
                call(job);
                done.fetch_add(1, Ordering::AcqRel);
                // The end of a thread is made of system calls as well.
                reaches(&leave, 1);
            });
        }
        reaches(&started, job.threads);
        let mut told = [0];
        while unistd::read(io::stdin(), &mut told).expect("read from the test") > 0 {
            if told == *b"n" {
                fs::write("/proc/self/comm", NEW_NAME).expect("change the own name");
            } else if job.threads == 0 {
                call(job);
            } else {
                go.store(1, Ordering::Release);
                reaches(&done, job.threads);
            }
            unistd::write(io::stdout(), b"!").expect("write to the test");
        }
        leave.store(1, Ordering::Release);
    });
}

fn call(job: Job) {
    for _ in 0..job.calls {
        if job.failing {
            // The kernel gives no process this number.
            kill(Pid::from_raw(i32::MAX), None).expect_err("nobody to signal");
        } else {
            unistd::getppid();
        }
    }
}

/// The process, from the test's side.
pub struct Caller {
    pub pid: u32,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Caller {
    /// Starts it; on return it waits inside a `read`. The test `name` must call
    /// [`plays`] first.
    pub fn start(name: &str, job: Job) -> Self {
        let mut command = support::child(name, &job.role());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start a child");
        let pid = child.id();
        let orders = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let caller = Self { pid, child, orders, answers };
        caller.until_waiting();
        caller
    }

    /// Has it make its calls. On return it has made them and waits again.
    pub fn work(&mut self) {
        self.order();
        self.finish();
    }

    /// Has it take the name [`NEW_NAME`].
    pub fn rename(&mut self) {
        self.orders.write_all(b"n").expect("write to a child");
        self.finish();
    }

    /// The first half of [`work`](Self::work): on return it is at work.
    pub fn order(&mut self) {
        self.orders.write_all(b"g").expect("write to a child");
    }

    /// The second half.
    pub fn finish(&mut self) {
        self.answers.read_until(b'!', &mut Vec::new()).expect("read from a child");
        self.until_waiting();
    }

    /// Until a thread of it sleeps in `read(0, …)`, after the start of that call
    /// was traced.
    fn until_waiting(&self) {
        let read = format!("{} 0x0 ", libc::SYS_read);
        let waits = |tasks: fs::ReadDir| {
            let mut states = tasks
                .flatten()
                .map(|task| fs::read_to_string(task.path().join("syscall")).unwrap_or_default());
            states.any(|state| state.starts_with(&read))
        };
        await_for("a child that waits for orders", || {
            thread::sleep(std::time::Duration::from_millis(1));
            fs::read_dir(format!("/proc/{}/task", self.pid)).is_ok_and(waits)
        });
    }

    /// Ends it, and waits until its PID is free.
    pub fn end(mut self) {
        self.child.kill().expect("a child that lives");
        self.child.wait().expect("wait for a child");
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
