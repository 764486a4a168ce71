//! `wild [--include DIR]… [--arg ARG]… [--link FILE]… [--name WHAT] --work DIR FILE…`
//!
//! Runs bpf-atlas-build over each source, in a process of its own, and compiles
//! each module that it writes in a crate that forbids `unsafe` code. Prints a
//! table and its totals. Ends with 1 where the generator crashed or a module does
//! not compile; what it refuses is no failure, and is told with its reason.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bpf_atlas_build::{Builder, Error};

/// What begins the answer of a child, among what is meant for cargo.
const ANSWER: &str = "wild: ";
/// A generator that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Default)]
struct Options {
    includes: Vec<PathBuf>,
    args: Vec<OsString>,
    /// Linked into each file.
    links: Vec<PathBuf>,
    name: String,
    work: PathBuf,
    files: Vec<PathBuf>,
    /// Everything but the files, for the child.
    passed: Vec<OsString>,
    /// Whether this is the child that handles one file.
    one: bool,
}

fn options() -> Options {
    let mut all = Options::default();
    let mut args = env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let passed = &mut all.passed;
        let mut value = || {
            let value = args.next().expect("an option without its value");
            passed.extend([arg.clone(), value.clone()]);
            value
        };
        match arg.to_str() {
            Some("--include") => all.includes.push(value().into()),
            Some("--arg") => all.args.push(value()),
            Some("--link") => all.links.push(value().into()),
            Some("--name") => all.name = value().to_string_lossy().into_owned(),
            Some("--work") => all.work = value().into(),
            Some("--one") => all.one = true,
            _ => all.files.push(arg.into()),
        }
    }
    all
}

fn main() -> ExitCode {
    let options = options();
    if options.one {
        println!("{ANSWER}{}", generate(&options).replace('\n', "\u{2028}"));
        return ExitCode::SUCCESS;
    }
    let results = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(file) = options.files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = one(&options, file);
                    results.lock().unwrap().insert(short(file), result);
                }
            });
        }
    });
    report(&options, &results.into_inner().unwrap())
}

fn report(options: &Options, results: &BTreeMap<String, String>) -> ExitCode {
    let mut totals = BTreeMap::new();
    for (file, result) in results {
        println!("{file:<56} {result}");
        let sort = result.split(['(', ':']).next().unwrap_or_default().trim();
        *totals.entry(sort.to_owned()).or_insert(0) += 1;
    }
    println!("\n{}: {} programs", options.name, results.len());
    for (sort, count) in &totals {
        println!("{count:>6} {sort}");
    }
    let faults = totals.keys().any(|sort| sort == CRASHED || sort == UNCOMPILED);
    ExitCode::from(u8::from(faults))
}

const CRASHED: &str = "FAULT, the generator crashed";
const UNCOMPILED: &str = "FAULT, the module does not compile";

/// The last four parts of a path, which tell the programs of a crate apart.
fn short(file: &Path) -> String {
    let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
    parts[parts.len().saturating_sub(4)..].join("/")
}

/// Where the module of a file goes.
fn folder(options: &Options, file: &Path) -> PathBuf {
    let name: String =
        short(file).chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    options.work.join(name)
}

/// In the child.
fn generate(options: &Options) -> String {
    let file = &options.files[0];
    let mut builder = Builder::new(file);
    builder.out_dir(folder(options, file)).skeleton(false);
    for dir in &options.includes {
        builder.include(dir);
    }
    for file in &options.links {
        builder.link(file);
    }
    for arg in &options.args {
        builder.clang_arg(arg);
    }
    match builder.build() {
        Ok(()) => "ok".into(),
        Err(Error::Pointer { .. }) => match builder.allow_pointers("*").build() {
            Ok(()) => "ok, with allow_pointers".into(),
            Err(error) => refusal(&error),
        },
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &Error) -> String {
    match error {
        Error::Compile { message, .. } => {
            let first = message.lines().find(|line| line.contains("error:")).unwrap_or(message);
            format!("clang refuses it: {first}")
        }
        error => format!("refused: {error}"),
    }
}

fn one(options: &Options, file: &Path) -> String {
    let out = folder(options, file);
    fs::remove_dir_all(&out).ok();
    fs::create_dir_all(&out).expect("make a folder to work in");
    let said = fs::File::create(out.join("said")).expect("write there");
    let child = Command::new(env::current_exe().expect("a mounted /proc"))
        .arg("--one")
        .args(&options.passed)
        .arg(file)
        .stdout(said)
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("run this program again");
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("wait for a child") {
            Some(status) => break status,
            None if start.elapsed() > PATIENCE => {
                child.kill().ok();
                child.wait().ok();
                return format!("{CRASHED}: it does not end");
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    let said = fs::read(out.join("said")).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let Some(answer) = said.lines().find_map(|line| line.strip_prefix(ANSWER)) else {
        return format!("{CRASHED}: {status}");
    };
    if !answer.starts_with("ok") {
        return answer.replace('\u{2028}', " / ").chars().take(300).collect();
    }
    match compile(&out) {
        Ok(()) => answer.into(),
        Err(error) => format!("{UNCOMPILED}: {error}"),
    }
}

/// Compiles the module that was written to `out`, as a crate of its own.
fn compile(out: &Path) -> Result<(), String> {
    let entries = fs::read_dir(out).expect("made before").flatten();
    let mut modules = entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "rs"));
    let module = modules.next().ok_or("there is none")?.path();
    let root = out.join("root");
    let text = format!("#![forbid(unsafe_code)]\n#[path = {module:?}]\npub mod module;\n");
    fs::write(&root, text).expect("write there");
    let deps = env::current_exe().expect("a mounted /proc").with_file_name("deps");
    let mut search = OsString::from("dependency=");
    search.push(&deps);
    let mut library = OsString::from("bpf_atlas=");
    library.push(newest(&deps, "libbpf_atlas-"));
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--crate-name=wild", "--emit=metadata"])
        .args(["--cap-lints=warn", "--error-format=short", "-L"])
        .args([&search, &"--extern".into(), &library, &"--out-dir".into()])
        .args([out, &root])
        .output();
    let output = output.expect("run rustc");
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| line.contains("error")).unwrap_or("no reason given");
    Err(first.chars().take(300).collect())
}

/// The library that this program was built with.
fn newest(deps: &Path, name: &str) -> PathBuf {
    let entries = fs::read_dir(deps).expect("cargo keeps libraries beside its programs").flatten();
    let libraries = entries.filter(|entry| {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        file.starts_with(name) && file.ends_with(".rlib")
    });
    let time = |entry: &fs::DirEntry| entry.metadata().and_then(|of| of.modified()).ok();
    libraries.max_by_key(time).expect("bpf-atlas was built").path()
}
