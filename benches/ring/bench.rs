//! What `benches/ring.rs` and `benches/peers/ring.rs` share.

pub mod fill;
pub mod kernel;
pub mod live;
pub mod peers;
mod submit;
#[path = "../support/mod.rs"]
mod support;

use self::fill::Filled;
use self::kernel::allowed_cpus;
use self::live::Live;
pub use self::support::Error;
use self::support::{Args, compile, load, machine, median, turns};

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
    let Some(args) = Args::new() else { return Ok(()) };
    let (quick, has) = (args.is_quick(), |wanted| args.has(wanted));
    let (rounds, events) = if quick { (3, 5000) } else { (11, 50_000) };
    println!("{}.", machine(rounds)?);
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
