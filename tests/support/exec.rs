//! What the tests of `exec_events` share. What others execute meanwhile is
//! passed over: our own programs have this process as their parent.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::SystemTime;

use bpf_atlas::Errno;
use bpf_atlas::probes::{Exec, ExecEvents, ExecEventsBuilder};

pub const TRUE: &str = "/bin/true";
pub const ENOENT: Errno = Errno(2);
pub const EACCES: Errno = Errno(13);

/// A record, kept.
#[derive(Clone, Debug)]
pub struct Kept {
    pub pid: u32,
    pub uid: u32,
    pub comm: String,
    pub filename: Option<PathBuf>,
    pub args: Vec<OsString>,
    pub args_total: u32,
    pub error: Option<Errno>,
    pub truncated: bool,
    pub unreadable: bool,
    pub time: SystemTime,
}

impl Kept {
    pub fn of(exec: &Exec<'_>) -> Self {
        Self {
            pid: exec.pid,
            uid: exec.uid,
            comm: exec.comm.to_string(),
            filename: exec.filename().map(Path::to_owned),
            args: exec.args().map(OsStr::to_owned).collect(),
            args_total: exec.args_total,
            error: exec.error(),
            truncated: exec.truncated(),
            unreadable: exec.unreadable(),
            time: exec.time(),
        }
    }

    pub fn arg_bytes(&self) -> usize {
        self.args.iter().map(|arg| arg.len() + 1).sum()
    }
}

/// What this process started whose arguments have `tag` among them.
pub fn drain(execs: &mut ExecEvents, tag: &str) -> Vec<Kept> {
    let mut kept = Vec::new();
    execs
        .drain(|exec| {
            if exec.ppid == process::id() && exec.args().any(|arg| arg == tag) {
                assert_eq!(exec.pid, exec.tid, "our programs are started by their only thread");
                kept.push(Kept::of(&exec));
            }
        })
        .expect("read the ring");
    kept
}

pub fn one(execs: &mut ExecEvents, tag: &str) -> Kept {
    let kept = drain(execs, tag);
    let [kept] = &kept[..] else { panic!("one record with {tag}: {kept:?}") };
    kept.clone()
}

pub fn attach(builder: ExecEventsBuilder) -> ExecEvents {
    builder.attach().expect("attach, as root may")
}

pub fn run(command: &mut Command) -> u32 {
    let mut child = command.spawn().expect("start a program");
    child.wait().expect("a child of ours");
    child.id()
}
