//! The probe `pid_syscalls` against processes that make a known number of
//! system calls.
#![cfg(feature = "probes")]
#![forbid(unsafe_code)]

#[path = "support/caller.rs"]
mod caller;
#[path = "support/programs.rs"]
mod programs;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

use bpf_atlas::probes::{AttachKind, PidSyscalls, PidSyscallsBuilder, ProbeError};
use bpf_atlas::{Capability, PerCpu, PerCpuHash};
use caller::{Caller, Job, OVERHEAD};
use libbpf_rs::query::LinkInfoIter;
use programs::{await_for, while_on_each_cpu};
use support::{child_with, role, skipped};

const KINDS: [AttachKind; 3] =
    [AttachKind::TpBtf, AttachKind::RawTracepoint, AttachKind::Tracepoint];

/// The test that plays the callers.
const HOST: &str = "g5_a_million_calls_of_4_threads_are_counted_exactly_while_readers_walk";

const GETPPID: u32 = libc::SYS_getppid as u32;
const KILL: u32 = libc::SYS_kill as u32;

fn probe(options: impl FnOnce(PidSyscallsBuilder) -> PidSyscallsBuilder) -> PidSyscalls {
    probe_and_links(options).0
}

/// And the ids of its links: one thread at a time, or another's would be among them.
fn probe_and_links(
    options: impl FnOnce(PidSyscallsBuilder) -> PidSyscallsBuilder,
) -> (PidSyscalls, Vec<u32>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = own_links();
    let probe = options(PidSyscalls::builder()).attach().expect("attach, as root may");
    (probe, own_links().difference(&before).copied().collect())
}

fn one_at_a_time(calls: u64) -> Job {
    Job { threads: 0, calls, failing: false }
}

/// How often a system call was made, as the probe tells.
fn made(probe: &PidSyscalls, number: u32) -> u64 {
    let all = probe.by_syscall().unwrap();
    all.iter().find(|call| call.number == Some(number)).map_or(0, |call| call.count)
}

/// A map to walk, large enough that a walk takes a while.
fn ballast() -> PerCpuHash<u32, u64> {
    let map = PerCpuHash::create("ballast", 20_000).unwrap();
    map.update_all((0..20_000).map(|key| (key, PerCpu::splat(1)))).unwrap();
    map
}

#[test]
fn g5_a_million_calls_of_4_threads_are_counted_exactly_while_readers_walk() {
    if caller::plays() {
        return;
    }
    let job = Job { threads: 4, calls: 250_000, failing: false };
    let n = job.threads as u64 * job.calls;
    let ballast = ballast();
    for kind in KINDS {
        let mut caller = Caller::start(HOST, job);
        let probe = probe(|with| with.pid(caller.pid).by_syscall(true).attach_kind(kind));
        assert_eq!(probe.attach_kind(), kind);
        assert_eq!(probe.count_of(caller.pid).unwrap(), None, "{kind}: it waits");

        // Readers on every CPU: a classic tracepoint is skipped where one is
        // inside a map system call, the others must not be.
        let ((), walks) = while_on_each_cpu(
            |_| {
                assert_eq!(ballast.sum().unwrap() % 20_000, 0);
                1
            },
            || caller.work(),
        );
        assert!(walks.iter().all(|&walks| walks > 0));

        let health = probe.health().unwrap();
        println!("{kind}: {} walks, {} missed", walks.iter().sum::<u64>(), health.missed);
        if kind != AttachKind::Tracepoint {
            assert_eq!(health.missed, 0, "{kind}");
            assert_eq!(made(&probe, GETPPID), n, "{kind}");
        }
        let count = probe.count_of(caller.pid).unwrap().unwrap();
        assert_eq!(count + health.missed, n + OVERHEAD, "{kind}: {health:?}");
        let by_number: u64 = probe.by_syscall().unwrap().iter().map(|call| call.count).sum();
        assert_eq!(by_number, count, "{kind}: both maps count every call");
        assert_eq!((health.entries, health.refused, health.dropped()), (1, 0, health.missed));
        drop(caller);
    }
}

