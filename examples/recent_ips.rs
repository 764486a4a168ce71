//! Who sent to a network interface of late, live.

#![forbid(unsafe_code)]

mod common;

use std::cmp::Reverse;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use bpf_atlas::probes::{Recent, RecentIps, Sender};
use clap::{Parser, ValueEnum};
use common::{
    Clock, Column, Common, Frame, Loss, Mode, Output, Table, age, footer, object, printable,
};
use jiff::Timestamp;
use serde_json::json;

const AFTER: &str = "\
Needs  CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (root has them), Linux 5.9.
Costs  120 to 200 ns a packet, and a walk of the map at each print.
Shows  source addresses of IPv4 and IPv6, forged ones too. A full map drops who was
       not heard of for long, though not exactly the longest; the footer says how
       many packets went with them.";

/// Who sent to a network interface of late, live
#[derive(Parser)]
#[command(version, after_help = AFTER)]
struct Args {
    /// Interface to listen on
    #[arg(value_name = "IFACE")]
    interface: String,

    #[command(flatten)]
    common: Common,

    /// Attach in the driver, behind it, or where it works
    #[arg(short, long, value_name = "MODE", default_value = "auto")]
    mode: Mode,

    /// Sort by this column
    #[arg(short, long, value_name = "COLUMN", default_value = "last")]
    sort: Sort,

    /// Remember this many addresses
    #[arg(long, value_name = "N", default_value_t = 10240, value_parser = clap::value_parser!(u32).range(1..))]
    capacity: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sort {
    Last,
    First,
    Packets,
    Bytes,
    Address,
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::run(|| show(&args))
}

fn show(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut clock = Clock::start(&args.common)?;
    let builder = RecentIps::builder(&*args.interface).mode(args.mode.into());
    let probe = builder.capacity(args.capacity).attach()?;
    let mut output = Output::new(&args.common);
    let mut loss = Loss::new("raise --capacity");
    loop {
        let last = !clock.tick()?;
        let began = Instant::now();
        let at = Timestamp::now();
        let mut recent = probe.recent()?;
        let read = began.elapsed();

        sort(&mut recent.senders, args.sort);
        if args.common.json {
            for sender in recent.senders.iter().take(args.common.rows()) {
                output.json(&json_of(sender, at)?)?;
            }
            output.json(&totals(&recent, at))?;
        } else {
            let title = format!(
                "{}  {} packets from {} addresses  {} {}",
                common::time_of_day(at),
                recent.totals.packets,
                recent.senders.len(),
                printable(probe.link().interface()),
                probe.attach_kind(),
            );
            let footer = format!(
                "{} · evicted {} packets · LRU: approximate",
                footer(&recent.health, read),
                recent.evicted.packets
            );
            output.frame(&Frame {
                title: &title,
                table: &table(&recent.senders),
                rows: args.common.rows(),
                footer: &footer,
                alarm: recent.health.dropped() > 0,
            })?;
        }
        loss.note(&recent.health, read, &mut output)?;
        let here = probe.link().is_attached()?;
        if last || output.is_closed() || !here {
            loss.summary(&mut output)?;
            let gone = || format!("interface {} is gone", printable(&args.interface)).into();
            return if here { Ok(()) } else { Err(gone()) };
        }
    }
}

fn sort(senders: &mut [Sender], sort: Sort) {
    match sort {
        Sort::Last => senders.sort_by_key(|s| (Reverse(s.stat.last_ns), s.address)),
        Sort::First => senders.sort_by_key(|s| (s.stat.first_ns, s.address)),
        Sort::Packets => senders.sort_by_key(|s| (Reverse(s.packets), s.address)),
        Sort::Bytes => senders.sort_by_key(|s| (Reverse(s.bytes), s.address)),
        Sort::Address => senders.sort_by_key(|s| s.address),
    }
}

fn table(senders: &[Sender]) -> Table {
    let columns = ["PACKETS", "BYTES", "FIRST", "LAST"].map(Column::right);
    let mut table = Table::new([&columns[..], &[Column::left("ADDRESS")]].concat());
    let now = SystemTime::now();
    for sender in senders {
        table.row(
            [
                sender.packets.to_string(),
                sender.bytes.to_string(),
                age(now, sender.first_seen),
                age(now, sender.last_seen),
                sender.address.to_string(),
            ],
            false,
        );
    }
    table
}

fn json_of(sender: &Sender, at: Timestamp) -> Result<String, Box<dyn Error>> {
    let first = Timestamp::try_from(sender.first_seen)?;
    let last = Timestamp::try_from(sender.last_seen)?;
    Ok(object(
        "sender",
        at,
        json!({
            "address": sender.address.to_string(),
            "packets": sender.packets,
            "bytes": sender.bytes,
            "first_seen": first.to_string(),
            "first_seen_ns": first.as_nanosecond() as i64,
            "last_seen": last.to_string(),
            "last_seen_ns": last.as_nanosecond() as i64,
        }),
    ))
}

fn totals(recent: &Recent, at: Timestamp) -> String {
    object(
        "totals",
        at,
        json!({
            "packets": recent.totals.packets,
            "bytes": recent.totals.bytes,
            "other_packets": recent.totals.other_packets,
            "other_bytes": recent.totals.other_bytes,
            "refused_packets": recent.totals.refused_packets,
            "refused_bytes": recent.totals.refused_bytes,
            "evicted_packets": recent.evicted.packets,
            "evicted_bytes": recent.evicted.bytes,
        }),
    )
}
