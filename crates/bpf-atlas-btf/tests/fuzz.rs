//! Feeds the reader what no compiler writes: an answer or an error, never a
//! panic, a loop or a read outside.
//!
//! Begins with real BTF (the kernel's own, cut down, and hand-made types) and
//! changes bytes, words, lengths and kinds at random. Runs for two seconds, or
//! for as many as `BPF_ATLAS_FUZZ_SECONDS` says; a failure prints the seed, and
//! `BPF_ATLAS_FUZZ_SEED` runs it again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bpf_atlas_btf::{Btf, Kind};

#[path = "support/random.rs"]
mod random;
use random::{Random, number, seed};

fn blob(types: &[u32], names: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let words = [24, 0, types.len() as u32 * 4, types.len() as u32 * 4, names.len() as u32];
    bytes.extend(words.iter().chain(types).flat_map(|word| word.to_ne_bytes()));
    bytes.extend(names);
    bytes
}

/// One type of each kind, referring to each other.
fn seed_blob() -> Vec<u8> {
    let info = |kind: u32, count: u32| kind << 24 | count;
    #[rustfmt::skip]
    let types = [
        1, info(1, 0), 4, 1 << 24 | 32,                  // 1 int
        0, info(2, 0), 1,                                // 2 pointer
        0, info(3, 0), 0, 1, 1, 7,                       // 3 array
        3, info(4, 2), 40, 1, 1, 0, 3, 3, 32,            // 4 struct
        3, info(5, 2), 28, 1, 1, 0, 3, 3, 0,             // 5 union
        5, info(6, 2), 4, 1, 0, 3, 1,                    // 6 enum
        3, info(7, 0), 0,                                // 7 forward
        5, info(8, 0), 4,                                // 8 typedef
        0, info(10, 0), 8,                               // 9 const
        1, info(14, 0), 9, 1,                            // 10 variable
        5, info(15, 1), 40, 10, 0, 40,                   // 11 section
        1, info(16, 0), 8,                               // 12 float
        1, info(17, 0), 4, u32::MAX,                     // 13 note
        1, info(18, 0), 1,                               // 14 type tag
        5, info(19, 1), 8, 1, 1, 2,                      // 15 wide enum
        0, info(13, 1), 1, 1, 1,                         // 16 function type
        1, info(12, 0), 16,                              // 17 function
        3, info(4, 1) | 1 << 31, 4, 1, 1, 3 << 24 | 5,   // 18 bitfield
    ];
    blob(&types, b"\0a\0b\0c\0")
}

/// Asks everything there is to ask.
fn ask(bytes: &[u8]) -> usize {
    let Ok(btf) = Btf::parse(bytes) else { return 0 };
    let mut asked = 0;
    for (id, of) in btf.types() {
        let _ = (btf.resolve(id), btf.size_of(id), btf.c_name(id));
        if let Kind::Composite { members, .. } = &of.kind {
            for member in members {
                let _ = (btf.size_of(member.of), btf.c_name(member.of));
            }
        }
        asked += 1;
    }
    let last = btf.types().len() as u32;
    assert!(btf.get(last).is_err() && btf.size_of(u32::MAX).is_err());
    asked
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.index(8) {
        if bytes.is_empty() {
            return;
        }
        let at = random.index(bytes.len());
        match random.index(7) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.index(8),
            2 => {
                // A word that matters: small, huge, or one of the file's own.
                let at = at & !3;
                let words = [0, 1, 2, 3, 24, u32::MAX, 1 << 31, random.next() as u32 % 32];
                let word = words[random.index(words.len())].to_ne_bytes();
                for (to, from) in bytes[at..].iter_mut().zip(word) {
                    *to = from;
                }
            }
            3 => bytes.truncate(at),
            4 => bytes.insert(at, random.next() as u8),
            5 => {
                let from = random.index(bytes.len());
                let len = random.index(32).min(bytes.len() - from.max(at));
                bytes.copy_within(from..from + len, at);
            }
            _ => {
                // Another kind in the place of one.
                let at = (at & !3) + 3;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.index(32) as u8;
                }
            }
        }
    }
}

#[test]
fn whatever_the_bytes_it_answers_or_refuses() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = seed(now.as_nanos() as u64);
    let good = seed_blob();
    assert_eq!(ask(&good), 19, "the seed itself is refused");
    let time = Duration::from_secs(number("BPF_ATLAS_FUZZ_SECONDS").unwrap_or(2));
    let start = Instant::now();
    let (mut rounds, mut accepted) = (0_u64, 0_u64);
    let mut corpus = vec![good];
    while start.elapsed() < time {
        let mut bytes = corpus[random.index(corpus.len())].clone();
        mutate(&mut bytes, &mut random);
        let before = Instant::now();
        if ask(&bytes) > 0 {
            accepted += 1;
            // What was taken is a good start for worse.
            if corpus.len() < 256 {
                corpus.push(bytes);
            } else {
                let at = 1 + random.index(255);
                corpus[at] = bytes;
            }
        }
        assert!(before.elapsed() < Duration::from_secs(5), "a question that does not end");
        rounds += 1;
    }
    println!("{rounds} inputs, {accepted} of them read");
    assert!(accepted > 100 && accepted < rounds, "{accepted} of {rounds}: it tests nothing");
}

/// The kernel's own types, all of them, where the kernel offers them.
#[test]
fn the_kernels_own_types_are_read() {
    let path = "/sys/kernel/btf/vmlinux";
    let Ok(bytes) = std::fs::read(path) else {
        println!("skipped: the_kernels_own_types_are_read: no {path}");
        return;
    };
    let btf = Btf::parse(&bytes).unwrap();
    assert!(btf.types().len() > 10_000);
    let (id, task) = btf.types().find(|(_, of)| of.name == "task_struct").unwrap();
    assert!(matches!(task.kind, Kind::Composite { union: false, .. }));
    assert!(btf.size_of(id).unwrap() > 1000);
    assert_eq!(btf.c_name(id), "struct task_struct");
    for (id, _) in btf.types() {
        let _ = (btf.size_of(id), btf.c_name(id), btf.resolve(id));
    }
}