#[test]
fn g5_64_processes_at_once_are_counted_each_exactly() {
    let job = one_at_a_time(10_000);
    let mut callers: Vec<_> = (0..64).map(|_| Caller::start(HOST, job)).collect();
    let probe = probe(|with| callers.iter().fold(with, |with, caller| with.pid(caller.pid)));
    assert_eq!(probe.attach_kind(), AttachKind::TpBtf, "the best that this kernel has");
    callers.iter_mut().for_each(Caller::order);
    callers.iter_mut().for_each(Caller::finish);

    let counts = probe.counts().unwrap();
    let expected: BTreeSet<_> = callers.iter().map(|caller| caller.pid).collect();
    assert_eq!(counts.iter().map(|count| count.pid).collect::<BTreeSet<_>>(), expected);
    for count in &counts {
        assert_eq!(count.count, job.calls + OVERHEAD, "{count:?}");
        assert_eq!(*count.comm.to_string_lossy(), *comm(count.pid), "{count:?}");
        // /proc tells it in hundredths of a second.
        assert_eq!(count.start_ns / 10_000_000, start_ticks(count.pid), "{count:?}");
    }
    assert_eq!(probe.health().unwrap().dropped(), 0);
    assert!(probe.by_syscall().unwrap().is_empty(), "it was not asked for");
}

fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim_end().to_owned()
}

fn start_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(19).unwrap().parse().unwrap()
}

#[test]
fn g5_a_full_map_refuses_new_processes_and_counts_every_call_it_refused() {
    let job = one_at_a_time(1_000);
    let mut callers: Vec<_> = (0..24).map(|_| Caller::start(HOST, job)).collect();
    let probe =
        probe(|with| callers.iter().fold(with, |with, caller| with.pid(caller.pid)).max_entries(8));
    callers.iter_mut().for_each(Caller::order);
    callers.iter_mut().for_each(Caller::finish);

    let counts = probe.counts().unwrap();
    let health = probe.health().unwrap();
    assert_eq!((counts.len(), health.entries, health.capacity), (8, 8, 8));
    let all = job.calls + OVERHEAD;
    for count in &counts {
        assert_eq!(count.count, all, "who has an entry loses nothing: {count:?}");
    }
    assert_eq!(health.refused, (24 - 8) * all, "{health:?}");
    assert_eq!(health.refused_full, health.refused, "{health:?}");
    assert_eq!(health.dropped(), health.refused);
    assert_eq!(health.to_string(), format!("entries 8/8 · dropped {}", health.refused));

    // A process that is over makes room for another.
    let (inside, outside): (Vec<_>, Vec<_>) =
        callers.into_iter().partition(|caller| counts.iter().any(|c| c.pid == caller.pid));
    let mut outside = outside.into_iter();
    let (mut next, gone) = (outside.next().unwrap(), inside.into_iter().next().unwrap());
    let pid = gone.pid;
    gone.end();
    let alone = probe.counts().unwrap().into_iter().find(|count| count.pid == pid);
    assert!(alone.is_some(), "it is not forgotten by itself");
    assert!(probe.forget(pid).unwrap());
    assert!(!probe.forget(pid).unwrap(), "no more to forget");
    assert_eq!(probe.maps().tasks.lookup(pid).unwrap(), None);
    next.work();
    assert_eq!(probe.count_of(next.pid).unwrap(), Some(all));
    assert_eq!(probe.health().unwrap().refused, health.refused);
}

