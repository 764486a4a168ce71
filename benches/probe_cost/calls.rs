//! What counting by process adds to a system call.

use std::path::Path;

use bpf_atlas::probes::{AttachKind, PidSyscalls};
use bpf_atlas::{Hash, PerCpuArray, PerCpuHash};
use libbpf_rs::{Link, MapCore, Object};

use super::worker::{OVERHEAD, Worker};
use super::{Error, kernel, median, turns};

/// What is attached in a turn.
enum What {
    Nothing,
    /// A program of benches/bpf/probe_cost.bpf.c, and the map it counts in.
    Program(&'static str, Option<&'static str>),
    Probe {
        kind: AttachKind,
        by_syscall: bool,
        filtered: bool,
    },
}

const fn probe(kind: AttachKind) -> What {
    What::Probe { kind, by_syscall: false, filtered: false }
}

/// The first two are what the others are compared with.
const WAYS: [(&str, What); 15] = [
    ("nothing", What::Nothing),
    ("empty program, tp_btf", What::Program("empty_btf", None)),
    ("empty program, raw_tp", What::Program("empty_raw", None)),
    ("empty program, tracepoint", What::Program("empty_tp", None)),
    ("`PidSyscalls`, tp_btf", probe(AttachKind::TpBtf)),
    ("`PidSyscalls`, raw_tp", probe(AttachKind::RawTracepoint)),
    ("`PidSyscalls`, tracepoint", probe(AttachKind::Tracepoint)),
    (
        "`PidSyscalls`, tp_btf, by number as well",
        What::Probe { kind: AttachKind::TpBtf, by_syscall: true, filtered: false },
    ),
    (
        "`PidSyscalls`, tp_btf, of one process",
        What::Probe { kind: AttachKind::TpBtf, by_syscall: false, filtered: true },
    ),
    ("hash, tracepoint", What::Program("hash_tp", Some("shared"))),
    ("hash, tp_btf", What::Program("hash_btf", Some("shared"))),
    ("per-CPU hash, tp_btf", What::Program("per_cpu_btf", Some("per_cpu"))),
    ("per-CPU hash, plain addition, tp_btf", What::Program("plain_btf", Some("per_cpu"))),
    ("per-CPU array by PID, tp_btf", What::Program("array_btf", Some("by_pid"))),
    ("task storage, tp_btf", What::Program("storage_btf", None)),
];

/// What counts, while it is attached.
enum Counting<'a> {
    Nothing,
    Program { object: &'a Object, map: Option<&'static str>, _link: Link },
    Probe(Box<PidSyscalls>),
}

impl Counting<'_> {
    /// What it counted of a process; `None` where it does not count or cannot tell.
    fn of(&self, pid: u32) -> Result<Option<u64>, Error> {
        let (object, name) = match self {
            Self::Program { object, map: Some(name), .. } => (object, *name),
            Self::Probe(probe) => return Ok(Some(probe.count_of(pid)?.unwrap_or(0))),
            _ => return Ok(None),
        };
        let map = object.maps().find(|map| map.name() == name).ok_or("no such map")?;
        let count = match name {
            "shared" => Hash::<u32, u64>::open(&map)?.lookup(pid)?,
            "per_cpu" => PerCpuHash::<u32, u64>::open(&map)?.sum_of(pid)?,
            _ => Some(PerCpuArray::<u64>::open(&map)?.sum_of(pid & 0xffff)?),
        };
        Ok(Some(count.unwrap_or(0)))
    }
}

/// Prints the table; whether every call was counted.
pub fn measure(cpus: &[usize], rounds: usize, calls: u64) -> Result<bool, Error> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bpf/probe_cost.bpf.c");
    let file = kernel::compile(&source)?;
    let mut objects = Vec::new();
    for (_, what) in &WAYS {
        objects.push(match what {
            What::Program(name, _) => Some(kernel::load(&file, name)?),
            _ => None,
        });
    }
    let mut worker = Worker::start(cpus)?;
    let pid = worker.pid();
    // By way, by how many threads.
    let mut times = vec![vec![Vec::new(); cpus.len()]; WAYS.len()];
    let mut right = true;
    for round in 0..=rounds {
        for turn in turns(WAYS.len(), round) {
            let (name, what) = &WAYS[turn];
            let counting = attach(what, objects[turn].as_ref(), pid)?;
            for threads in 1..=cpus.len() {
                // Whatever happens but once.
                worker.turn(threads, 1000)?;
                let before = counting.of(pid)?;
                let ns = worker.turn(threads, calls)?;
                let expected = (calls + OVERHEAD) * threads as u64;
                let counted = counting.of(pid)?.zip(before).map(|(after, before)| after - before);
                if counted.is_some_and(|counted| counted != expected) {
                    println!("WRONG: {name}: {counted:?} of {expected}");
                    right = false;
                }
                if round > 0 {
                    times[turn][threads - 1].push(ns);
                }
            }
        }
    }
    report(&times);
    Ok(right)
}

fn attach<'a>(what: &What, object: Option<&'a Object>, pid: u32) -> Result<Counting<'a>, Error> {
    Ok(match *what {
        What::Nothing => Counting::Nothing,
        What::Program(name, map) => {
            let object = object.ok_or("loaded before")?;
            let program = object.progs_mut().find(|program| program.name() == name);
            let link = program.ok_or("no such program")?.attach()?;
            Counting::Program { object, map, _link: link }
        }
        What::Probe { kind, by_syscall, filtered } => {
            let mut builder = PidSyscalls::builder().by_syscall(by_syscall).attach_kind(kind);
            if filtered {
                builder = builder.pid(pid);
            }
            Counting::Probe(Box::new(builder.attach()?))
        }
    })
}

fn report(times: &[Vec<Vec<f64>>]) {
    let threads = times[0].len();
    print!("\n| attached |");
    for threads in 1..=threads {
        print!(
            " {threads} thread{}: ns a call | added | over empty |",
            if threads > 1 { "s" } else { "" }
        );
    }
    println!("\n|---|{}", "---|".repeat(3 * threads));
    for ((name, _), of) in WAYS.iter().zip(times) {
        print!("| {name} |");
        for (at, of_threads) in of.iter().enumerate() {
            let over = |way: usize| {
                let pairs = of_threads.iter().zip(&times[way][at]);
                median(pairs.map(|(time, other)| time - other))
            };
            print!(
                " {:.1} | {:+.1} | {:+.1} |",
                median(of_threads.iter().copied()),
                over(0),
                over(1)
            );
        }
        println!();
    }
}
