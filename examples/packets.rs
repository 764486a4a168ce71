//! What network interfaces receive, by protocol, live.

#![forbid(unsafe_code)]

mod common;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bpf_atlas::probes::{Health, Packets, Protocol, Traffic};
use bpf_atlas::{Accumulate, PerCpu};
use clap::{Parser, ValueEnum};
use common::{Clock, Column, Common, Frame, Loss, Mode, Output, Table, footer, object, printable};
use jiff::Timestamp;
use serde_json::json;

const AFTER: &str = "\
Needs  CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (root has them), Linux 5.9.
Costs  40 to 100 ns a packet, and in generic mode what that costs.
Shows  Ethernet frames as they come in, before the firewall; every one is passed on.";

/// What network interfaces receive, by protocol, live
#[derive(Parser)]
#[command(version, after_help = AFTER)]
struct Args {
    /// Interfaces to listen on
    #[arg(value_name = "IFACE", required = true)]
    interfaces: Vec<String>,

    #[command(flatten)]
    common: Common,

    /// Attach in the driver, behind it, or where it works
    #[arg(short, long, value_name = "MODE", default_value = "auto")]
    mode: Mode,

    /// Counts per CPU as well
    #[arg(short = 'c', long)]
    per_cpu: bool,

    /// Sort by this column
    #[arg(short, long, value_name = "COLUMN", default_value = "packets")]
    sort: Sort,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sort {
    // By their rates.
    Packets,
    Bytes,
    Total,
    Protocol,
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::run(|| show(&args))
}

fn show(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut clock = Clock::start(&args.common)?;
    let mut listeners = Vec::new();
    for name in &args.interfaces {
        listeners.push(Listener::new(Packets::builder(&**name).mode(args.mode.into()).attach()?));
    }
    let mut output = Output::new(&args.common);
    // There is an element for everything, so nothing is ever refused.
    let mut loss = Loss::new("");
    let mut ticked = Instant::now();
    loop {
        let last = !clock.tick()?;
        let began = Instant::now();
        let elapsed = began.duration_since(std::mem::replace(&mut ticked, began));
        let at = Timestamp::now();
        let mut rows = Vec::new();
        let mut health = Health::default();
        for listener in &mut listeners {
            listener.read(elapsed, &mut rows)?;
            let own = listener.packets.health()?;
            health.entries += own.entries;
            health.capacity += own.capacity;
        }
        let read = began.elapsed();

        sort(&mut rows, args.sort);
        if args.common.json {
            for row in rows.iter().take(args.common.rows()) {
                output.json(&row.json(at, args.per_cpu))?;
            }
        } else {
            let title = title(at, &listeners, &rows, elapsed);
            output.frame(&Frame {
                title: &title,
                table: &table(&rows, args),
                rows: args.common.rows(),
                footer: &footer(&health, read),
                alarm: false,
            })?;
        }
        loss.note(&health, read, &mut output)?;
        let here = still_here(&mut listeners)?;
        if last || output.is_closed() || !here {
            loss.summary(&mut output)?;
            return if here { Ok(()) } else { Err("no interface is left".into()) };
        }
    }
}

/// Says which interfaces have gone since the last call; whether there are others.
fn still_here(listeners: &mut [Listener]) -> Result<bool, Box<dyn Error>> {
    for listener in listeners.iter_mut().filter(|listener| !listener.gone) {
        if !listener.packets.link().is_attached()? {
            listener.gone = true;
            eprintln!("warning: interface {} is gone", listener.name());
        }
    }
    Ok(listeners.iter().any(|listener| !listener.gone))
}

/// A probe and what it had counted at the last tick.
struct Listener {
    packets: Packets,
    before: HashMap<Protocol, PerCpu<Traffic>>,
    gone: bool,
}

/// A protocol on an interface.
struct Row {
    interface: String,
    protocol: Protocol,
    total: Traffic,
    delta: Traffic,
    by_cpu: Vec<Traffic>,
    elapsed: Duration,
}

impl Listener {
    fn new(packets: Packets) -> Self {
        Self { packets, before: HashMap::new(), gone: false }
    }

    fn name(&self) -> String {
        printable(self.packets.link().interface())
    }