#[test]
fn only_failures_are_counted_where_only_they_are_asked_for() {
    for kind in KINDS {
        let mut well = Caller::start(HOST, one_at_a_time(500));
        let mut badly = Caller::start(HOST, Job { failing: true, ..one_at_a_time(700) });
        let probe = probe(|with| {
            with.pid(well.pid).pid(badly.pid).failures_only(true).by_syscall(true).attach_kind(kind)
        });
        well.work();
        badly.work();
        let missed = probe.health().unwrap().missed;
        assert_eq!(probe.count_of(well.pid).unwrap(), None, "{kind}");
        assert_eq!(probe.count_of(badly.pid).unwrap().map(|n| n + missed), Some(700), "{kind}");
        let calls = probe.by_syscall().unwrap();
        assert_eq!(calls.len(), 1, "{kind}: {calls:?}");
        assert_eq!((calls[0].number, calls[0].name()), (Some(KILL), Some("kill")), "{kind}");
        assert_eq!(calls[0].count + missed, 700, "{kind}");
    }
}

#[test]
fn only_the_chosen_process_is_counted() {
    let mut chosen = Caller::start(HOST, one_at_a_time(300));
    let mut other = Caller::start(HOST, one_at_a_time(300));
    let probe = probe(|with| with.pid(chosen.pid).by_syscall(true));
    chosen.work();
    other.work();
    let counts = probe.counts().unwrap();
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!((counts[0].pid, counts[0].count), (chosen.pid, 300 + OVERHEAD));
    assert_eq!(made(&probe, GETPPID), 300);
}

#[test]
fn without_processes_the_numbers_alone_are_counted() {
    let mut caller = Caller::start(HOST, one_at_a_time(300));
    let probe = probe(|with| with.pid(caller.pid).by_pid(false).by_syscall(true));
    caller.work();
    assert!(probe.counts().unwrap().is_empty());
    assert_eq!(made(&probe, GETPPID), 300);
    let health = probe.health().unwrap();
    assert_eq!((health.entries, health.capacity), (3, 1024), "getppid, write and read");
}

#[test]
fn a_process_that_changes_its_name_is_shown_under_the_new_one() {
    for kind in KINDS {
        let mut caller = Caller::start(HOST, one_at_a_time(10));
        let probe = probe(|with| with.pid(caller.pid).attach_kind(kind));
        caller.work();
        let name = |probe: &PidSyscalls| probe.counts().unwrap()[0].comm.to_string();
        assert_eq!(name(&probe), comm(caller.pid), "{kind}");
        caller.rename();
        assert_eq!(name(&probe), caller::NEW_NAME[..15], "{kind}");
    }
}

#[test]
fn a_recycled_pid_is_another_process_and_counts_from_zero() {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    if !fs::exists(LAST).unwrap_or(false) {
        return skipped(
            "a_recycled_pid_is_another_process_and_counts_from_zero",
            "the kernel has no ns_last_pid (CONFIG_CHECKPOINT_RESTORE)",
        );
    }
    for kind in KINDS {
        let probe = probe(|with| with.attach_kind(kind));
        // Another process of the machine may take the PID first: then once more.
        let recycled = (0..50).find_map(|_| {
            let mut first = Caller::start(HOST, one_at_a_time(100_000));
            first.work();
            let pid = first.pid;
            let before = probe.counts().unwrap().into_iter().find(|count| count.pid == pid);
            first.end();
            fs::write(LAST, (pid - 1).to_string()).expect("choose the next PID, as root may");
            let second = Caller::start(HOST, one_at_a_time(1_000));
            (second.pid == pid).then_some((before.unwrap(), second))
        });
        let (before, mut second) = recycled.expect("one of 50 attempts to get a PID again");
        let of = |pid| probe.counts().unwrap().into_iter().find(|count| count.pid == pid).unwrap();
        let at_start = of(second.pid);
        assert!(before.count > 100_000, "{kind}: {before:?}");
        assert!(at_start.count < 50_000, "{kind}: {at_start:?} carries on {before:?}");
        assert!(at_start.start_ns > before.start_ns, "{kind}: {at_start:?} {before:?}");
        second.work();
        let missed = probe.health().unwrap().missed;
        let grown = of(second.pid).count - at_start.count;
        // Unfiltered, a miss may have been anyone's.
        assert!((grown..=grown + missed).contains(&(1_000 + OVERHEAD)), "{kind}: {grown} {missed}");
        let reuse = probe.pid_reuse().unwrap();
        assert!(
            reuse.recycled >= 1 && reuse.merged == 0 && reuse.unnamed == 0,
            "{kind}: {reuse:?}"
        );
    }
}

