//! Whole programs that count system calls: how long from their start to the first count that
//! they print, and how much memory they take.
//!
//! The example pid_syscalls, the same in C over libbpf (`programs/pid_syscalls.c`, compiled
//! here), and bpftrace and libbpf-tools' syscount where they are installed; for what is not,
//! it says why. `--out FOLDER` writes the table there.

// A terminal and `wait4` take libc.
#![allow(unsafe_code)]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, mem, ptr};

use support::{Args, Error, load, machine, median, turns};

/// A program, and how long it was told to count before it prints.
struct Program {
    name: &'static str,
    path: PathBuf,
    args: Vec<String>,
    counts_for: Duration,
    /// How a line with a count begins.
    begins: fn(&str) -> bool,
    /// Programs that print by blocks do so by lines on a terminal.
    on_terminal: bool,
}

struct Run {
    /// By the clock, from its start to its first count, without what it was told to wait.
    ms: f64,
    /// Of the CPUs, until then.
    cpu_ms: f64,
    peak_mb: f64,
}

const SHORT: Duration = Duration::from_millis(100);

fn begins_with_a_number(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| word.parse::<u32>().is_ok())
}

fn main() -> Result<(), Error> {
    let Some(args) = Args::new() else { return Ok(()) };
    let rounds = if args.is_quick() { 3 } else { 25 };
    let mut programs = Vec::new();
    for program in [ours(), c(), bpftrace(), syscount()] {
        match program {
            Ok(program) => programs.push(program),
            Err(why) => println!("{why}."),
        }
    }
    let machine = machine(rounds)?;
    let mut runs: Vec<Vec<Run>> = programs.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for turn in turns(programs.len(), round) {
            let run = run(&programs[turn])?;
            // The first round warms up.
            if round > 0 {
                runs[turn].push(run);
            }
        }
    }
    let base = programs.iter().position(|program| program.name == C).unwrap_or(0);
    let mut text = format!("{machine}; {} after.\n\n", load()?);
    text += "| program | start to first count, ms | least | ratio | of the CPU, ms | least | ratio \
             | peak MB | size, MB |\n|---|---|---|---|---|---|---|---|---|\n";
    for (program, of) in programs.iter().zip(&runs) {
        text += &format!("| {} |", program.name);
        for time in [|run: &Run| run.ms, |run: &Run| run.cpu_ms] {
            text += &format!(
                " {:.1} | {:.1} | {:.2} |",
                median(of.iter().map(time)),
                of.iter().map(time).fold(f64::INFINITY, f64::min),
                median(of.iter().zip(&runs[base]).map(|(run, base)| time(run) / time(base))),
            );
        }
        text += &format!(
            " {:.1} | {:.1} |\n",
            median(of.iter().map(|run| run.peak_mb)),
            fs::metadata(&program.path)?.len() as f64 / 1e6,
        );
    }
    println!("{text}");
    if let Some(folder) = args.value("--out") {
        fs::create_dir_all(folder)?;
        let head = "# Whole programs that count system calls by process\n\nMade by `make bench`; \
                    how to read it is in [README.md](README.md).\n";
        fs::write(Path::new(folder).join("programs.md"), format!("{head}{text}"))?;
    }
    Ok(())
}

/// The folder that cargo builds in: this is `deps/programs-...` inside of it.
fn built() -> Result<PathBuf, Error> {
    let exe = env::current_exe()?;
    Ok(exe.ancestors().nth(2).ok_or("no folder")?.to_path_buf())
}

fn ours() -> Result<Program, Error> {
    let path = built()?.join("examples/pid_syscalls");
    if !path.exists() {
        return Err("The example is not built: cargo build --release --example pid_syscalls".into());
    }
    let args = ["--once", "--interval", "100ms"].map(String::from).into();
    let begins = begins_with_a_number;
    let name = "bpf-atlas, examples/pid_syscalls";
    Ok(Program { name, path, args, counts_for: SHORT, begins, on_terminal: false })
}

const C: &str = "C over libbpf, the same programs";

