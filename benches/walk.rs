//! Full walks of `u32 → u64`: this crate, libbpf-rs, and a careful C-style
//! batch loop on libbpf with reused buffers.
//!
//! `cargo bench --bench walk` prints a Markdown table: the median of the ratios
//! to the batch loop, paired round by round, since the machine is shared and
//! a bare time says little. Every walk's sum is checked; a wrong one prints
//! WRONG and the bench fails. `-- --quick` runs three rounds of the small sizes.

// The C-style loop calls libbpf directly, as its peer in C would.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use bpf_atlas::{Gatherable, Gatherer, Hash, PerCpu, PerCpuHash};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

type Error = Box<dyn std::error::Error>;

/// One way to add up all values of a map.
struct Variant<'a> {
    name: &'static str,
    sum: Box<dyn FnMut() -> Result<u64, Error> + 'a>,
}

/// The batch loop that a careful C programmer writes: 4,096 entries a call,
/// buffers reused, values added up as they lie.
struct BatchLoop<'fd> {
    fd: BorrowedFd<'fd>,
    words: usize,
    keys: Vec<u32>,
    values: Vec<u64>,
}

impl<'fd> BatchLoop<'fd> {
    const BATCH: usize = 4096;

    fn new(fd: BorrowedFd<'fd>, cpus: usize) -> Self {
        let values = vec![0; Self::BATCH * cpus];
        Self { fd, words: cpus, keys: vec![0; Self::BATCH], values }
    }

    fn sum(&mut self) -> Result<u64, Error> {
        let (mut sum, mut cursor, mut first) = (0_u64, [0_u32; 2], true);
        loop {
            let mut count = Self::BATCH as u32;
            let mut next = [0_u32; 2];
            let from = if first { std::ptr::null_mut() } else { cursor.as_mut_ptr() };
            // SAFETY: keys are 4 bytes, values 8 bytes a CPU, and the buffers
            // hold `count` of each; a hash's cursor is 4 bytes.
            let ret = unsafe {
                libbpf_sys::bpf_map_lookup_batch(
                    self.fd.as_raw_fd(),
                    from.cast(),
                    next.as_mut_ptr().cast(),
                    self.keys.as_mut_ptr().cast(),
                    self.values.as_mut_ptr().cast(),
                    &mut count,
                    std::ptr::null(),
                )
            };
            if ret != 0 && ret != -libc::ENOENT {
                return Err(std::io::Error::from_raw_os_error(-ret).into());
            }
            for value in &self.values[..count as usize * self.words] {
                sum = sum.wrapping_add(*value);
            }
            if ret != 0 {
                return Ok(sum);
            }
            (cursor, first) = (next, false);
        }
    }
}

fn libbpf_rs_sum(map: &MapHandle) -> Result<u64, Error> {
    let mut sum = 0_u64;
    for key in map.keys() {
        if let Some(value) = map.lookup(&key, MapFlags::ANY)? {
            sum = sum.wrapping_add(u64::from_ne_bytes(value[..8].try_into()?));
        }
    }
    Ok(sum)
}

fn libbpf_rs_per_cpu_sum(map: &MapHandle) -> Result<u64, Error> {
    let mut sum = 0_u64;
    for key in map.keys() {
        for value in map.lookup_percpu(&key, MapFlags::ANY)?.into_iter().flatten() {
            sum = sum.wrapping_add(u64::from_ne_bytes(value[..8].try_into()?));
        }
    }
    Ok(sum)
}

fn hash(entries: u32, rounds: usize) -> Result<bool, Error> {
    let map = Hash::<u32, u64>::create("bench", entries)?;
    map.update_all((0..entries).map(|key| (key, u64::from(key) * 3)))?;
    let expected = (0..u64::from(entries)).map(|key| key * 3).sum();
    let handle = MapHandle::from_map_id(map.info().id)?;
    let mut c = BatchLoop::new(map.as_fd(), 1);
    let mut gatherer = Gatherer::sampling(&map);
    println!("<!-- gather: {} -->", gatherer.mode());
    let mut variants = [
        Variant { name: "C batch loop", sum: Box::new(|| c.sum()) },
        Variant { name: "sum", sum: Box::new(|| Ok(map.sum()?)) },
        Variant {
            name: "for_each",
            sum: Box::new(|| {
                let mut sum = 0_u64;
                map.for_each(|_, value| sum = sum.wrapping_add(value))?;
                Ok(sum)
            }),
        },
        Variant {
            name: "iter",
            sum: Box::new(|| {
                let mut sum = 0_u64;
                for entry in &map {
                    sum = sum.wrapping_add(entry?.1);
                }
                Ok(sum)
            }),
        },
        Variant { name: "gather", sum: Box::new(|| gathered(&mut gatherer)) },
        Variant { name: "libbpf-rs keys + lookup", sum: Box::new(|| libbpf_rs_sum(&handle)) },
    ];
    run("Hash", entries, rounds, expected, &mut variants)
}

