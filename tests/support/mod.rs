//! What the tests share. Each test binary uses a part of it.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::{env, fs, process};

pub mod random;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Says that a test could not run here, and why.
pub fn skipped(name: &str, why: &str) {
    println!("skipped: {name}: {why}");
}

/// Prints a message, and sees to it that it says what it must.
#[track_caller]
pub fn says(error: impl Display, words: &[&str]) {
    let said = error.to_string();
    println!("{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
}

/// A folder of the test's own that goes when this is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("bpf-atlas-{}-{number}", process::id()));
        fs::create_dir(&path).expect("make a temporary folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and tells where it is.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("write into a folder of our own");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A BPF file system of the test's own. It goes with all its pins when this is
/// dropped, also by a panic.
pub struct Pins(Folder);

impl Pins {
    pub fn new() -> Self {
        let folder = Folder::new();
        mount(Some("bpf"), folder.path(), Some("bpf"), MsFlags::empty(), None::<&str>)
            .expect("mount a BPF file system, as root may");
        Self(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH).ok();
    }
}

/// Tells a child process what it is to do.
const ROLE: &str = "BPF_ATLAS_TEST_ROLE";

/// What this process is to do, if a test started it to do something.
pub fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// The test `name` of this binary as a process of its own, with a role to play.
pub fn child(name: &str, role: &str) -> Command {
    as_child(Command::new(env::current_exe().expect("a mounted /proc")), name, role)
}

/// As [`child`], without any capability but those of `kept` (and to read files).
/// `None` where there is no `setpriv`, which comes with util-linux.
pub fn child_with(kept: &[u32], name: &str, role: &str) -> Option<Command> {
    Command::new("setpriv").arg("--version").output().ok()?;
    let mut bounds = "-all,+dac_override".to_owned();
    for capability in kept {
        bounds.push_str(&format!(",+cap_{capability}"));
    }
    let mut command = Command::new("setpriv");
    command.arg("--inh-caps=-all").arg(format!("--bounding-set={bounds}")).arg("--");
    command.arg(env::current_exe().expect("a mounted /proc"));
    Some(as_child(command, name, role))
}

/// Runs the test `name` with each of these sets of capabilities and no other; the role is
/// the one that is missing then, or `all`. `run` starts the child.
#[track_caller]
pub fn with_each(
    name: &str,
    sets: &[(&[u32], &str)],
    run: impl Fn(&mut Command) -> io::Result<Output>,
) {
    for (kept, role) in sets {
        let Some(mut child) = child_with(kept, name, role) else {
            return skipped(name, "no setpriv");
        };
        let output = run(&mut child).expect("start the child");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{role}: {said}");
    }
}

fn as_child(mut command: Command, name: &str, role: &str) -> Command {
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// The CPUs that this thread may run on.
pub fn allowed_cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("ask for the affinity");
    (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect()
}

/// Moves this thread to a CPU, for good.
pub fn pin_to(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu).expect("a CPU number that fits");
    sched_setaffinity(Pid::from_raw(0), &only).expect("move to an allowed CPU");
}

/// How often this thread has gone to sleep.
pub fn sleeps() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").expect("this thread's status");
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.and_then(|count| count.trim().parse().ok()).expect("a number of switches")
}

/// Raises a flag when dropped, so that threads which wait for it end, also when
/// their starter panics.
pub struct RaiseOnDrop<'a>(pub &'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sees to it that each of the numbers below some `n` comes once.
pub struct Once {
    seen: Vec<bool>,
    count: usize,
}

impl Once {
    pub fn of(n: u32) -> Self {
        Self { seen: vec![false; n as usize], count: 0 }
    }

    pub fn see(&mut self, index: u32) {
        let seen = &mut self.seen[index as usize];
        assert!(!*seen, "entry {index} came twice");
        *seen = true;
        self.count += 1;
    }

    pub fn all(self) {
        assert_eq!(self.count, self.seen.len(), "entries are missing");
    }
}
