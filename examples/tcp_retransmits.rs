//! TCP segments that are sent again, as it happens or summed by connection.

#![forbid(unsafe_code)]

mod common;

use std::cmp::Reverse;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use bpf_atlas::probes::{
    Retransmit, RetransmitSummary, Retransmitted, TcpFlow, TcpRetransmits, TcpRetransmitsBuilder,
};
use clap::{Parser, ValueEnum};
use common::{
    Clock, Column, Common, Frame, Kind, Loss, Output, Table, age, footer, object, ring_size,
};
use jiff::Timestamp;
use serde_json::{Value, json};

const AFTER: &str = "\
Needs  CAP_BPF and CAP_PERFMON (root has both), Linux 5.8; -x Linux 6.17.
Costs  some 0.2 microseconds at a retransmission, and nothing else.
Shows  R> sent again, L> as a tail loss probe, E> could not be sent. SYN_SENT is a SYN,
       NEW_SYN_RECV a SYN-ACK. The PID only where a system call on the socket sends: mostly it
       is a timer or a packet that came in, in nobody's name.";

/// TCP segments that are sent again, as it happens or summed by connection
#[derive(Parser)]
#[command(
    version,
    after_help = AFTER,
    mut_arg("interval", |arg| arg.help("Look after loss this often; with -c, time between prints")),
    mut_arg("top", |arg| arg.help("End after this many lines; with -c, show this many rows")),
    mut_arg("once", |arg| arg.help("Show what is sent again within one interval, and end")),
)]
struct Args {
    #[command(flatten)]
    common: Common,

    /// IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,

    /// IPv6 only
    #[arg(short = '6', long)]
    ipv6: bool,

    /// Sums per connection, not each segment
    #[arg(short = 'c', long)]
    per_flow: bool,

    /// Failed attempts too
    #[arg(short = 'x', long)]
    failures: bool,

    /// With -c, sort by this column
    #[arg(short, long, value_name = "COLUMN", default_value = "segments", requires = "per_flow")]
    sort: Sort,

    /// Only with this port at either end
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// Only in the network namespace of this file, as /proc/PID/ns/net
    #[arg(long, value_name = "FILE", value_parser = netns)]
    netns: Option<u32>,

    /// Size of the ring buffer, a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 18, value_parser = ring_size)]
    ring_size: u32,

    /// With -c, count this many connections
    #[arg(long, value_name = "N", default_value_t = 10240, value_parser = clap::value_parser!(u32).range(1..))]
    max_flows: u32,

