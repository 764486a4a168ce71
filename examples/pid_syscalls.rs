//! Which processes make how many system calls, live.

#![forbid(unsafe_code)]

mod common;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bpf_atlas::probes::{Comm, PidCounts, PidSyscalls, SyscallCount, Task};
use bpf_atlas::{PerCpuArray, Rates};
use clap::{Parser, ValueEnum};
use common::{Clock, Column, Common, Frame, Kind, Loss, Output, Table, footer, object, printable};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde_json::json;

const AFTER: &str = "\
Needs  CAP_BPF and CAP_PERFMON (root has both), Linux 5.8, BTF of the kernel.
Costs  about 30 nanoseconds a system call, and a walk of the map at each print.
Shows  processes that are over once more, marked; then it forgets them.";

/// Which processes make how many system calls, live
#[derive(Parser)]
#[command(version, after_help = AFTER)]
struct Args {
    #[command(flatten)]
    common: Common,

    /// Count this process only; can be given more than once
    #[arg(short, long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pids: Vec<u32>,

    /// Sort by this column
    #[arg(short, long, value_name = "COLUMN", default_value = "rate")]
    sort: Sort,

    /// Show a row for each process or for each system call
    #[arg(long, value_name = "WHAT", default_value = "pid")]
    by: By,

    /// Count failed calls only
    #[arg(short = 'x', long)]
    failures: bool,

    /// Room for this many processes
    #[arg(long, value_name = "N", default_value_t = 10240, value_parser = clap::value_parser!(u32).range(1..))]
    max_entries: u32,

    /// Attach this way only: tp_btf, raw_tp or tracepoint
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    attach: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum By {
    Pid,
    Syscall,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sort {
    Rate,
    Total,
    // By number, of a process or of a system call.
    #[value(alias = "nr")]
    Pid,
    // By name.
    #[value(alias = "name")]
    Comm,
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::run(|| show(&args))
}

fn show(args: &Args) -> Result<(), Box<dyn Error>> {
    let by_pid = args.by == By::Pid;
    let mut builder = PidSyscalls::builder()
        .failures_only(args.failures)
        .max_entries(args.max_entries)
        .by_pid(by_pid)
        .by_syscall(!by_pid);
    for &pid in &args.pids {
        builder = builder.pid(pid);
    }
    if let Some(kind) = args.attach {
        builder = builder.attach_kind(kind.into());
    }
    let mut clock = Clock::start(&args.common)?;
    let probe = builder.attach()?;

    let mut output = Output::new(&args.common);
    let mut loss = Loss::new("raise --max-entries");
    let mut rows = if by_pid {
        Rows::Processes(Processes::new(&probe))
    } else {
        Rows::Calls(Rates::from_zero(&probe.maps().by_syscall))
    };
    loop {
        let last = !clock.tick()?;
        let began = Instant::now();
        let at = Timestamp::now();
        let mut shown = rows.tick(&probe)?;
        let health = probe.health()?;
        let read = began.elapsed();

        sort(&mut shown.rows, args.sort);
        if args.common.json {
            for row in shown.rows.iter().take(args.common.rows()) {
                output.json(&row.json(at, shown.elapsed))?;
            }
        } else {
            let what = if args.failures { "failed system calls" } else { "system calls" };
            let total: u64 = shown.rows.iter().map(|row| row.delta).sum();
            let title = format!(
                "{}  {:.0} {what}/s in {:.1} s, by {}",
                common::time_of_day(at),
                per_second(total, shown.elapsed),
                shown.elapsed.as_secs_f64(),
                probe.attach_kind(),
            );
            output.frame(&Frame {
                title: &title,
                table: &table(args.by, &shown),
                rows: args.common.rows(),
                footer: &footer(&health, read),
                alarm: health.dropped() > 0,
            })?;
        }
        loss.note(&health, read, &mut output)?;
        if last || output.is_closed() {
            break;
        }
    }
    loss.summary(&mut output)?;
    Ok(())
}

/// A row of either table.
struct Counted {
    who: Who,
    delta: u64,
    total: u64,
}

enum Who {
    Process { pid: u32, comm: Comm, start_ns: u64, exited: bool },
    Call(SyscallCount),
}

struct Shown {
    rows: Vec<Counted>,
    elapsed: Duration,
}

enum Rows<'a> {
    Processes(Processes<'a>),
    Calls(Rates<&'a PerCpuArray<u64>>),
}

impl Rows<'_> {
    fn tick(&mut self, probe: &PidSyscalls) -> bpf_atlas::Result<Shown> {
        match self {
            Self::Processes(processes) => processes.tick(probe),
            Self::Calls(rates) => {
                let tick = rates.tick()?;
                let made = tick.rates.iter().filter(|rate| rate.total > 0);
                let rows = made.map(|rate| Counted {
                    who: Who::Call(SyscallCount::of_slot(rate.key, rate.total)),
                    delta: rate.delta,
                    total: rate.total,
                });
                Ok(Shown { rows: rows.collect(), elapsed: tick.elapsed })
            }
        }
    }
}

/// Processes, those of one PID told apart by when they began.
struct Processes<'a> {
    rates: Rates<&'a PidCounts>,
    began: HashMap<u32, u64>,
}

impl<'a> Processes<'a> {
    fn new(probe: &'a PidSyscalls) -> Self {
        Self { rates: Rates::from_zero(&probe.maps().counts), began: HashMap::new() }
    }

