//! The seats in which `pid_syscalls` counts, where processes fight for them: it
//! tells the same as a program that counts each call in a hash.
#![cfg(feature = "probes")]
#![forbid(unsafe_code)]

#[path = "support/caller.rs"]
mod caller;
#[path = "support/programs.rs"]
mod programs;
mod support;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};

use bpf_atlas::probes::PidSyscalls;
use bpf_atlas::{Hash, Pod};
use caller::{Caller, Job, OVERHEAD};
use libbpf_rs::Link;
use programs::{Programs, two_cpus};
use support::{allowed_cpus, pin_to, role, skipped};

/// `SEATS` of the C source.
const SEATS: u32 = 32;

/// Where the next PID is chosen. The tests that do, do so in turns.
const LAST: &str = "/proc/sys/kernel/ns_last_pid";
static CHOOSING: Mutex<()> = Mutex::new(());

/// `struct process` of `tests/bpf/calls.bpf.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod)]
#[repr(C)]
struct Process {
    pid: u64,
    start_ns: u64,
}

/// The probe, and the program that it is compared with.
struct Both {
    probe: PidSyscalls,
    calls: Hash<Process, u64>,
    _programs: Programs,
    _link: Link,
}

impl Both {
    fn attach(max_entries: u32) -> Self {
        let programs = Programs::load("calls");
        let calls = Hash::open(programs.map("calls")).unwrap();
        let link = programs.attach("count");
        let probe = PidSyscalls::builder().max_entries(max_entries).attach().unwrap();
        Self { probe, calls, _programs: programs, _link: link }
    }

    /// Of those processes, which began and ended since, those whose PID is not
    /// another's yet: both count the same. How many they were.
    fn agree_on(&self, pids: &HashSet<u32>) -> usize {
        let calls: HashMap<_, _> = self.calls.iter().map(Result::unwrap).collect();
        let counts = self.probe.counts().unwrap();
        let ours: Vec<_> = counts.iter().filter(|count| pids.contains(&count.pid)).collect();
        for count in &ours {
            let process = Process { pid: count.pid.into(), start_ns: count.start_ns };
            assert_eq!(Some(&count.count), calls.get(&process), "{count:?}");
            assert_eq!(self.probe.count_of(count.pid).unwrap(), Some(count.count), "{count:?}");
        }
        let health = self.probe.health().unwrap();
        assert_eq!((health.missed, health.dropped()), (0, 0), "{health:?}");
        ours.len()
    }
}

/// Makes some 300 system calls, in which it is never alone.
fn shell() -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "i=0; while [ $i -lt 300 ]; do kill -0 $$; i=$((i+1)); done"]);
    shell
}

fn end(mut child: Child) {
    assert!(child.wait().unwrap().success());
}

#[test]
fn g5_two_thousand_processes_in_32_seats_are_counted_each_exactly() {
    let both = Both::attach(40_000);
    let mut pids = HashSet::new();
    for _ in 0..25 {
        let children: Vec<_> = (0..80).map(|_| shell().spawn().unwrap()).collect();
        pids.extend(children.iter().map(Child::id));
        children.into_iter().for_each(end);
    }
    // Some lost their PID to another process, of this test or not.
    let agreed = both.agree_on(&pids);
    println!("{agreed} processes of 2000");
    assert!(agreed >= 1000, "{agreed}");
}

#[test]
fn g5_a_pid_that_is_used_again_on_any_cpu_leaves_no_call_to_its_successor() {
    const NAME: &str = "g5_a_pid_that_is_used_again_on_any_cpu_leaves_no_call_to_its_successor";
    if !fs::exists(LAST).unwrap_or(false) {
        return skipped(NAME, "the kernel has no ns_last_pid (CONFIG_CHECKPOINT_RESTORE)");
    }
    let _alone = CHOOSING.lock();
    let both = Both::attach(40_000);
    let cpus = allowed_cpus();
    let mut known = HashSet::new();
    let mut again = 0;
    // Far from the last PID, which is 32,767 where it is least.
    let from = 1000 + (std::process::id() + 1000) % 30_000;
    for round in 0..40 {
        fs::write(LAST, from.to_string()).expect("choose the next PID, as root may");
        // Of a PID's processes, each is on another CPU than the one before or on
        // the same one. Twice as many as seats: they take them from each other.
        let children: Vec<_> = thread::scope(|scope| {
            let cpus = &cpus;
            let spawn = move || {
                let spawn_on = |place: usize| {
                    pin_to(cpus[(place / 3 + round) % cpus.len()]);
                    let mut command = Command::new("sh");
                    command
                        .args(["-c", "i=0; while [ $i -lt 20 ]; do kill -0 $$; i=$((i+1)); done"]);
                    command.spawn().unwrap()
                };
                (0..2 * SEATS as usize).map(spawn_on).collect()
            };
            scope.spawn(spawn).join().unwrap()
        });
        let pids: HashSet<_> = children.iter().map(Child::id).collect();
        children.into_iter().for_each(end);
        again += pids.iter().filter(|pid| !known.insert(**pid)).count();
        both.agree_on(&pids);
    }
    println!("{again} PIDs used again");
    assert!(again > 500, "{again}");
    assert!(both.probe.pid_reuse().unwrap().recycled >= again as u64);
}

