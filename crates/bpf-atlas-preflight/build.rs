//! Looks for what the build needs before the crates that need it fail.
//!
//! The rule is to be no stricter than libbpf-sys and libbpf-cargo themselves:
//! what is refused here could not have been built.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something that was not found, and the packages that bring it.
struct Missing {
    what: String,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
}

impl Missing {
    fn new(
        what: impl Into<String>,
        debian: &'static str,
        fedora: &'static str,
        arch: &'static str,
    ) -> Self {
        Self { what: what.into(), debian, fedora, arch }
    }
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-env-changed=BPF_ATLAS_SKIP_PREFLIGHT");
    if env::var_os("DOCS_RS").is_some() || env::var_os("BPF_ATLAS_SKIP_PREFLIGHT").is_some() {
        return;
    }
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os != "linux" && os != "android" {
        if is_for_the_host() && may_be_a_cross_build() {
            return;
        }
        println!(
            "cargo::error=bpf-atlas builds for Linux alone, since eBPF is part of the Linux \
             kernel, and this build is for {os}"
        );
        return;
    }
    if !cfg!(target_os = "linux") {
        return; // a cross build from another system: its tools are not ours to judge
    }

    let mut missing = Vec::new();
    if env::var_os("CARGO_FEATURE_CLANG").is_some() {
        missing.extend(check_clang());
    }
    if env::var_os("CARGO_FEATURE_LIBBPF").is_some() {
        missing.extend(check_libbpf_build());
    }
    if !missing.is_empty() {
        println!("cargo::error={}", sentence(&missing));
    }
}

/// libbpf-cargo runs this clang for the BPF programs.
fn check_clang() -> Option<Missing> {
    let asked = env::var("CLANG").ok().filter(|path| !path.is_empty());
    let name = match &asked {
        Some(path) => format!("clang (CLANG is {path})"),
        None => "clang".to_owned(),
    };
    let missing = |what| Some(Missing::new(what, "clang", "clang", "clang"));

    let output = Command::new(asked.as_deref().unwrap_or("clang"))
        .args(["-target", "bpf", "-c", "-x", "c", "/dev/null", "-o"])
        .arg(scratch("empty.bpf.o"))
        .output();
    match output {
        Err(_) => missing(name),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("it does not say why").trim();
            missing(format!("a {name} that compiles for BPF ({said})"))
        }
    }
}

/// libbpf-sys compiles its copy of libbpf with make, pkg-config and a C compiler, against the
/// headers of libelf and zlib.
fn check_libbpf_build() -> Vec<Missing> {
    let mut missing = Vec::new();
    if !runs("make") {
        missing.push(Missing::new("make", "make", "make", "make"));
    }
    let pkg_config = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    if !runs(&pkg_config) {
        let name = match pkg_config.as_str() {
            "pkg-config" => pkg_config.clone(),
            other => format!("pkg-config (PKG_CONFIG is {other})"),
        };
        missing.push(Missing::new(name, "pkg-config", "pkgconf-pkg-config", "pkgconf"));
    }

    if libbpf_is_for_this_machine() {
        match Compiler::of_this_build(&pkg_config) {
            None => missing.push(Missing::new("a C compiler", "gcc", "gcc", "gcc")),
            Some(cc) => {
                missing.extend(check_headers(&cc));
                // Where the system has a libbpf, libbpf-sys may have been told to build none.
                if !missing.is_empty() && cc.links("bpf") {
                    missing.clear();
                }
            }
        }
    }
    missing
}

/// Whether libbpf will be compiled for the machine that builds, for certain: the compiler and the
/// headers of a cross build are the business of whoever set it up.
fn libbpf_is_for_this_machine() -> bool {
    // libbpf-cargo runs here whatever the target.
    let for_libbpf_cargo = env::var_os("CARGO_FEATURE_CLANG").is_some();
    is_for_the_host() && (for_libbpf_cargo || !may_be_a_cross_build())
}

fn is_for_the_host() -> bool {
    env::var_os("TARGET") == env::var_os("HOST")
}

/// As a build dependency this script is told of its host alone. But cargo has made a folder for the
/// artifacts of another target, and marks those as it marks the one they are all in.
fn may_be_a_cross_build() -> bool {
    let host = env::var_os("HOST").unwrap_or_default();
    let is_marked = |dir: &Path| dir.join("CACHEDIR.TAG").exists();
    let out_dir = scratch("");
    let Some(target_dir) = out_dir.ancestors().find(|dir| is_marked(dir)) else { return true };
    let Ok(entries) = target_dir.read_dir() else { return true };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        name != host && name.to_string_lossy().contains("-linux") && is_marked(&entry.path())
    })
}