    /// Forgets those that are over, so that their rows are the last.
    fn tick(&mut self, probe: &PidSyscalls) -> bpf_atlas::Result<Shown> {
        // Looked at before the counts are read: whoever is over by then will not
        // count any more, so the last row holds all.
        let alive = Alive::now();
        let tick = self.rates.tick()?;
        let mut tasks: HashMap<u32, Task> = HashMap::with_capacity(tick.rates.len());
        probe.maps().tasks.for_each(|pid, task| {
            tasks.insert(pid, task);
        })?;

        let unknown = Task { start_ns: 0, comm: Comm::default() };
        let mut rows = Vec::with_capacity(tick.rates.len());
        for rate in &tick.rates {
            let pid = rate.key;
            let task = tasks.get(&pid).copied().unwrap_or(unknown);
            // Another process with the same PID has counted from 0.
            let before = self.began.insert(pid, task.start_ns);
            let delta = if before == Some(task.start_ns) { rate.delta } else { rate.total };
            let exited = alive.as_ref().is_some_and(|alive| alive.lacks(pid, &task, before));
            let who = Who::Process { pid, comm: task.comm, start_ns: task.start_ns, exited };
            rows.push(Counted { who, delta, total: rate.total });
            // Unless the PID is in use again by now.
            if exited && probe.maps().tasks.lookup(pid)?.unwrap_or(unknown) == task {
                probe.forget(pid)?;
            }
        }
        for pid in tick.gone {
            self.began.remove(&pid);
        }
        Ok(Shown { rows, elapsed: tick.elapsed })
    }
}

/// The processes there are, at a moment.
struct Alive {
    pids: HashSet<u32>,
    /// The moment, in nanoseconds since boot.
    at: u64,
}

impl Alive {
    /// `None` where /proc numbers processes or times them otherwise than the
    /// kernel does itself, or hides some: nothing is then known to be over.
    fn now() -> Option<Self> {
        // The initial namespaces, whose numbers are part of the kernel's interface.
        let is = |name: &str, initial| {
            let own = std::fs::read_link(format!("/proc/self/ns/{name}"));
            own.map_or_else(
                |error| error.kind() == ErrorKind::NotFound,
                |own| own.as_os_str() == initial,
            )
        };
        if !is("pid", "pid:[4026531836]") || !is("time", "time:[4026531834]") {
            return None;
        }
        let at = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?).as_nanos() as u64;
        let mut pids = HashSet::new();
        for entry in std::fs::read_dir("/proc").ok()? {
            let name = entry.ok()?.file_name();
            pids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        // Mounted with `hidepid`, it hides process 1 from who may not see it.
        pids.contains(&1).then_some(Self { pids, at })
    }

    /// Whether a process is over: not there though it had begun, as its start
    /// or, where that is unknown, an earlier tick tells.
    fn lacks(&self, pid: u32, task: &Task, before: Option<u64>) -> bool {
        let had_begun = match task.start_ns {
            0 => before == Some(0),
            start => start < self.at,
        };
        had_begun && !self.pids.contains(&pid)
    }
}

impl Counted {
    fn number(&self) -> u32 {
        match &self.who {
            Who::Process { pid, .. } => *pid,
            Who::Call(call) => call.number.unwrap_or(u32::MAX),
        }
    }

    fn name(&self) -> String {
        match &self.who {
            Who::Process { comm, .. } if comm.as_bytes().is_empty() => "?".into(),
            Who::Process { comm, .. } => comm.to_string_lossy().into_owned(),
            Who::Call(call) => match (call.name(), call.number) {
                (Some(name), _) => name.into(),
                (None, Some(number)) => format!("syscall {number}"),
                (None, None) => "(of another architecture)".into(),
            },
        }
    }

    fn json(&self, at: Timestamp, elapsed: Duration) -> String {
        let mut fields = json!({
            "delta": self.delta,
            "interval_ns": elapsed.as_nanos() as u64,
            "rate": per_second(self.delta, elapsed),
            "total": self.total,
        });
        match &self.who {
            Who::Process { pid, comm, start_ns, exited } => {
                fields["pid"] = json!(pid);
                fields["comm"] = json!(comm.to_string_lossy());
                fields["start_ns"] = json!(start_ns);
                fields["exited"] = json!(exited);
                object("process", at, fields)
            }
            Who::Call(call) => {
                fields["number"] = json!(call.number);
                fields["name"] = json!(call.name());
                object("syscall", at, fields)
            }
        }
    }
}

fn sort(rows: &mut [Counted], sort: Sort) {
    let busiest = |row: &Counted| (Reverse(row.delta), Reverse(row.total), row.number());
    match sort {
        Sort::Rate => rows.sort_unstable_by_key(busiest),
        Sort::Total => rows.sort_unstable_by_key(|row| (Reverse(row.total), row.number())),
        Sort::Pid => rows.sort_unstable_by_key(Counted::number),
        Sort::Comm => rows.sort_by_cached_key(|row| (row.name(), row.number())),
    }
}

fn table(by: By, shown: &Shown) -> Table {
    let (number, name) = if by == By::Pid { ("PID", "COMM") } else { ("NR", "SYSCALL") };
    let columns = ["RATE/s", "TOTAL", number].map(Column::right);
    let mut table = Table::new([&columns[..], &[Column::left(name)]].concat());
    for row in &shown.rows {
        let exited = matches!(row.who, Who::Process { exited: true, .. });
        let number = match &row.who {
            Who::Call(SyscallCount { number: None, .. }) => "-".into(),
            _ => row.number().to_string(),
        };
        let rate = format!("{:.0}", per_second(row.delta, shown.elapsed));
        let name = printable(&row.name()) + if exited { "  (exited)" } else { "" };
        table.row([rate, row.total.to_string(), number, name], exited);
    }
    table
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}
