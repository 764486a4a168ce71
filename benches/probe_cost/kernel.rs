//! The kernel half: sources compiled, programs loaded.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use bpf_atlas::agent;
use libbpf_rs::Object;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::support::{Error, compile_source};

/// Compiles a source of this repository; where the object is.
pub fn compile(source: &Path) -> Result<PathBuf, Error> {
    let name = source.file_name().and_then(OsStr::to_str).ok_or("a file")?;
    compile_source(source, name.trim_end_matches(".bpf.c"))
}

/// Loads an object with one of its programs.
pub fn load(file: &Path, program: &str) -> Result<Object, Error> {
    let mut object = agent::open_file(file)?;
    for mut other in object.progs_mut() {
        let wanted = other.name() == program;
        other.set_autoload(wanted);
    }
    Ok(agent::load(object)?)
}

/// Moves this thread to a CPU, for good.
pub fn pin_to(cpu: usize) -> Result<(), Error> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &only)?)
}
