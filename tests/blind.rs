//! A reader never blinds the programs it reads from, where they attach as they
//! should: raw_tp and tp_btf programs miss nothing while user space walks maps
//! on their CPU. A classic tracepoint program is skipped on a CPU that is inside
//! a map system call, and `recursion_misses` tells how often, exactly.
#![forbid(unsafe_code)]

#[path = "support/programs.rs"]
mod programs;
mod support;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::{Array, Hash, MappedArray};
use libbpf_rs::query::ProgInfoIter;
use libbpf_rs::{Link, Program};
use nix::mount::{MsFlags, mount};
use nix::unistd::{getppid, gettid};
use programs::Programs;
use support::{RaiseOnDrop, allowed_cpus, pin_to};

/// The word of `control` that names the thread whose calls count.
const THREAD: u32 = 8;

/// What each kind of program counted, and how often the kernel skipped it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    raw_tp: u64,
    tp_btf: u64,
    tp: u64,
    tp_missed: u64,
    others_missed: u64,
}

impl Seen {
    fn since(self, earlier: Self) -> Self {
        Self {
            raw_tp: self.raw_tp - earlier.raw_tp,
            tp_btf: self.tp_btf - earlier.tp_btf,
            tp: self.tp - earlier.tp,
            tp_missed: self.tp_missed - earlier.tp_missed,
            others_missed: self.others_missed - earlier.others_missed,
        }
    }
}

/// Programs of each kind on one tracepoint.
struct Watch {
    programs: Programs,
    names: [String; 3],
    counts: MappedArray<u64>,
    _links: Vec<Link>,
}

impl Watch {
    fn on(what: &str, counts: &str) -> Self {
        let programs = Programs::load("blind");
        let names = ["raw_tp", "tp_btf", "tp"].map(|kind| format!("{what}_{kind}"));
        let links = names.iter().map(|name| programs.attach(name)).collect();
        let counts = Array::open(programs.map(counts)).unwrap().mapped().unwrap();
        Self { programs, names, counts, _links: links }
    }

    fn read(&self) -> Seen {
        let [raw_tp, tp_btf, tp] = [0, 1, 2].map(|kind| self.counts.load(kind).unwrap());
        let missed = self.names.each_ref().map(|name| misses(&self.programs, name));
        Seen { raw_tp, tp_btf, tp, tp_missed: missed[2], others_missed: missed[0] + missed[1] }
    }

    /// All counts between two events. They only grow: where two readings agree,
    /// they are those of every moment between.
    fn between_events(&self) -> Seen {
        let start = Instant::now();
        loop {
            let seen = self.read();
            let pause = Instant::now();
            // Asleep, this thread would make events itself.
            while pause.elapsed() < Duration::from_micros(200) {}
            if self.read() == seen {
                return seen;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "events without a pause");
        }
    }
}

/// How often the kernel skipped the program.
fn misses(programs: &Programs, name: &str) -> u64 {
    let id = Program::id_from_fd(programs.program(name).as_fd()).unwrap();
    ProgInfoIter::default().find(|program| program.id == id).unwrap().recursion_misses
}

/// Programs that are attached to everything: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Classic tracepoints are looked up in tracefs.
fn mount_tracefs() {
    let path = Path::new("/sys/kernel/tracing");
    if !path.join("events").exists() {
        mount(Some("tracefs"), path, Some("tracefs"), MsFlags::empty(), None::<&str>).unwrap();
    }
}

const ENTRIES: u32 = 20_000;

/// A map whose walk takes a while in the kernel.
fn walked() -> Hash<u32, u64> {
    let map = Hash::create("walked", ENTRIES).unwrap();
    map.update_all((0..ENTRIES).map(|key| (key, 1))).unwrap();
    map
}

fn walk(map: &Hash<u32, u64>) {
    assert_eq!(map.sum().unwrap(), u64::from(ENTRIES));
}

/// Runs `f` on `cpu`, beside a thread that makes timers expire there.
fn with_timers<T: Send>(cpu: usize, f: impl FnOnce() -> T + Send) -> T {
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(move || {
            pin_to(cpu);
            while !stop.load(Ordering::Acquire) {
                thread::sleep(Duration::from_micros(50));
            }
        });
        let result = scope.spawn(move || {
            let _stop = RaiseOnDrop(stop);
            pin_to(cpu);
            f()
        });
        result.join().unwrap()
    })
}

#[test]
fn law8_i14_timers_that_expire_under_a_walk_are_all_counted_or_told() {
    let _alone = ALONE.lock();
    mount_tracefs();
    let (watch, map) = (Watch::on("timer", "timers"), walked());
    let mut lost = 0;
    for round in 0..20 {
        let before = watch.between_events();
        with_timers(allowed_cpus()[0], || {
            let end = Instant::now() + Duration::from_millis(400);
            while Instant::now() < end {
                walk(&map);
            }
        });
        let seen = watch.between_events().since(before);
        println!("round {round}: {seen:?}");
        assert!(seen.raw_tp > 10, "no timers, so nothing was shown");
        // On all CPUs, whoever else walks maps there.
        assert_eq!((seen.tp_btf, seen.others_missed), (seen.raw_tp, 0));
        assert_eq!(seen.tp + seen.tp_missed, seen.raw_tp);
        lost += seen.tp_missed;
        if round >= 2 && lost > 0 {
            return;
        }
    }
    panic!("no timer ever expired under a walk, so nothing was shown");
}

#[test]
fn law8_system_calls_beside_a_walk_on_the_same_cpu_are_all_counted() {
    const CALLS: u64 = 200_000;

    let _alone = ALONE.lock();
    mount_tracefs();
    let (watch, map) = (Watch::on("call", "calls"), walked());
    let control = watch.programs.control();
    let cpu = allowed_cpus()[0];
    let stop = AtomicBool::new(false);
    let mut walks = 0;
    let before = watch.read();
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let _stop = RaiseOnDrop(&stop);
            pin_to(cpu);
            control.store(THREAD, gettid().as_raw() as u64).unwrap();
            for _ in 0..CALLS {
                getppid();
            }
            control.store(THREAD, 0).unwrap();
        });
        let walker = scope.spawn(|| {
            pin_to(cpu);
            while !stop.load(Ordering::Acquire) {
                walk(&map);
                walks += 1;
            }
        });
        caller.join().unwrap();
        walker.join().unwrap();
    });
    let seen = watch.read().since(before);
    println!("{seen:?} of {CALLS} calls beside {walks} walks");
    assert!(walks > 0);
    assert_eq!((seen.raw_tp, seen.tp_btf), (CALLS, CALLS));
    // The misses are those of all threads.
    assert!(seen.tp <= CALLS && CALLS - seen.tp <= seen.tp_missed);
}
