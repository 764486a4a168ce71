//! The kernel half: sources compiled, programs loaded.

use std::env;
use std::path::{Path, PathBuf};

use bpf_atlas::agent;
use libbpf_cargo::SkeletonBuilder;
use libbpf_rs::Object;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::Error;

/// Compiles a source of this repository; where the object is.
pub fn compile(source: &Path) -> Result<PathBuf, Error> {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let name = source.with_extension("o");
    let name = name.file_name().ok_or("a file")?;
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut compiler = SkeletonBuilder::new();
    if let Some(clang) = env::var_os("CLANG").filter(|clang| !clang.is_empty()) {
        compiler.clang(clang);
    }
    compiler.source(source).obj(&file);
    compiler.clang_args([
        "-I".as_ref(),
        include.as_os_str(),
        "-Wall".as_ref(),
        "-Werror".as_ref(),
        "--system-header-prefix=bpf/".as_ref(),
    ]);
    compiler.build().map_err(|error| format!("{error:#}"))?;
    Ok(file)
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