fn check_headers(cc: &Compiler) -> Vec<Missing> {
    if !cc.preprocesses("") {
        return Vec::new(); // it fails for a reason of its own, which it will tell
    }
    let mut missing = Vec::new();
    if !cc.preprocesses("#include <libelf.h>\n#include <gelf.h>\n") {
        // libbpf-sys can build libelf itself (its feature `vendored`), given these.
        let can_build_libelf =
            ["autoreconf", "autopoint", "flex", "bison", "gawk"].iter().all(runs);
        if can_build_libelf {
            println!(
                "cargo::warning=the headers of libelf (libelf-dev, elfutils-libelf-devel or \
                 libelf) were not found; only libbpf-sys with its feature `vendored` builds \
                 without them"
            );
        } else {
            missing.push(Missing::new(
                "the headers of libelf",
                "libelf-dev",
                "elfutils-libelf-devel",
                "libelf",
            ));
        }
    }
    // libelf brings zlib along, and libbpf-sys can build it without further tools: a missing zlib
    // is worth a word only beside something that is missing for certain.
    if !missing.is_empty() && !cc.preprocesses("#include <zlib.h>\n") {
        missing.push(Missing::new("the headers of zlib", "zlib1g-dev", "zlib-devel", "zlib"));
    }
    missing
}

/// The compiler that the crate `cc` picks for libbpf-sys, with the flags that its build adds.
struct Compiler {
    program: Vec<OsString>,
    flags: Vec<OsString>,
}

impl Compiler {
    /// `None` if there is none.
    fn of_this_build(pkg_config: &str) -> Option<Self> {
        let program = variables("CC").into_iter().next();
        let program = program.unwrap_or_else(|| vec!["cc".into()]);
        if !runs(&program[0]) {
            return None;
        }
        let mut flags = Vec::new();
        flags.extend(variables("CFLAGS").into_iter().flatten());
        for name in ["LIBBPF_SYS_EXTRA_CFLAGS", "EXTRA_CFLAGS", "CPPFLAGS"] {
            flags.extend(words(name));
        }
        let asked = Command::new(pkg_config)
            .args(["--cflags", "libelf", "zlib"])
            .stderr(Stdio::null())
            .output();
        if let Ok(output) = asked {
            let said = String::from_utf8_lossy(&output.stdout);
            flags.extend(said.split_whitespace().map(OsString::from));
        }
        Some(Self { program, flags })
    }

    fn preprocesses(&self, source: &str) -> bool {
        self.accepts(&["-E", "-x", "c", "-"], source)
    }

    fn links(&self, library: &str) -> bool {
        let (output, library) = (scratch("links.so"), format!("-l{library}"));
        let output = output.to_string_lossy();
        self.accepts(&["-x", "c", "-", "-shared", "-o", &output, &library], "")
    }

    fn accepts(&self, args: &[&str], source: &str) -> bool {
        let child = Command::new(&self.program[0])
            .args(&self.program[1..])
            .args(&self.flags)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return false };
        if let Some(mut stdin) = child.stdin.take() {
            // A compiler that stops reading says why by its exit code.
            let _ = stdin.write_all(source.as_bytes());
        }
        child.wait().is_ok_and(|status| status.success())
    }
}

/// The words of each variable that the crate `cc` reads for `name`, most specific first.
fn variables(name: &str) -> Vec<Vec<OsString>> {
    let target = env::var("TARGET").unwrap_or_default();
    [
        format!("{name}_{target}"),
        format!("{name}_{}", target.replace(['-', '.'], "_")),
        format!("HOST_{name}"),
        name.to_owned(),
    ]
    .iter()
    .map(|name| words(name))
    .filter(|words| !words.is_empty())
    .collect()
}

fn words(variable: &str) -> Vec<OsString> {
    let value = env::var(variable).unwrap_or_default();
    value.split_whitespace().map(OsString::from).collect()
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(name)
}

/// Whether the program can be started at all, which is what libbpf-sys asks too.
fn runs(program: impl AsRef<OsStr>) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

fn sentence(missing: &[Missing]) -> String {
    let what: Vec<&str> = missing.iter().map(|m| m.what.as_str()).collect();
    let packages = |of: fn(&Missing) -> &'static str| {
        let names: Vec<&str> = missing.iter().map(of).collect();
        names.join(" ")
    };
    let mut text = format!(
        "this machine lacks {}, which bpf-atlas needs to build; `apt install {}` (Debian, \
         Ubuntu), `dnf install {}` (Fedora) or `pacman -S {}` (Arch) will do",
        listed(&what),
        packages(|m| m.debian),
        packages(|m| m.fedora),
        packages(|m| m.arch),
    );
    if missing.iter().any(|m| m.debian == "clang") {
        text.push_str(
            ", or leave out the ready probes, which alone need clang (`default-features = false`)",
        );
    }
    text
}

/// `a`, `a and b`, `a, b and c`.
fn listed(items: &[&str]) -> String {
    match items {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}
