//! What `benches/ring.rs` and `benches/peers/ring.rs` share.

pub mod fill;
pub mod kernel;
pub mod live;
pub mod peers;
mod submit;

use std::fs;
use std::thread::available_parallelism;

use self::fill::Filled;
use self::kernel::allowed_cpus;
use self::live::Live;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Peers that not every build has.
pub trait Others {
    /// Which ones this build lacks, and why.
    const ABSENT: &str;

    /// How they read a ring that is full of records of `N` words.
    fn filled<const N: usize, const ALL: bool>() -> Vec<Filled> {
        Vec::new()
    }

    /// How they read what comes.
    fn live() -> Vec<Live> {
        Vec::new()
    }
}

pub fn main<O: Others>() -> Result<(), Error> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    let quick = has("--quick");
    // `cargo test --benches` passes nothing, `cargo bench` passes --bench.
    if !quick && !has("--bench") {
        return Ok(());
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let (rounds, events) = if quick { (3, 5000) } else { (11, 50_000) };
    println!(
        "Linux {}, {} CPUs, {rounds} rounds, interleaved; load {}.",
        kernel.trim(),
        available_parallelism()?,
        load()?
    );
    if !O::ABSENT.is_empty() {
        println!("{}.", O::ABSENT);
    }
    let cpus = allowed_cpus()?;
    let mut right = true;
    if has("fill") || !has("live") {
        right &= fill::run::<O>(cpus[0], events, rounds)?;
    }
    if has("live") || !has("fill") {
        right &= submit::run(cpus[0], rounds)?;
        let ms = if quick { 40 } else { 200 };
        right &= live::run(&cpus, O::live(), rounds, ms)?;
    }
    println!("\nLoad at the end {}.", load()?);
    if right { Ok(()) } else { Err("a sum was wrong".into()) }
}

/// How many others want the CPUs: of the last 1, 5 and 15 minutes.
fn load() -> Result<String, Error> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').take(3).collect::<Vec<_>>().join(", "))
}

/// The middle of what was measured.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The order in which `n` readers take turns: each round from another one on, and every other
/// round backwards, so that none always comes behind the same.
fn turns(n: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..n).map(move |turn| {
        let at = (turn + round) % n;
        if round % 2 == 0 { at } else { n - 1 - at }
    })
}
