//! Compiles the kernel half: each `src/bpf/<probe>.bpf.c` becomes
//! `$OUT_DIR/<probe>.skel.rs`. Does nothing without the feature `probes`.

fn main() {
    // Some path must be named, or every change in the package reruns this script.
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "probes")]
    if let Err(message) = probes::compile() {
        for line in message.lines().filter(|line| !line.is_empty()) {
            println!("cargo::error={line}");
        }
    }
}

#[cfg(feature = "probes")]
mod probes {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::{env, fs, io};

    use libbpf_cargo::SkeletonBuilder;

    pub fn compile() -> Result<(), String> {
        let root = dir("CARGO_MANIFEST_DIR")?;
        let out = dir("OUT_DIR")?;
        let include = root.join("include");
        let sources = root.join("src/bpf");
        println!("cargo::rerun-if-changed={}", include.display());
        println!("cargo::rerun-if-changed={}", sources.display());
        println!("cargo::rerun-if-env-changed=CLANG");

        let clang = env::var_os("CLANG").filter(|name| !name.is_empty());
        let clang = PathBuf::from(clang.unwrap_or_else(|| "clang".into()));
        runs(&clang)?;

        let unreadable = |error| format!("cannot read {}: {error}", sources.display());
        for entry in fs::read_dir(&sources).map_err(unreadable)? {
            let source = entry.map_err(unreadable)?.path();
            let name = source.file_name().and_then(|name| name.to_str());
            if let Some(probe) = name.and_then(|name| name.strip_suffix(".bpf.c")) {
                skeleton(&clang, &include, &source, &out.join(format!("{probe}.skel.rs")))?;
            }
        }
        Ok(())
    }

    fn runs(clang: &Path) -> Result<(), String> {
        let tried = Command::new(clang).arg("--version").stdout(Stdio::null()).status();
        tried.map(drop).map_err(|error| {
            format!(
                "the feature `probes` compiles eBPF programs with clang, and `{}` does not run \
                 ({error}): install clang, name it in CLANG, or build with default-features = false",
                clang.display()
            )
        })
    }

    /// Writes `skeleton` and nothing else: the source may be read-only.
    fn skeleton(
        clang: &Path,
        include: &Path,
        source: &Path,
        skeleton: &Path,
    ) -> Result<(), String> {
        SkeletonBuilder::new()
            .clang(clang)
            .source(source)
            .clang_args([
                "-I".as_ref(),
                include.as_os_str(),
                "-Wall".as_ref(),
                "-Werror".as_ref(),
                // libbpf's headers are not ours to correct.
                "--system-header-prefix=bpf/".as_ref(),
            ])
            // A path that does not exist: a missing rustfmt is passed over, one that
            // fails would fail the build, and nobody reads this code.
            .rustfmt(skeleton.with_extension("unformatted"))
            .build_and_generate(skeleton)
            .map_err(|error| {
                // Where clang refused, the innermost error is what it said.
                let cause = error.root_cause();
                let reason =
                    if cause.is::<io::Error>() { format!("{error:#}") } else { cause.to_string() };
                format!("cannot build {}:\n{reason}", source.display())
            })
    }

    fn dir(variable: &str) -> Result<PathBuf, String> {
        env::var_os(variable)
            .map(PathBuf::from)
            .ok_or_else(|| format!("{variable} is not set: this script is for cargo to run"))
    }
}
