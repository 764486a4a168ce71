//! Damaged objects: refused by name, or taken; never a crash, in the generator
//! or in libbpf behind it, and never without end.
//!
//! Runs for two seconds, or for as many as `BPF_ATLAS_FUZZ_SECONDS` says, in a
//! child process, so that a crash of C code is seen. `BPF_ATLAS_FUZZ_SEED` gives
//! other objects. A failure prints the seed and keeps the object that did it.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bpf_atlas_build::Builder;
use object::{Object as _, ObjectSection as _};

#[path = "support/random.rs"]
mod random;
use random::{Random, number, seed};

/// One of everything that the generator reads.
const SOURCE: &str = r#"
#include "vmlinux.h"
#include "bpf_atlas.h"

enum way { WAY_IN, WAY_OUT = -2 };
typedef struct { __u16 port; __be32 address; } peer_t;
struct flow {
	__u64 bytes;
	peer_t peers[2];
	enum way way;
	__u32 low : 5, high : 20;
	union { __u32 v4; __u8 v6[16]; };
	char comm[16];
	bool on;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");
static struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 24);
} sizes SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 4);
		__type(key, __u32);
		__type(value, peer_t);
	});
} outer SEC(".maps");
struct event { __u32 pid; enum way way; };
ATLAS_RING(events, 4096, struct event);

const volatile __u32 wanted = 3;
__u64 seen = 4;
__u32 counts[8];
extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF __kconfig __weak;

static __attribute__((noinline)) int add(struct flow *flow, __u32 by)
{
	flow->bytes += by;
	return flow->low;
}

SEC("raw_tp/sys_enter")
int enter(void *ctx)
{
	__u32 key = wanted, size = 0;
	struct flow *flow = bpf_map_lookup_elem(&flows, &key);
	struct event *event = atlas_ring_reserve(events);

	if (event) {
		event->pid = LINUX_KERNEL_VERSION + CONFIG_BPF;
		atlas_ring_submit(events, event);
	}
	if (flow)
		seen += add(flow, counts[key & 7]);
	return bpf_map_lookup_elem(&sizes, &size) != 0;
}

