//! From the first step to the first count, against a program in C over libbpf.

use std::ffi::CStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs, io, ptr};

use bpf_atlas::probes::PidSyscalls;
use libbpf_sys as c;
use nix::unistd::getppid;

use super::{Error, kernel, median, turns};

/// The word by which this binary knows that it is to start something.
pub const ROLE: &str = "--start";

/// Who starts; each in a process of its own.
const WAYS: [(&str, &str); 3] = [
    ("simple", "libbpf, C: one program, one hash"),
    ("same", "libbpf, C: the object of `PidSyscalls`"),
    ("ours", "`PidSyscalls`"),
];

/// Nanoseconds that this thread has been on a CPU.
fn on_cpu() -> Result<u64, Error> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().ok_or("an empty file")?.parse()?)
}

/// Starts as it was told, and prints the nanoseconds that took: by the clock, and
/// of the CPU.
pub fn obey() -> Result<(), Error> {
    let args: Vec<_> = env::args().skip(2).collect();
    let [way, simple, same] = &args[..] else { return Err("three words".into()) };
    let (start, before) = (Instant::now(), on_cpu()?);
    let counted = match way.as_str() {
        "simple" => in_c(simple, &[c"hash_tp_btf"], c"shared")?,
        "same" => in_c(same, &[c"fork_raw", c"rename_raw", c"enter_btf"], c"counts")?,
        _ => {
            let probe = PidSyscalls::builder().attach()?;
            getppid();
            probe.count_of(std::process::id())?.is_some()
        }
    };
    let (ns, cpu) = (start.elapsed().as_nanos(), on_cpu()? - before);
    if !counted {
        return Err("nothing was counted".into());
    }
    println!("{ns} {cpu}");
    Ok(())
}

/// As C would: open, load and attach, make a call, look up its count.
fn in_c(file: &str, programs: &[&CStr], map: &CStr) -> Result<bool, Error> {
    let file = std::ffi::CString::new(file)?;
    let failed = |what: &str| Error::from(format!("{what}: {}", io::Error::last_os_error()));
    // SAFETY: a string of C's, and no options.
    let object = unsafe { c::bpf_object__open_file(file.as_ptr(), ptr::null()) };
    if object.is_null() {
        return Err(failed("open"));
    }
    let mut program = ptr::null_mut();
    loop {
        // SAFETY: the object is open, and so is the program, one of its own.
        program = unsafe { c::bpf_object__next_program(object, program) };
        if program.is_null() {
            break;
        }
        // SAFETY: a program has a name for as long as its object is open.
        let wanted = programs.contains(&unsafe { CStr::from_ptr(c::bpf_program__name(program)) });
        // SAFETY: the object is not loaded yet.
        unsafe { c::bpf_program__set_autoload(program, wanted) };
    }
    // SAFETY: the object is open.
    if unsafe { c::bpf_object__load(object) } != 0 {
        return Err(failed("load"));
    }
    for name in programs {
        // SAFETY: the object is loaded; the link stays, as the object does, until
        // the process ends.
        let link = unsafe {
            let program = c::bpf_object__find_program_by_name(object, name.as_ptr());
            if program.is_null() { ptr::null_mut() } else { c::bpf_program__attach(program) }
        };
        if link.is_null() {
            return Err(failed("attach"));
        }
    }
    getppid();
    let pid = std::process::id();
    // A value of 16 bytes for each CPU there may be.
    let mut values = vec![0_u64; 2 * 8192];
    // SAFETY: a key of 4 bytes, and room for more CPUs than Linux can have.
    let looked = unsafe {
        let fd = c::bpf_object__find_map_fd_by_name(object, map.as_ptr());
        c::bpf_map_lookup_elem(fd, ptr::from_ref(&pid).cast(), values.as_mut_ptr().cast())
    };
    Ok(looked == 0 && values.iter().any(|&value| value > 0))
}

/// Milliseconds of one start, in a process of its own: by the clock, and of the CPU.
fn once(way: &str, simple: &Path, same: &Path) -> Result<[f64; 2], Error> {
    let mut command = Command::new("nice");
    command.args(["-n", "-20"]).arg(env::current_exe()?).args([ROLE, way]).arg(simple).arg(same);
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let said = String::from_utf8(output.stdout)?;
    let (clock, cpu) = said.trim().split_once(' ').ok_or("two numbers")?;
    Ok([clock.parse::<f64>()? / 1e6, cpu.parse::<f64>()? / 1e6])
}

/// Prints the table.
pub fn measure(rounds: usize) -> Result<(), Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let simple = kernel::compile(&root.join("benches/bpf/probe_cost_start.bpf.c"))?;
    let same = kernel::compile(&root.join("src/bpf/pid_syscalls.bpf.c"))?;
    // By the clock, of the CPU.
    let mut times = WAYS.map(|_| [Vec::new(), Vec::new()]);
    for round in 0..=rounds {
        for turn in turns(WAYS.len(), round) {
            let took = once(WAYS[turn].0, &simple, &same)?;
            if round > 0 {
                times[turn].iter_mut().zip(took).for_each(|(times, took)| times.push(took));
            }
        }
    }
    println!("\n| from open to the first count | ms | least | of the CPU | least | ratio |");
    println!("|---|---|---|---|---|---|");
    for ((_, name), of) in WAYS.iter().zip(&times) {
        print!("| {name} |");
        for times in of {
            let least = times.iter().copied().fold(f64::INFINITY, f64::min);
            print!(" {:.1} | {least:.1} |", median(times.iter().copied()));
        }
        let pairs = of[1].iter().zip(&times[1][1]);
        println!(" {:.2} |", median(pairs.map(|(time, same)| time / same)));
    }
    Ok(())
}