    fn read(&mut self, elapsed: Duration, rows: &mut Vec<Row>) -> bpf_atlas::Result<()> {
        for (protocol, now) in self.packets.totals_by_cpu()? {
            let before = self.before.get(&protocol);
            let grown = |(cpu, &total): (usize, &Traffic)| {
                before.and_then(|before| total.since(before[cpu])).unwrap_or(total)
            };
            let by_cpu: PerCpu<_> = now.iter().enumerate().map(grown).collect();
            rows.push(Row {
                interface: self.name(),
                protocol,
                total: now.sum(),
                delta: by_cpu.sum(),
                by_cpu: by_cpu.to_vec(),
                elapsed,
            });
            self.before.insert(protocol, now);
        }
        Ok(())
    }
}

impl Row {
    fn per_second(&self, count: u64) -> f64 {
        per_second(count, self.elapsed)
    }

    fn json(&self, at: Timestamp, per_cpu: bool) -> String {
        let number = match self.protocol {
            Protocol::Ipv4(number) | Protocol::Ipv6(number) => Some(number),
            _ => None,
        };
        let mut fields = json!({
            "interface": self.interface,
            "ip_version": self.protocol.ip_version(),
            "protocol": number,
            "name": self.protocol.name(),
            "delta_packets": self.delta.packets,
            "delta_bytes": self.delta.bytes,
            "interval_ns": self.elapsed.as_nanos() as u64,
            "packets_per_second": self.per_second(self.delta.packets),
            "bits_per_second": self.per_second(self.delta.bytes * 8),
            "packets": self.total.packets,
            "bytes": self.total.bytes,
        });
        if per_cpu {
            let cpus = self.by_cpu.iter();
            fields["delta_packets_by_cpu"] = cpus.map(|cpu| cpu.packets).collect();
        }
        object("protocol", at, fields)
    }
}

fn sort(rows: &mut [Row], sort: Sort) {
    // Equal ones keep their places from tick to tick.
    rows.sort_by(|a, b| (&a.interface, a.protocol).cmp(&(&b.interface, b.protocol)));
    match sort {
        Sort::Packets => rows.sort_by_key(|row| Reverse(row.delta.packets)),
        Sort::Bytes => rows.sort_by_key(|row| Reverse(row.delta.bytes)),
        Sort::Total => rows.sort_by_key(|row| Reverse(row.total.packets)),
        Sort::Protocol => rows.sort_by_key(|row| row.protocol),
    }
}

fn title(at: Timestamp, listeners: &[Listener], rows: &[Row], elapsed: Duration) -> String {
    let mut delta = Traffic::default();
    rows.iter().for_each(|row| delta.accumulate(row.delta));
    let places: Vec<_> = listeners
        .iter()
        .map(|listener| match listener.gone {
            true => format!("{} gone", listener.name()),
            false => format!("{} {}", listener.name(), listener.packets.attach_kind()),
        })
        .collect();
    format!(
        "{}  {:.0} packets/s  {:.3} Mbit/s  {}",
        common::time_of_day(at),
        per_second(delta.packets, elapsed),
        per_second(delta.bytes * 8, elapsed) / 1e6,
        places.join(", "),
    )
}

/// The titles of the columns for each CPU that the kernel may ever have.
static CPUS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let cpus = PerCpu::<u64>::splat(0).len();
    (0..cpus).map(|cpu| format!("CPU{cpu}/s")).collect()
});

fn table(rows: &[Row], args: &Args) -> Table {
    let mut columns = ["PACKETS/s", "BITS/s", "PACKETS", "BYTES"].map(Column::right).to_vec();
    if args.per_cpu {
        columns.extend(CPUS.iter().map(|title| Column::right(title)));
    }
    columns.push(Column::left("PROTOCOL"));
    let several = args.interfaces.len() > 1;
    if several {
        columns.push(Column::left("IFACE"));
    }
    let mut table = Table::new(columns);
    for row in rows {
        let rate = |count| format!("{:.0}", row.per_second(count));
        let mut cells = vec![
            rate(row.delta.packets),
            rate(row.delta.bytes * 8),
            row.total.packets.to_string(),
            row.total.bytes.to_string(),
        ];
        if args.per_cpu {
            cells.extend(row.by_cpu.iter().map(|cpu| rate(cpu.packets)));
        }
        cells.push(row.protocol.to_string());
        if several {
            cells.push(row.interface.clone());
        }
        table.row(cells, false);
    }
    table
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}