fn c() -> Result<Program, Error> {
    let missing = |what: &str| format!("The program in C is left out: {what}");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The libbpf that libbpf-sys has built, so that both have the same. That of the build
    // scripts is not optimised, and larger.
    let builds = fs::read_dir(built()?.join("build"))?.flatten();
    let libbpf = builds.map(|build| build.path().join("out"));
    let libbpf = libbpf.filter_map(|out| Some((out.join("libbpf.a").metadata().ok()?.len(), out)));
    let (_, libbpf) = libbpf.min().ok_or_else(|| missing("libbpf.a was not found"))?;
    let object = support::compile_source(&source.join("src/bpf/pid_syscalls.bpf.c"), "counts")?;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pid_syscalls_c");
    let status = Command::new(env::var_os("CLANG").unwrap_or("clang".into()))
        .args(["-O2", "-Wall", "-I"])
        .arg(libbpf.join("include"))
        .arg(format!("-DOBJECT=\"{}\"", object.display()))
        .arg(source.join("benches/programs/pid_syscalls.c"))
        .arg(libbpf.join("libbpf.a"))
        .args(["-lelf", "-lz", "-o"])
        .arg(&path)
        .status()?;
    if !status.success() {
        return Err(missing("clang did not compile it").into());
    }
    let args = vec![SHORT.as_millis().to_string()];
    let begins = begins_with_a_number;
    Ok(Program { name: C, path, args, counts_for: SHORT, begins, on_terminal: false })
}

/// Where a command is.
fn installed(name: &'static str, package: &str) -> Result<PathBuf, Error> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&folders).chain([PathBuf::from("/usr/sbin")]);
    let found = places.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    found.ok_or_else(|| format!("{name} is not installed (Debian: {package}), so left out").into())
}

fn bpftrace() -> Result<Program, Error> {
    let program = "tracepoint:raw_syscalls:sys_enter { @[pid] = count(); } \
                   interval:ms:100 { print(@); clear(@); exit(); }";
    Ok(Program {
        name: "bpftrace, one line",
        path: installed("bpftrace", "bpftrace")?,
        args: vec!["-e".into(), program.into()],
        counts_for: SHORT,
        begins: |line| line.starts_with("@["),
        on_terminal: true,
    })
}

fn syscount() -> Result<Program, Error> {
    Ok(Program {
        name: "libbpf-tools, syscount -P",
        path: installed("syscount", "libbpf-tools")?,
        args: ["-P", "-d", "1"].map(String::from).into(),
        counts_for: Duration::from_secs(1),
        begins: begins_with_a_number,
        on_terminal: true,
    })
}

/// Both ends of a terminal.
fn terminal() -> Result<(OwnedFd, OwnedFd), Error> {
    let (mut ours, mut theirs) = (0, 0);
    // SAFETY: both are places for a descriptor; null asks for no name and default settings.
    let ret = unsafe {
        libc::openpty(&mut ours, &mut theirs, ptr::null_mut(), ptr::null_mut(), ptr::null_mut())
    };
    if ret != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the call has just opened both for this process.
    Ok(unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) })
}

/// What a process that runs has taken of the CPUs, in ms.
fn cpu_time(pid: u32) -> Option<f64> {
    let mut clock = 0;
    // SAFETY: takes a number and a place for one.
    if unsafe { libc::clock_getcpuclockid(pid as i32, &mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a place for an answer.
    let ret = unsafe { libc::clock_gettime(clock, &mut time) };
    (ret == 0).then(|| time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6)
}

fn run(program: &Program) -> Result<Run, Error> {
    let mut command = Command::new(&program.path);
    command.args(&program.args).stdin(Stdio::null()).stderr(Stdio::null());
    let from: OwnedFd = if program.on_terminal {
        let (ours, theirs) = terminal()?;
        command.stdout(theirs);
        ours
    } else {
        // Only the end for the program is inherited, as its output.
        let (ours, theirs) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        command.stdout(theirs);
        ours
    };
    let start = Instant::now();
    let child = command.spawn()?;
    // Without it there would be a writer left, and no end.
    drop(command);
    let mut first = None;
    for line in BufReader::new(File::from(from)).lines() {
        // A terminal whose other end is closed ends in an error.
        let Ok(line) = line else { break };
        if first.is_none() && (program.begins)(line.trim_start()) {
            first = Some((start.elapsed(), cpu_time(child.id())));
        }
    }
    // SAFETY: all of it are numbers, for which zero is good.
    let (mut status, mut usage) = (0, unsafe { mem::zeroed::<libc::rusage>() });
    // SAFETY: it is a child of ours that nobody else waits for; both are places for an answer.
    if unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) } < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let (first, cpu) = first.ok_or_else(|| format!("{} has printed no count", program.name))?;
    let all = [usage.ru_utime, usage.ru_stime];
    let all = all.map(|time| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3);
    Ok(Run {
        // One that is over by then has taken no more than this.
        cpu_ms: cpu.unwrap_or(all[0] + all[1]),
        ms: first.saturating_sub(program.counts_for).as_secs_f64() * 1e3,
        peak_mb: usage.ru_maxrss as f64 * 1024.0 / 1e6,
    })
}
