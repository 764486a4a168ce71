//! What the XDP programs of the probes take for a frame, by `BPF_PROG_RUN`.

use std::path::Path;

use libbpf_rs::{MapCore, Object, ProgramInput};

use super::kernel::{self, pin_to};
use super::{Error, median};

/// So many runs are timed at once by the kernel.
const REPEAT: u32 = 20_000;

/// The programs, and the map in which each counts every frame.
const PROGRAMS: [(&str, &str); 5] = [
    ("probe_cost", "empty_xdp"),
    ("packets", "packets"),
    ("packets", "packets_frags"),
    ("recent_ips", "recent_ips"),
    ("recent_ips", "recent_ips_frags"),
];

/// An Ethernet header of that type, and what it holds, 64 bytes in all or more.
fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(64), 0);
    frame
}

fn ipv4(protocol: u8) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 50, 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    header
}

fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 40, next, 64];
    header.extend([0xfd; 32]);
    header.extend(rest);
    header
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let tagged =
        |inner: &[u8], ethertype: u16| [&[0, 7][..], &ethertype.to_be_bytes(), inner].concat();
    vec![
        ("ARP", frame(0x0806, &[0; 28])),
        ("IPv4, TCP", frame(0x0800, &ipv4(6))),
        ("IPv4, UDP", frame(0x0800, &ipv4(17))),
        ("VLAN, IPv4, TCP", frame(0x8100, &tagged(&ipv4(6), 0x0800))),
        ("IPv6, TCP", frame(0x86dd, &ipv6(6, &[]))),
        ("IPv6, hop-by-hop, UDP", frame(0x86dd, &ipv6(0, &[17, 0, 0, 0, 0, 0, 0, 0]))),
    ]
}

/// One turn: nanoseconds a run, as the kernel tells.
fn run(object: &Object, name: &str, frame: &[u8]) -> Result<f64, Error> {
    let program = object.progs_mut().find(|program| program.name() == name);
    let input = ProgramInput { data_in: Some(frame), repeat: REPEAT, ..ProgramInput::default() };
    let output = program.ok_or("no such program")?.test_run(input)?;
    if output.return_value != 2 {
        return Err(format!("{name}: not XDP_PASS but {}", output.return_value).into());
    }
    Ok(output.duration.as_nanos() as f64)
}

/// Prints the table; whether every frame was counted.
pub fn measure(cpu: usize, rounds: usize) -> Result<bool, Error> {
    pin_to(cpu)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = |file| match file {
        "probe_cost" => root.join("benches/bpf/probe_cost.bpf.c"),
        probe => root.join(format!("src/bpf/{probe}.bpf.c")),
    };
    let objects = PROGRAMS.map(|(file, name)| kernel::load(&kernel::compile(&source(file))?, name));
    let objects = objects.into_iter().collect::<Result<Vec<_>, _>>()?;
    let frames = frames();
    let mut times = vec![vec![Vec::new(); frames.len()]; PROGRAMS.len()];
    for round in 0..=rounds {
        for turn in super::turns(PROGRAMS.len(), round) {
            for (at, (_, frame)) in frames.iter().enumerate() {
                let slices = (0..5).map(|_| run(&objects[turn], PROGRAMS[turn].1, frame));
                let slices = slices.collect::<Result<Vec<_>, _>>()?;
                if round > 0 {
                    times[turn][at].push(median(slices));
                }
            }
        }
    }
    let all = u64::from(REPEAT) * 5 * (rounds as u64 + 1) * frames.len() as u64;
    let mut right = true;
    for (object, (file, name)) in objects.iter().zip(PROGRAMS) {
        let counted = match file {
            "packets" => packets(object)?,
            "recent_ips" => totals(object)?,
            _ => continue,
        };
        if counted != all {
            println!("WRONG: {name}: {counted} of {all}");
            right = false;
        }
    }
    println!(
        "\n| frame | empty | {} |",
        PROGRAMS[1..].iter().map(|(_, name)| format!("`{name}`")).collect::<Vec<_>>().join(" | ")
    );
    println!("|---|---|{}", "---|".repeat(PROGRAMS.len() - 1));
    for (at, (frame, _)) in frames.iter().enumerate() {
        let empty = &times[0][at];
        print!("| {frame} | {:.0} |", median(empty.iter().copied()));
        for of in &times[1..] {
            print!(" +{:.0} |", median(of[at].iter().zip(empty).map(|(time, empty)| time - empty)));
        }
        println!();
    }
    Ok(right)
}

fn packets(object: &Object) -> Result<u64, Error> {
    words(object, "protocols", |value| value[0])
}

fn totals(object: &Object) -> Result<u64, Error> {
    words(object, "totals", |value| value[0] + value[2])
}

/// What a per-CPU array holds, added up.
fn words(object: &Object, map: &str, of: fn(&[u64]) -> u64) -> Result<u64, Error> {
    let map = object.maps().find(|found| found.name() == map).ok_or("no such map")?;
    let mut sum = 0;
    for at in 0..map.max_entries() {
        let values = map.lookup_percpu(&at.to_ne_bytes(), libbpf_rs::MapFlags::ANY)?;
        for value in values.unwrap_or_default() {
            let words: Vec<_> = value
                .chunks_exact(8)
                .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
                .collect();
            sum += of(&words);
        }
    }
    Ok(sum)
}
