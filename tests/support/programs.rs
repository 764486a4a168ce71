//! The kernel half of the tests: compiles `tests/bpf/*.bpf.c`, loads it through
//! [`bpf_atlas::agent`] and runs its programs when and where a test says, by
//! `BPF_PROG_RUN`, from threads that are pinned to a CPU.
//!
//! Two kinds of programs, both with an array of `u64` for arguments and answers:
//! * `SEC("syscall")`, run by [`Programs::call`]: sleepable, one run a call;
//! * `SEC("xdp")`, run by [`Programs::repeat`]: what most programs are, not
//!   sleepable, under the protection of RCU; many runs a call.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use bpf_atlas::{Accumulate, Array, MappedArray, PerCpuArray, Pod, agent};
use libbpf_cargo::SkeletonBuilder;
use libbpf_rs::{Link, Map, MapCore, Object, OpenObject, ProgramInput, ProgramMut};

use crate::support::{RaiseOnDrop, allowed_cpus, pin_to, skipped};

/// What maps refused: `struct atlas_health` of `bpf_atlas.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Accumulate)]
#[repr(C)]
pub struct Health {
    pub full: u64,
    pub no_memory: u64,
    pub busy: u64,
    pub missed: u64,
}

impl Health {
    /// How many calls were refused.
    pub fn refused(&self) -> u64 {
        self.full + self.no_memory + self.busy + self.missed
    }
}

/// A loaded object.
pub struct Programs {
    object: Object,
}

impl Programs {
    /// Loads `tests/bpf/<name>.bpf.c`.
    pub fn load(name: &str) -> Self {
        Self::load_with(name, |_| {})
    }

    /// As [`load`](Self::load), once `configure` has seen the object.
    pub fn load_with(name: &str, configure: impl FnOnce(&mut OpenObject)) -> Self {
        let mut object = agent::open_file(compile(name)).unwrap_or_else(|e| panic!("{e}"));
        configure(&mut object);
        let object = agent::load(object).unwrap_or_else(|e| panic!("{e}\n{}", e.log()));
        Self { object }
    }

    /// The map that the C source calls `name`.
    pub fn map(&self, name: &str) -> Map<'_> {
        let map = self.object.maps().find(|map| map.name() == name);
        map.unwrap_or_else(|| panic!("no map `{name}`"))
    }

    /// The words that programs and tests talk through; see `tests/bpf/test.h`.
    pub fn control(&self) -> MappedArray<u64> {
        Array::<u64>::open(self.map("control")).unwrap().mapped().unwrap()
    }

    /// What the object's maps refused, on all CPUs.
    pub fn health(&self) -> Health {
        PerCpuArray::open(self.map("health")).unwrap().sum_of(0).unwrap()
    }

    /// The program that the C source calls `name`.
    pub fn program(&self, name: &str) -> ProgramMut<'_> {
        let program = self.object.progs_mut().find(|program| program.name() == name);
        program.unwrap_or_else(|| panic!("no program `{name}`"))
    }

    /// Attaches a program as its section says.
    pub fn attach(&self, name: &str) -> Link {
        let what = format!("attaching {name}");
        agent::quietly(what, || self.program(name).attach()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs a `SEC("syscall")` program once, on this thread. `args` is its
    /// context, also on return.
    pub fn call<const N: usize>(&self, name: &str, args: &mut [u64; N]) -> u32 {
        let mut bytes = to_bytes(args);
        let input = ProgramInput { context_in: Some(&mut bytes), ..Default::default() };
        let ran = self.program(name).test_run(input).map(|output| output.return_value);
        let ran = ran.unwrap_or_else(|error| panic!("running {name}: {error}"));
        from_bytes(&bytes, args);
        ran
    }

    /// Runs a `SEC("xdp")` program `times` times, on this thread. `args` is
    /// its packet, also on return; the result is that of the last run.
    pub fn repeat<const N: usize>(&self, name: &str, args: &mut [u64; N], times: u32) -> u32 {
        const { assert!(N >= 2, "a packet has 14 bytes at least") };
        let bytes = to_bytes(args);
        let mut packet = bytes.clone();
        let input = ProgramInput {
            data_in: Some(&bytes),
            data_out: Some(&mut packet),
            repeat: times,
            ..Default::default()
        };
        let ran = self.program(name).test_run(input).map(|output| output.return_value);
        let ran = ran.unwrap_or_else(|error| panic!("running {name}: {error}"));
        from_bytes(&packet, args);
        ran
    }
}

fn to_bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn from_bytes(bytes: &[u8], words: &mut [u64]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().unwrap());
    }
}

