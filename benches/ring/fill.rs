//! A ring that is filled, then drained.

use std::time::Instant;

use libbpf_rs::MapHandle;

use super::kernel::{Programs, Run, pin_to};
use super::{Error, Others, median, peers, turns};

/// What a reader made of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    pub count: u64,
    pub sum: u64,
}

impl Total {
    /// The same work for every reader: one addition a record, or one a word.
    #[inline(always)]
    pub fn add<const N: usize, const ALL: bool>(&mut self, record: &[u64; N]) {
        self.count += 1;
        let sum = if ALL {
            record.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word))
        } else {
            record[0].wrapping_add(record[N - 1])
        };
        self.sum = self.sum.wrapping_add(sum);
    }
}

/// A reader of a full ring.
pub trait Drain {
    /// Reads everything that is there.
    fn drain(&mut self) -> Result<Total, Error>;
}

/// One way to read a full ring. What it takes to open it is not measured.
pub struct Filled {
    pub name: &'static str,
    pub open: for<'m> fn(&'m MapHandle) -> Result<Box<dyn Drain + 'm>, Error>,
}

pub fn run<O: Others>(cpu: usize, events: u64, rounds: usize) -> Result<bool, Error> {
    pin_to(cpu)?;
    println!("\n{events} events are submitted, then read. ns an event; ratio to libbpf, C.\n");
    println!("| bytes | summed up | reader | median | least | ratio |");
    println!("|---|---|---|---|---|---|");
    let mut right = true;
    right &= of_size::<O, 3>(events, rounds, "fill_3")?;
    right &= of_size::<O, 32>(events, rounds, "fill_32")?;
    right &= of_size::<O, 256>(events, rounds, "fill_256")?;
    Ok(right)
}

fn of_size<O: Others, const N: usize>(
    events: u64,
    rounds: usize,
    fill: &str,
) -> Result<bool, Error> {
    let bytes = (8 + 8 * N as u64) * events + 1;
    let programs = Programs::load(bytes.next_power_of_two() as u32)?;
    let mut ends = peers::filled::<N, false>();
    ends.extend(O::filled::<N, false>());
    let right = of_readers::<N, false>(&programs, &ends, events, rounds, fill)?;
    if N == 3 {
        return Ok(right);
    }
    let mut all = peers::filled::<N, true>();
    all.extend(O::filled::<N, true>());
    Ok(right & of_readers::<N, true>(&programs, &all, events, rounds, fill)?)
}

fn of_readers<const N: usize, const ALL: bool>(
    programs: &Programs,
    readers: &[Filled],
    events: u64,
    rounds: usize,
    fill: &str,
) -> Result<bool, Error> {
    let fill = programs.runner(fill)?;
    let mut times = vec![Vec::new(); readers.len()];
    let mut right = true;
    let mut first = 0;
    for round in 0..=rounds {
        for turn in turns(readers.len(), round) {
            let reader = &readers[turn];
            let mut run = Run { first, count: events, ..Default::default() };
            fill.run(&mut run)?;
            let expected = expected::<N, ALL>(first, events);
            first += events;
            let mut open = (reader.open)(&programs.maps.records)?;
            let start = Instant::now();
            let total = open.drain()?;
            let time = start.elapsed().as_nanos() as f64 / events as f64;
            if total != expected || run.lost != 0 {
                println!("WRONG: {}: {total:?}, not {expected:?}", reader.name);
                right = false;
            }
            // The first round warms up.
            if round > 0 {
                times[turn].push(time);
            }
        }
    }
    for (reader, times_of) in readers.iter().zip(&times) {
        let ratios = times_of.iter().zip(&times[0]).map(|(time, of_c)| time / of_c);
        println!(
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} |",
            8 * N,
            if ALL { "every word" } else { "two words" },
            reader.name,
            median(times_of.iter().copied()),
            times_of.iter().copied().fold(f64::INFINITY, f64::min),
            median(ratios)
        );
    }
    Ok(right)
}

/// What the program's records amount to.
fn expected<const N: usize, const ALL: bool>(first: u64, events: u64) -> Total {
    let mut total = Total::default();
    for event in first..first + events {
        let start = event.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        total.add::<N, ALL>(&std::array::from_fn(|at| start.wrapping_add(at as u64)));
    }
    total
}
