//! What `benches/walk.rs` and `benches/peers/walk.rs` share.

mod c;
mod mapped;
pub mod measure;
mod plot;
mod single;
#[path = "../support/mod.rs"]
mod support;
mod walks;

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

use self::measure::{Case, Report, Row, json, markdown};
use self::plot::{Curve, svg};
pub use self::support::Error;
use self::support::{Args, load, machine};
use self::walks::Chosen;

/// The kinds of map, `u32 → u64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Hash,
    LruHash,
    PerCpuHash,
    LruPerCpuHash,
    Array,
    PerCpuArray,
}

/// Peers that not every build has.
pub trait Others {
    /// Which ones this build lacks, and why.
    const ABSENT: &str;

    /// How they add up all values.
    fn walk(_: Kind, _: BorrowedFd<'_>) -> Result<Vec<Case<'static>>, Error> {
        Ok(Vec::new())
    }

    /// How they look so many keys up, one by one from 0.
    fn lookup(_: Kind, _: BorrowedFd<'_>, _: u32) -> Result<Vec<Case<'static>>, Error> {
        Ok(Vec::new())
    }
}

pub fn main<O: Others>() -> Result<(), Error> {
    let Some(args) = Args::new() else { return Ok(()) };
    let (rounds, most) = if args.is_quick() { (3, 10_000) } else { (11, 4_000_000) };
    if let (Some(rows), Some(folder)) = (args.value("--cpus-from"), args.value("--out")) {
        return cpus_curves(&fs::read_to_string(rows)?, Path::new(folder));
    }
    if args.has("compile") {
        println!("{}", support::compile("walk")?.display());
        return Ok(());
    }
    let rounds = args.value("--rounds").map_or(Ok(rounds), str::parse)?;
    let machine = machine(rounds)?;
    println!("{machine}. Times in ns, ratios to the first of each group.");
    if !O::ABSENT.is_empty() {
        println!("{}.", O::ABSENT);
    }
    let parts = ["walks", "sparse", "single", "mapped", "batch", "cpus"];
    let chosen = |part: &str| args.has(part) || !parts.iter().any(|part| args.has(part));
    let mut report = Report::new(rounds);
    if chosen("walks") {
        let entries = args.value("--entries").map(str::parse).transpose()?;
        walks::run::<O>(&mut report, &Chosen { most, kind: args.value("--kind"), entries })?;
    }
    if chosen("sparse") {
        walks::sparse(&mut report)?;
    }
    if chosen("batch") {
        walks::batch_sizes(&mut report, most)?;
    }
    if chosen("single") {
        single::run::<O>(&mut report, if args.is_quick() { 1000 } else { 20_000 })?;
    }
    if chosen("mapped") {
        mapped::run(&mut report, most)?;
    }
    // Only where it is asked for: this machine is one of those that it compares.
    if args.has("cpus") {
        walks::against_cpus(&mut report, args.value("--compiled").map(Path::new))?;
    }
    let machine = format!("{machine} before, {} after", load()?);
    println!("\n{machine}.");
    if let Some(folder) = args.value("--out") {
        write(Path::new(folder), &machine, &report.rows)?;
    }
    if report.is_right { Ok(()) } else { Err("a sum was wrong".into()) }
}

/// The tables as Markdown and JSON, and two of them as curves.
fn write(folder: &Path, machine: &str, rows: &[Row]) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    let text = format!(
        "# Maps read and written: the figures\n\n{machine}. Made by `make bench`; how to read \
         it is in [README.md](README.md).\nTimes in ns, ratios to the first of each group, the \
         medians of those within a round.\n{}",
        markdown(rows, true)
    );
    fs::write(folder.join("walk.md"), text)?;
    fs::write(folder.join("walk.json"), json(machine, rows))?;
    for (kind, file) in [("Hash", "walk-hash.svg"), ("PerCpuHash", "walk-per-cpu-hash.svg")] {
        let shown = ["C batch loop", "iter", "sums", "gather", "bpf_iter, seq file"];
        let shown = shown.into_iter().chain(["C next_key + lookup", "libbpf-rs", "aya"]);
        let curves = shown.filter_map(|name| {
            let of = |row: &&Row| {
                row.table == walks::TABLE && walks::is_of(&row.what, kind) && row.name == name
            };
            let points = rows.iter().filter(of).map(|row| (f64::from(row.entries), row.median));
            let points: Vec<_> = points.collect();
            (!points.is_empty()).then(|| Curve { name: name.into(), points })
        });
        let curves: Vec<_> = curves.filter(|one| kind == "Hash" || one.name != "iter").collect();
        if curves.is_empty() {
            continue;
        }
        let title = format!("All values of a {kind}, u32 → u64, added up");
        let ticks = [1e3, 1e4, 1e5, 1e6, 4e6];
        let ticks = &ticks[..if kind == "Hash" { 5 } else { 4 }];
        let picture = svg(&title, "entries", "ns an entry", ticks, &curves);
        fs::write(folder.join(file), picture)?;
    }
    Ok(())
}

/// Curves of the rows that several machines have printed.
fn cpus_curves(rows: &str, folder: &Path) -> Result<(), Error> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in rows.lines() {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, what, name, median, ..] = cells[..] else { continue };
        let Some(cpus) = what.strip_prefix("PerCpuHash, ") else { continue };
        let Some(cpus) = cpus.strip_suffix(" CPUs") else { continue };
        let point = (cpus.parse()?, median.parse()?);
        match curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve { name: name.into(), points: vec![point] }),
        }
    }
    let title = "A PerCpuHash of 4,000 u32 → u64, emulated: read the distances alone";
    let picture = svg(title, "possible CPUs", "ns an entry", &[2.0, 16.0, 64.0, 128.0], &curves);
    Ok(fs::write(folder.join("cpus.svg"), picture)?)
}