#[test]
fn g8_dropping_the_handle_detaches_and_a_handle_moves_to_a_thread() {
    for kind in KINDS {
        let mut caller = Caller::start(HOST, one_at_a_time(100));
        let (probe, links) = probe_and_links(|with| with.pid(caller.pid).attach_kind(kind));
        assert_eq!(links.len(), 3, "{kind}: what counts, fork and rename");
        let here = |id: &u32| LinkInfoIter::default().any(|link| link.id == *id);
        assert!(links.iter().all(here), "{kind}: {links:?}");

        let probe = std::thread::spawn(move || {
            caller.work();
            assert_eq!(probe.count_of(caller.pid).unwrap(), Some(100 + OVERHEAD));
            probe
        });
        let maps = probe.join().unwrap().maps().clone();
        // The kernel takes its time to free what was closed.
        await_for("the links to go", || !links.iter().any(here));
        assert_eq!(maps.counts.count().unwrap(), 1, "{kind}: maps live as long as their handles");
    }
}

/// The ids of the links that this process holds.
fn own_links() -> BTreeSet<u32> {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap();
    let infos = infos.filter_map(|info| fs::read_to_string(info.ok()?.path()).ok());
    infos
        .filter_map(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix("link_id:"))?;
            id.trim().parse().ok()
        })
        .collect()
}

#[test]
fn g9_a_missing_capability_is_named_and_cap_bpf_with_cap_perfmon_is_enough() {
    const NAME: &str = "g9_a_missing_capability_is_named_and_cap_bpf_with_cap_perfmon_is_enough";
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    if let Some(role) = role() {
        let attached = PidSyscalls::builder().attach();
        match (&*role, attached) {
            ("both", Ok(probe)) => {
                assert_eq!(probe.attach_kind(), AttachKind::TpBtf);
                nix::unistd::getppid();
                assert!(probe.count_of(std::process::id()).unwrap().unwrap() > 0);
                assert_eq!(probe.health().unwrap().dropped(), 0);
                assert!(!probe.counts().unwrap().is_empty());
            }
            (missing, Err(error)) => {
                assert!(matches!(error, ProbeError::PermissionDenied { .. }), "{error:?}");
                assert_eq!(error.missing().unwrap().to_string(), missing);
                let text = error.to_string();
                assert!(text.contains(missing) && text.contains("setcap"), "{text}");
            }
            (_, Ok(_)) => panic!("attached without {role}"),
        }
        return;
    }
    for (kept, role) in [
        (&[][..], "CAP_BPF"),
        (&[PERFMON], "CAP_BPF"),
        (&[BPF], "CAP_PERFMON"),
        (&[BPF, PERFMON], "both"),
    ] {
        let Some(mut child) = child_with(kept, NAME, role) else {
            return skipped(NAME, "setpriv was not found");
        };
        let output = child.output().unwrap();
        assert!(output.status.success(), "{role}: {output:?}");
    }
    assert!(Capability::Bpf.is_effective(), "the test itself has them all");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_loaded() {
    let refused = |builder: PidSyscallsBuilder, why: &str| {
        let error = builder.attach().expect_err(why);
        assert!(matches!(error, ProbeError::InvalidOption { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    };
    let builder = PidSyscalls::builder;
    refused(builder().max_entries(0), "max_entries is 0");
    refused(builder().pid(0), "no process 0");
    refused(builder().by_pid(false), "neither");
    refused(builder().attach_kind(AttachKind::XdpNative), "tp_btf, raw_tp or tracepoint");
    refused(builder().attach_kind(AttachKind::XdpGeneric), "tp_btf, raw_tp or tracepoint");

    // More than the kernel can give: an error with the map's name, no panic.
    let error = builder().max_entries(u32::MAX).attach().expect_err("4 billion entries");
    println!("{error}");
    assert!(error.to_string().contains("counts"), "{error}");
}