fn per_cpu_hash(entries: u32, rounds: usize) -> Result<bool, Error> {
    let map = PerCpuHash::<u32, u64>::create("bench", entries)?;
    let cpus = PerCpu::splat(0_u64).len() as u64;
    map.update_all((0..entries).map(|key| (key, PerCpu::splat(u64::from(key)))))?;
    let expected = (0..u64::from(entries)).map(|key| key * cpus).sum();
    let handle = MapHandle::from_map_id(map.info().id)?;
    let mut c = BatchLoop::new(map.as_fd(), cpus as usize);
    let mut gatherer = Gatherer::sampling(&map);
    let mut variants = [
        Variant { name: "C batch loop", sum: Box::new(|| c.sum()) },
        Variant { name: "sum", sum: Box::new(|| Ok(map.sum()?)) },
        Variant {
            name: "sums",
            sum: Box::new(|| {
                let mut sum = 0_u64;
                for entry in map.sums() {
                    sum = sum.wrapping_add(entry?.1);
                }
                Ok(sum)
            }),
        },
        Variant {
            name: "for_each",
            sum: Box::new(|| {
                let mut sum = 0_u64;
                map.for_each(|_, value| sum = sum.wrapping_add(value.sum()))?;
                Ok(sum)
            }),
        },
        Variant { name: "gather", sum: Box::new(|| gathered(&mut gatherer)) },
        Variant {
            name: "libbpf-rs keys + lookup",
            sum: Box::new(|| libbpf_rs_per_cpu_sum(&handle)),
        },
    ];
    run("PerCpuHash", entries, rounds, expected, &mut variants)
}

fn gathered<M>(gatherer: &mut Gatherer<M>) -> Result<u64, Error>
where
    M: Gatherable<Key = u32, Total = u64>,
{
    Ok(gatherer.gather()?.iter().map(|one| one.value).fold(0, u64::wrapping_add))
}

/// Runs the variants in turn, each round from another one on, and prints a row
/// for each. Whether all sums were right.
fn run(
    kind: &str,
    entries: u32,
    rounds: usize,
    expected: u64,
    variants: &mut [Variant<'_>],
) -> Result<bool, Error> {
    let mut times = vec![vec![0.0; rounds]; variants.len()];
    let mut right = true;
    for round in 0..=rounds {
        for turn in 0..variants.len() {
            let which = (turn + round) % variants.len();
            let variant = &mut variants[which];
            let start = Instant::now();
            let sum = (variant.sum)()?;
            let time = start.elapsed().as_nanos() as f64 / f64::from(entries);
            if sum != expected {
                println!("WRONG: {} of {kind} at {entries}: {sum}, not {expected}", variant.name);
                right = false;
            }
            // The first round warms up.
            if let Some(round) = round.checked_sub(1) {
                times[which][round] = time;
            }
        }
    }
    for (which, variant) in variants.iter().enumerate() {
        let mut ratios: Vec<_> = (0..rounds).map(|n| times[which][n] / times[0][n]).collect();
        let least = times[which].iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "| {kind} | {entries} | {} | {:.1} | {least:.1} | {:.2} |",
            variant.name,
            median(&mut times[which].clone()),
            median(&mut ratios)
        );
    }
    Ok(right)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Error> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    // `cargo test --benches` passes nothing, `cargo bench` passes --bench.
    if !quick && !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let (rounds, sizes): (_, &[u32]) =
        if quick { (3, &[1000, 10_000]) } else { (11, &[1000, 10_000, 100_000, 1_000_000]) };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = std::thread::available_parallelism()?;
    println!("Linux {}, {cpus} CPUs, {rounds} rounds, interleaved\n", kernel.trim());
    println!("| map | entries | walk | ns an entry, median | least | ratio to C |");
    println!("|---|---|---|---|---|---|");
    let mut right = true;
    for &entries in sizes {
        right &= hash(entries, rounds)?;
        right &= per_cpu_hash(entries, rounds)?;
    }
    if right { Ok(()) } else { Err("a sum was wrong".into()) }
}