    /// Attach this way only: tp_btf, raw_tp or tracepoint
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    attach: Option<Kind>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sort {
    Segments,
    Retransmits,
    Bytes,
    Last,
    First,
}

/// The inode number of a network namespace.
fn netns(file: &str) -> Result<u32, String> {
    let metadata = fs::metadata(file).map_err(|error| error.to_string())?;
    metadata.ino().try_into().map_err(|_| "it is not the file of a namespace".into())
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::run(|| match args.per_flow {
        true => show_flows(&args),
        false => show_each(&args),
    })
}

fn builder(args: &Args) -> TcpRetransmitsBuilder {
    let mut builder = TcpRetransmits::builder()
        .netns(args.netns.unwrap_or(0))
        .port(args.port.unwrap_or(0))
        .failed(args.failures)
        .ring_size(args.ring_size)
        .max_flows(args.max_flows);
    if args.ipv4 {
        builder = builder.ipv4();
    }
    if args.ipv6 {
        builder = builder.ipv6();
    }
    if let Some(kind) = args.attach {
        builder = builder.attach_kind(kind.into());
    }
    builder
}

fn show_each(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut clock = Clock::start(&args.common)?;
    let mut probe = builder(args).attach()?;
    let title = cells("TIME", "PID", "IP", "LADDR:LPORT", "T>", "RADDR:RPORT", "STATE");
    common::follow(&args.common, &mut clock, &mut probe, &title, |probe, page| {
        probe.drain(|event| {
            if page.has_room() {
                page.line(&if args.common.json { json_of(&event) } else { line(&event) });
            }
        })
    })
}

fn cells(time: &str, pid: &str, ip: &str, near: &str, to: &str, far: &str, rest: &str) -> String {
    format!("{time:<8} {pid:<7} {ip:<2} {near:<20} {to} {far:<20} {rest}")
}

fn line(event: &Retransmit<'_>) -> String {
    let at = Timestamp::try_from(event.time()).unwrap_or_default();
    let pid = event.pid().map_or_else(|| "-".into(), |pid| pid.to_string());
    let (to, rest) = match event.error() {
        None if event.is_loss_probe() => ("L>", event.state.to_string()),
        None => ("R>", event.state.to_string()),
        Some(error) => ("E>", format!("{} ({error})", event.state)),
    };
    cells(
        &at.strftime("%T").to_string(),
        &pid,
        &event.flow.family.to_string(),
        &event.local().to_string(),
        to,
        &event.remote().to_string(),
        &rest,
    )
}

fn json_of(event: &Retransmit<'_>) -> String {
    let at = Timestamp::try_from(event.time()).unwrap_or_default();
    let mut fields = ends(&event.flow);
    fields["state"] = json!(event.state.to_string());
    fields["segments"] = json!(event.segs);
    fields["bytes"] = json!(event.bytes);
    fields["seq"] = json!(event.seq);
    fields["loss_probe"] = json!(event.is_loss_probe());
    fields["error"] = json!(event.error().map(|error| error.to_string()));
    fields["pid"] = json!(event.pid());
    fields["uid"] = json!(event.uid);
    object("retransmit", at, fields)
}

fn ends(flow: &TcpFlow) -> Value {
    let [near, far]: [SocketAddr; 2] = [flow.local(), flow.remote()];
    json!({
        "ip_version": flow.family,
        "laddr": near.ip().to_string(),
        "lport": near.port(),
        "raddr": far.ip().to_string(),
        "rport": far.port(),
        "netns": flow.netns,
    })
}

fn show_flows(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut clock = Clock::start(&args.common)?;
    let probe = builder(args).attach_per_flow()?;
    let mut output = Output::new(&args.common);
    let mut loss = Loss::new("raise --max-flows");
    loop {
        let last = !clock.tick()?;
        let began = Instant::now();
        let at = Timestamp::now();
        let RetransmitSummary { mut flows, health, .. } = probe.summary()?;
        let read = began.elapsed();

        sort(&mut flows, args.sort);
        if args.common.json {
            for flow in flows.iter().take(args.common.rows()) {
                output.json(&json_of_flow(flow, at)?)?;
            }
        } else {
            let segs: u64 = flows.iter().map(|flow| flow.stat.segs).sum();
            let title = format!(
                "{}  {segs} segments of {} connections  {}",
                common::time_of_day(at),
                flows.len(),
                probe.attach_kind(),
            );
            output.frame(&Frame {
                title: &title,
                table: &table(&flows, args.failures),
                rows: args.common.rows(),
                footer: &footer(&health, read),
                alarm: health.dropped() > 0,
            })?;
        }
        loss.note(&health, read, &mut output)?;
        if last || output.is_closed() {
            loss.summary(&mut output)?;
            return Ok(());
        }
    }
}

fn sort(flows: &mut [Retransmitted], sort: Sort) {
    // Equal ones keep their places from tick to tick.
    flows.sort_by_key(|flow| (flow.flow.netns, flow.flow.local(), flow.flow.remote()));
    match sort {
        Sort::Segments => flows.sort_by_key(|flow| Reverse((flow.stat.segs, flow.stat.failed))),
        Sort::Retransmits => flows.sort_by_key(|flow| Reverse(flow.stat.retransmits)),
        Sort::Bytes => flows.sort_by_key(|flow| Reverse(flow.stat.bytes)),
        Sort::Last => flows.sort_by_key(|flow| Reverse(flow.stat.last_ns)),
        Sort::First => flows.sort_by_key(|flow| flow.stat.first_ns),
    }
}

fn table(flows: &[Retransmitted], failures: bool) -> Table {
    let mut columns = ["RETRANS", "PROBES", "SEGMENTS", "BYTES"].map(Column::right).to_vec();
    if failures {
        columns.push(Column::right("FAILED"));
    }
    columns.extend(["FIRST", "LAST"].map(Column::right));
    columns.extend(["LADDR:LPORT", "RADDR:RPORT"].map(Column::left));
    // The same addresses may be in use in several namespaces.
    let several = flows.iter().any(|flow| flow.flow.netns != flows[0].flow.netns);
    if several {
        columns.push(Column::left("NETNS"));
    }
    let mut table = Table::new(columns);
    let now = SystemTime::now();
    for Retransmitted { flow, stat, first, last, .. } in flows {
        let mut cells = vec![stat.retransmits, stat.loss_probes, stat.segs, stat.bytes];
        if failures {
            cells.push(stat.failed);
        }
        let mut cells: Vec<_> = cells.iter().map(u64::to_string).collect();
        cells.extend([age(now, *first), age(now, *last)]);
        cells.extend([flow.local().to_string(), flow.remote().to_string()]);
        if several {
            cells.push(flow.netns.to_string());
        }
        table.row(cells, false);
    }
    table
}

fn json_of_flow(flow: &Retransmitted, at: Timestamp) -> Result<String, Box<dyn Error>> {
    let (first, last) = (Timestamp::try_from(flow.first)?, Timestamp::try_from(flow.last)?);
    let mut fields = ends(&flow.flow);
    fields["retransmits"] = json!(flow.stat.retransmits);
    fields["segments"] = json!(flow.stat.segs);
    fields["bytes"] = json!(flow.stat.bytes);
    fields["loss_probes"] = json!(flow.stat.loss_probes);
    fields["failed"] = json!(flow.stat.failed);
    fields["first"] = json!(first.to_string());
    fields["first_ns"] = json!(first.as_nanosecond() as i64);
    fields["last"] = json!(last.to_string());
    fields["last_ns"] = json!(last.as_nanosecond() as i64);
    Ok(object("flow", at, fields))
}