/// One of two processes that take a seat from each other with every byte that
/// they pass. It changes its CPU now and then, and ends with the other. Extra
/// calls set their totals apart, so that one is not taken for the other's.
fn relay(extra: usize) -> ! {
    const ROUNDS: usize = 100_000;
    // A busy machine may let each of them wait at every turn.
    let until = Instant::now() + Duration::from_secs(3);
    let cpus = allowed_cpus();
    let mut other = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut byte = [0];
    for round in 0..ROUNDS {
        if Instant::now() > until {
            break;
        }
        if round % 1000 == 0 {
            pin_to(cpus[round / 1000 % cpus.len()]);
        }
        for _ in 0..extra {
            nix::unistd::getppid();
        }
        if !matches!(other.read(&mut byte), Ok(1)) || other.write_all(&byte).is_err() {
            break;
        }
    }
    std::process::exit(0)
}

#[test]
fn g5_totals_never_fall_while_processes_take_a_seat_from_each_other() {
    const NAME: &str = "g5_totals_never_fall_while_processes_take_a_seat_from_each_other";
    if let Some(extra) = role() {
        relay(extra.parse().unwrap());
    }
    if !fs::exists(LAST).unwrap_or(false) {
        return skipped(NAME, "the kernel has no ns_last_pid (CONFIG_CHECKPOINT_RESTORE)");
    }
    let Some(_) = two_cpus(NAME) else { return };
    let _alone = CHOOSING.lock();
    let both = Both::attach(2_000);
    let (first, second) = (0..50).find_map(|_| colliding(NAME)).expect("one of 50 attempts");
    let pids = [first.id(), second.id()];
    let mut children = [first, second];
    let mut last = [0; 2];
    let mut seen = HashMap::new();
    let (mut reads, mut grew) = (0, 0);
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        for (pid, last) in pids.iter().zip(&mut last) {
            let now = both.probe.count_of(*pid).unwrap().unwrap_or(0);
            assert!(now >= *last, "{pid}: {now} after {last}");
            grew += u64::from(now > *last);
            *last = now;
        }
        for entry in both.probe.maps().counts.sums() {
            let (pid, now) = entry.unwrap();
            if let Some(place) = pids.iter().position(|known| *known == pid) {
                let before = seen.insert(pid, now).unwrap_or(0);
                assert!(now >= before.max(last[place]), "{pid}: {now} after {before}");
                last[place] = now;
            }
        }
        reads += 1;
    }
    println!("{reads} reads, {grew} with more than before; {last:?}");
    assert!(grew > 10, "{grew}");
    children.into_iter().for_each(end);
    assert_eq!(both.agree_on(&HashSet::from(pids)), 2);
}

/// Two that begin to relay, and count in the same seat.
fn colliding(name: &str) -> Option<(Child, Child)> {
    let (mut one, other) = UnixStream::pair().unwrap();
    let start = |end: &UnixStream, extra| {
        let end = OwnedFd::from(end.try_clone().unwrap());
        let mut child = support::child(name, extra);
        child.stdin(Stdio::from(end)).stdout(Stdio::null()).spawn().unwrap()
    };
    let mut first = start(&one, "0");
    // Refused beyond the last PID there is; then the second gets another one.
    fs::write(LAST, (first.id() + SEATS - 1).to_string()).ok();
    let mut second = start(&other, "10");
    if second.id() == first.id() + SEATS {
        one.write_all(b"\n").unwrap();
        return Some((first, second));
    }
    for child in [&mut first, &mut second] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    None
}

#[test]
fn a_process_that_lives_is_forgotten_alone_and_begins_again_at_zero() {
    const NAME: &str = "a_process_that_lives_is_forgotten_alone_and_begins_again_at_zero";
    if caller::plays() {
        return;
    }
    let job = Job { threads: 0, calls: 500, failing: false };
    let (mut one, mut other) = (Caller::start(NAME, job), Caller::start(NAME, job));
    let probe = PidSyscalls::builder().pid(one.pid).pid(other.pid).attach().unwrap();
    one.work();
    other.work();
    for round in 2..20 {
        assert!(probe.forget(one.pid).unwrap());
        assert_eq!(probe.count_of(one.pid).unwrap(), None);
        one.work();
        other.work();
        assert_eq!(probe.count_of(one.pid).unwrap(), Some(500 + OVERHEAD));
        assert_eq!(probe.count_of(other.pid).unwrap(), Some(round * (500 + OVERHEAD)));
        assert_eq!(probe.maps().counts.sum().unwrap(), (round + 1) * (500 + OVERHEAD));
    }
}