SEC("syscall")
int call(void *ctx)
{
	__u32 key = 0;

	return bpf_map_delete_elem(&outer, &key);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
"#;

/// A number that means something to somebody.
fn meant(random: &mut Random, len: usize) -> u64 {
    let small = random.below(64);
    match random.below(8) {
        0..=3 => small,
        4 => random.index(len) as u64,
        5 => u64::from(u32::MAX) - small,
        6 => u64::MAX - small,
        _ => 1 << small,
    }
}

/// A good object, and where its parts lie.
struct Good {
    bytes: Vec<u8>,
    headers: usize,
    sections: usize,
    /// Start and length of what is not code: types, symbols, relocations, names.
    parts: Vec<(usize, usize)>,
}

impl Good {
    fn new(dir: &Path) -> Self {
        let source = dir.join("good.bpf.c");
        fs::write(&source, SOURCE).unwrap();
        Builder::new(&source).out_dir(dir).skeleton(false).build().unwrap();
        let bytes = fs::read(dir.join("good.bpf.o")).unwrap();
        let elf = object::File::parse(&*bytes).unwrap();
        let meant = [".BTF", ".BTF.ext", ".symtab", ".strtab", ".maps"];
        let parts = elf.sections().filter_map(|section| {
            let name = section.name().ok()?;
            let (start, len) = section.file_range()?;
            let told = meant.contains(&name) || name.starts_with(".rel");
            (told && len > 0).then_some((start as usize, len as usize))
        });
        let parts: Vec<_> = parts.collect();
        assert!(parts.len() >= 5, "{parts:?}");
        let half = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        let headers = u64::from_ne_bytes(bytes[0x28..0x30].try_into().unwrap()) as usize;
        assert_eq!(half(0x3a), 64, "the size of a section's header");
        Self { headers, sections: half(0x3c), parts, bytes: bytes.clone() }
    }

    fn damaged(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for _ in 0..=random.index(4) {
            let len = bytes.len();
            match random.index(8) {
                0 => bytes[random.index(len)] ^= 1 << random.index(8),
                1 => {
                    // In the ELF header.
                    let at = 16 + random.index(48);
                    bytes[at] = meant(random, len) as u8;
                }
                2 | 3 => {
                    // A word of a section's header; longer ones are two.
                    let at = self.headers + 64 * random.index(self.sections) + 4 * random.index(16);
                    let number = meant(random, len).to_ne_bytes();
                    let wide = if random.index(2) == 0 { 4 } else { 8 };
                    bytes[at..at + wide.min(len - at)]
                        .copy_from_slice(&number[..wide.min(len - at)]);
                }
                4..=6 => {
                    let (start, part) = self.parts[random.index(self.parts.len())];
                    let at = start + (random.index(part) & !3);
                    let number = meant(random, part).to_ne_bytes();
                    let wide = 4.min(start + part - at);
                    match random.index(3) {
                        0 => bytes[at] ^= 1 << random.index(8),
                        // The kind of a type of BTF, or the sort of a symbol.
                        1 => bytes[(at + 3).min(len - 1)] = random.index(32) as u8,
                        _ => bytes[at..at + wide].copy_from_slice(&number[..wide]),
                    }
                }
                _ => {
                    if random.index(4) == 0 {
                        bytes.truncate(random.index(len));
                        return bytes;
                    }
                    let (start, part) = self.parts[random.index(self.parts.len())];
                    let (from, to) = (start + random.index(part), start + random.index(part));
                    let count = random.index(24).min(start + part - from.max(to));
                    bytes.copy_within(from..from + count, to);
                }
            }
        }
        bytes
    }
}

/// The same objects each time: a fault of libbpf that nobody has met yet is to be found
/// by who looks for it.
const USUAL: u64 = 20_260_101;

/// Where the child works; set in the child alone.
const CHILD: &str = "BPF_ATLAS_DAMAGED_DIR";

fn seconds() -> Duration {
    Duration::from_secs(number("BPF_ATLAS_FUZZ_SECONDS").unwrap_or(2))
}

fn child(dir: &Path) {
    let mut random = seed(USUAL);
    let good = Good::new(dir);
    let given = dir.join("given.bpf.o");
    let (start, mut taken, mut refused) = (Instant::now(), 0_u32, 0_u32);
    while start.elapsed() < seconds() {
        fs::write(&given, good.damaged(&mut random)).unwrap();
        let mut builder = Builder::object(&given);
        builder.out_dir(dir.join("out"));
        if random.index(4) > 0 {
            builder.skeleton(false);
        }
        let before = Instant::now();
        match builder.build() {
            Ok(()) => taken += 1,
            Err(error) => {
                refused += 1;
                let said = error.to_string();
                assert!(said.contains("given.bpf.o: "), "{said}");
            }
        }
        assert!(before.elapsed() < Duration::from_secs(20), "it hardly ends");
    }
    fs::write(dir.join("counts"), format!("{taken} {refused}")).unwrap();
}

#[test]
fn damaged_objects_are_refused_by_name_and_never_crash() {
    const NAME: &str = "damaged_objects_are_refused_by_name_and_never_crash";
    if let Some(dir) = env::var_os(CHILD) {
        return child(Path::new(&dir));
    }
    let dir = env::temp_dir().join(format!("atlas_damaged_{:010}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let Random(seed) = seed(USUAL);
    let said = dir.join("said");
    let mut child = Command::new(env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(CHILD, &dir)
        .env("BPF_ATLAS_FUZZ_SEED", seed.to_string())
        .stdout(fs::File::create(&said).unwrap())
        .stderr(fs::File::create(dir.join("complained")).unwrap())
        .spawn()
        .unwrap();
    let end = Instant::now() + seconds() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > end => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    let given: PathBuf = dir.join("given.bpf.o");
    let complained = fs::read_to_string(dir.join("complained")).unwrap_or_default();
    match status {
        None => panic!("seed {seed}: it does not end with {}", given.display()),
        Some(status) if !status.success() => {
            panic!("seed {seed}: {status} with {}\n{complained}", given.display())
        }
        Some(_) => {}
    }
    let counts = fs::read_to_string(dir.join("counts")).unwrap();
    let mut counts = counts.split(' ').map(|count| count.parse::<u32>().unwrap());
    let (taken, refused) = (counts.next().unwrap(), counts.next().unwrap());
    println!("{taken} objects taken, {refused} refused");
    assert!(taken >= 5 && refused >= 20, "{taken} taken, {refused} refused: it tests nothing");
    fs::remove_dir_all(dir).unwrap();
}