/// Gives `map` of an object that is not loaded yet another `max_entries`.
pub fn resize(object: &mut OpenObject, map: &str, max_entries: u32) {
    let found = object.maps_mut().find(|found| found.name() == map);
    let mut found = found.unwrap_or_else(|| panic!("no map `{map}`"));
    found.set_max_entries(max_entries).unwrap();
}

/// Gives `map` of an object that is not loaded yet another size of values.
pub fn set_value_size(object: &mut OpenObject, map: &str, bytes: u32) {
    let found = object.maps_mut().find(|found| found.name() == map);
    found.unwrap_or_else(|| panic!("no map `{map}`")).set_value_size(bytes).unwrap();
}

/// The object file of `tests/bpf/<name>.bpf.c`, compiled anew when the source,
/// a header or the compiler's name changed.
pub fn compile(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (include, folder) = (root.join("include"), root.join("tests/bpf"));
    let source = folder.join(format!("{name}.bpf.c"));
    let clang = env::var_os("CLANG").filter(|clang| !clang.is_empty());
    let clang = clang.unwrap_or_else(|| "clang".into());

    let mut hasher = DefaultHasher::new();
    hasher.write(clang.as_encoded_bytes());
    let headers = [&include, &folder].map(|folder| {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|file| file.extension() == Some("h".as_ref())).collect();
        files.sort();
        files
    });
    for file in headers.iter().flatten().chain([&source]) {
        hasher.write(&fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display())));
    }
    let object = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{name}-{:016x}.bpf.o", hasher.finish()));
    // One thread of this process at a time: they would write the same file.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if object.exists() {
        return object;
    }
    // Renamed into place, since another test binary may look for it now.
    let fresh = object.with_extension(format!("{}.tmp", process::id()));
    SkeletonBuilder::new()
        .clang(clang)
        .source(&source)
        .obj(&fresh)
        .clang_args([
            "-I".as_ref(),
            include.as_os_str(),
            "-Wall".as_ref(),
            "-Werror".as_ref(),
            "--system-header-prefix=bpf/".as_ref(),
        ])
        .build()
        .unwrap_or_else(|error| panic!("{error:#}"));
    fs::rename(&fresh, &object).unwrap();
    object
}

/// Two CPUs, or `None` and a word on stdout that `test` was skipped.
pub fn two_cpus(test: &str) -> Option<[usize; 2]> {
    match allowed_cpus()[..] {
        [first, second, ..] => Some([first, second]),
        _ => {
            skipped(test, "it needs two CPUs");
            None
        }
    }
}

/// Calls `f(place, cpu)` in a thread on each of `cpus`, all starting together;
/// the results in order.
pub fn on_cpus<T: Send>(cpus: &[usize], f: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
    let (f, waiting) = (&f, &AtomicUsize::new(cpus.len()));
    thread::scope(|scope| {
        let threads = cpus.iter().enumerate().map(|(place, &cpu)| {
            scope.spawn(move || {
                pin_to(cpu);
                waiting.fetch_sub(1, Ordering::AcqRel);
                while waiting.load(Ordering::Acquire) > 0 {
                    thread::yield_now();
                }
                f(place, cpu)
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Runs `work(place)` over and over in a thread on each CPU while `main` runs.
/// What `main` gave, and the sums of what the threads gave.
///
/// `main` starts when every thread has worked once.
pub fn while_on_each_cpu<T>(
    work: impl Fn(usize) -> u64 + Sync,
    main: impl FnOnce() -> T,
) -> (T, Vec<u64>) {
    let (work, stop, started) = (&work, &AtomicBool::new(false), &AtomicUsize::new(0));
    let cpus = allowed_cpus();
    thread::scope(|scope| {
        let threads = cpus.iter().enumerate().map(|(place, &cpu)| {
            scope.spawn(move || {
                pin_to(cpu);
                let mut sum = work(place);
                started.fetch_add(1, Ordering::AcqRel);
                while !stop.load(Ordering::Acquire) {
                    sum += work(place);
                }
                sum
            })
        });
        let threads: Vec<_> = threads.collect();
        // Also when `main` panics, or the scope would wait for ever.
        let stopper = RaiseOnDrop(stop);
        let all = cpus.len();
        await_for("the threads on each CPU", || started.load(Ordering::Acquire) == all);
        let result = main();
        drop(stopper);
        (result, threads.into_iter().map(|thread| thread.join().unwrap()).collect())
    })
}

/// Waits until `done`, for 30 seconds at most.
pub fn await_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited 30 s for {what}");
        thread::yield_now();
    }
}
