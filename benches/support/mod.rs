//! What the benchmarks share.
#![allow(dead_code, reason = "no benchmark uses everything")]

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the command line asks for.
pub struct Args(Vec<String>);

impl Args {
    /// `None` where this is no run of the benchmark: `cargo test --benches` passes nothing,
    /// `cargo bench` passes `--bench`.
    pub fn new() -> Option<Self> {
        let args = Self(env::args().skip(1).collect());
        (args.has("--bench") || args.is_quick()).then_some(args)
    }

    pub fn has(&self, wanted: &str) -> bool {
        self.0.iter().any(|arg| arg == wanted)
    }

    pub fn is_quick(&self) -> bool {
        self.has("--quick")
    }

    /// What follows `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|arg| arg == name)?;
        self.0.get(at + 1).map(String::as_str)
    }
}

/// The kernel's release.
pub fn kernel() -> Result<String, Error> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().into())
}

/// Kernel, CPUs, and how busy they are.
pub fn machine(rounds: usize) -> Result<String, Error> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    Ok(format!(
        "Linux {}, {} CPUs ({}), {rounds} rounds, interleaved; load {}",
        kernel()?,
        available_parallelism()?,
        model.unwrap_or(env::consts::ARCH),
        load()?
    ))
}

/// How many others want the CPUs: of the last 1, 5 and 15 minutes.
pub fn load() -> Result<String, Error> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').take(3).collect::<Vec<_>>().join(", "))
}

/// The middle of what was measured.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The order in which `n` take turns: each round from another one on, and every other
/// round backwards, so that none always comes behind the same.
pub fn turns(n: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..n).map(move |turn| {
        let at = (turn + round) % n;
        if round % 2 == 0 { at } else { n - 1 - at }
    })
}

/// The order in which `n` take turns in a round: by chance, so that what one leaves in the caches
/// is not always for the same to find. The same in every run.
pub fn shuffled(n: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..n).collect();
    let mut state = round as u64;
    for left in (2..=n).rev() {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut chance = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        chance = (chance ^ (chance >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        order.swap(left - 1, ((chance ^ (chance >> 31)) % left as u64) as usize);
    }
    order
}

/// Compiles `benches/bpf/<name>.bpf.c`; where the object is.
pub fn compile(name: &str) -> Result<PathBuf, Error> {
    compile_source(&root()?.join(format!("benches/bpf/{name}.bpf.c")), name)
}

/// The root of the repository, from the workspace of the peers too.
pub fn root() -> Result<&'static Path, Error> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|root| root.join("include/bpf_atlas.h").exists());
    root.ok_or_else(|| "include/bpf_atlas.h is not there".into())
}

/// Compiles a program for the kernel; where the object, called `name`, is.
pub fn compile_source(source: &Path, name: &str) -> Result<PathBuf, Error> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}_bench.bpf.o"));
    let mut compiler = SkeletonBuilder::new();
    if let Some(clang) = env::var_os("CLANG").filter(|clang| !clang.is_empty()) {
        compiler.clang(clang);
    }
    compiler.source(source).obj(&file);
    compiler.clang_args([
        "-I".as_ref(),
        root()?.join("include").as_os_str(),
        "-Wall".as_ref(),
        "-Werror".as_ref(),
        "--system-header-prefix=bpf/".as_ref(),
    ]);
    compiler.build().map_err(|error| format!("{error:#}"))?;
    Ok(file)
}
