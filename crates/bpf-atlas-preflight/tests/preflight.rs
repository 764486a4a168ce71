//! The build script, run on machines made of fake tools: a folder of shell scripts is its `PATH`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::{env, fs};

/// A C compiler that knows every header but those that match LACKS, and no libbpf. With the
/// argument TRUSTS it takes anything.
const CC: &str = "#!/bin/sh
case \" $* \" in *' TRUSTS '*) exit 0;; *' -lbpf '*) exit 1;; esac
while read -r line; do case $line in LACKS) exit 1;; esac; done
";
const OK: &str = "#!/bin/sh\n";

/// A script cannot be run while it is open for writing, and a process forked meanwhile by another
/// test holds it open: so scripts are written and processes started one at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The build script itself. It goes by the environment alone, so one is enough.
fn build_script() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("preflight-build-script");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
        let _ = fs::remove_file(&built); // that of another user cannot be written over
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut rustc = Command::new(rustc);
        rustc.arg("--edition=2024").arg(source).arg("-o").arg(&built);
        assert!(rustc.status().unwrap().success());
        built
    })
}

/// A machine on which everything is there, and which is gone with the test.
struct Machine {
    /// The `PATH`, and cargo's target folder as well.
    dir: PathBuf,
    env: Vec<(&'static str, String)>,
    probes: bool,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Machine {
    fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "bpf-atlas-preflight-{}-{}",
            std::process::id(),
            MADE.fetch_add(1, Ordering::Relaxed)
        );
        let dir = env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("CACHEDIR.TAG"), "").unwrap();
        let mut machine = Self { dir, env: Vec::new(), probes: true };
        for tool in ["make", "pkg-config", "clang"] {
            machine = machine.with(tool, OK);
        }
        machine.with("cc", CC)
    }

    fn with(self, tool: &str, script: &str) -> Self {
        let _turn = turn();
        let path = self.dir.join(tool);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn without(self, tool: &str) -> Self {
        fs::remove_file(self.dir.join(tool)).unwrap();
        self
    }

    fn without_headers(self, pattern: &str) -> Self {
        self.with("cc", &CC.replace("LACKS", pattern))
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    fn without_probes(mut self) -> Self {
        self.probes = false;
        self
    }

    fn with_artifacts_of(self, target: &str) -> Self {
        fs::create_dir(self.dir.join(target)).unwrap();
        fs::write(self.dir.join(target).join("CACHEDIR.TAG"), "").unwrap();
        self
    }

    /// The lines that the build script says to cargo, without those about running it again.
    fn says(&self) -> Vec<String> {
        let _turn = turn();
        let out_dir = self.dir.join("debug/build/bpf-atlas-preflight-0123/out");
        fs::create_dir_all(&out_dir).unwrap();
        let output = Command::new(build_script())
            .env_clear()
            .env("PATH", &self.dir)
            .env("OUT_DIR", &out_dir)
            .env("HOST", "x86_64-unknown-linux-gnu")
            .env("TARGET", "x86_64-unknown-linux-gnu")
            .env("CARGO_CFG_TARGET_OS", "linux")
            .env("CARGO_FEATURE_LIBBPF", "1")
            .envs(self.probes.then_some(("CARGO_FEATURE_CLANG", "1")))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let said = said.lines().filter(|line| !line.starts_with("cargo::rerun-if"));
        said.map(str::to_owned).collect()
    }

    fn error(&self) -> String {
        let said = self.says();
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].strip_prefix("cargo::error=").expect("an error").to_owned()
    }
}

#[test]
fn a_machine_with_everything_hears_nothing() {
    assert_eq!(Machine::new().says(), [""; 0]);
}

#[test]
fn missing_clang_is_one_sentence_with_packages_and_the_way_around() {
    assert_eq!(
        Machine::new().without("clang").error(),
        "this machine lacks clang, which bpf-atlas needs to build; `apt install clang` (Debian, \
         Ubuntu), `dnf install clang` (Fedora) or `pacman -S clang` (Arch) will do, or leave out \
         the ready probes, which alone need clang (`default-features = false`)"
    );
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    let machine = Machine::new().without("clang").without("make").without("pkg-config");
    assert_eq!(
        machine.without_headers("*elf.h*|*zlib.h*").error(),
        "this machine lacks clang, make, pkg-config, the headers of libelf and the headers of \
         zlib, which bpf-atlas needs to build; `apt install clang make pkg-config libelf-dev \
         zlib1g-dev` (Debian, Ubuntu), `dnf install clang make pkgconf-pkg-config \
         elfutils-libelf-devel zlib-devel` (Fedora) or `pacman -S clang make pkgconf libelf zlib` \
         (Arch) will do, or leave out the ready probes, which alone need clang \
         (`default-features = false`)"
    );
}

#[test]
fn a_missing_c_compiler_is_named() {
    let said = Machine::new().without("cc").error();
    assert!(said.starts_with("this machine lacks a C compiler, which"), "{said}");
    let said = Machine::new().env("CC", "/nowhere/cc").error();
    assert!(said.starts_with("this machine lacks a C compiler, which"), "{said}");
}

#[test]
fn variables_that_name_another_tool_are_followed() {
    let said = Machine::new().env("CLANG", "/nowhere/clang").error();
    assert!(said.starts_with("this machine lacks clang (CLANG is /nowhere/clang), "), "{said}");
    let said = Machine::new().env("PKG_CONFIG", "/nowhere/p").error();
    assert!(said.starts_with("this machine lacks pkg-config (PKG_CONFIG is /nowhere/p)"), "{said}");

    let machine = Machine::new().without("clang").with("clang-19", OK);
    assert_eq!(machine.env("CLANG", "clang-19").says(), [""; 0]);
    let machine = Machine::new().without("cc").with("gcc-12", CC);
    assert_eq!(machine.env("CC_x86_64_unknown_linux_gnu", "gcc-12").says(), [""; 0]);
}

#[test]
fn a_clang_without_the_bpf_target_is_told_apart_from_none() {
    let script = "#!/bin/sh\necho 'error: unknown target triple bpf' >&2\nexit 1\n";
    let said = Machine::new().with("clang", script).error();
    let expected = "lacks a clang that compiles for BPF (error: unknown target triple bpf), which";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn headers_count_where_pkg_config_or_a_variable_says_they_are() {
    let cc = CC.replace("LACKS", "*elf.h*").replace("TRUSTS", "-I/opt/elf");
    let machine = || Machine::new().with("cc", &cc);
    assert!(machine().error().contains("lacks the headers of libelf, which"));
    let by_pkg_config = machine().with("pkg-config", "#!/bin/sh\necho -I/opt/elf\n");
    assert_eq!(by_pkg_config.says(), [""; 0]);
    assert_eq!(machine().env("CFLAGS", "-O1 -I/opt/elf").says(), [""; 0]);
}

#[test]
fn never_stricter_than_libbpf_sys() {
    // libbpf-sys builds libelf itself with feature `vendored`, given these tools.
    let mut machine = Machine::new().without_headers("*elf.h*");
    for tool in ["autoreconf", "autopoint", "flex", "bison", "gawk"] {
        machine = machine.with(tool, OK);
    }
    let said = machine.says();
    assert!(said.len() == 1 && said[0].starts_with("cargo::warning=the headers of libelf"));

    // It builds nothing where the libbpf of the system is asked for.
    let cc = CC.replace("LACKS", "*elf.h*").replace("TRUSTS", "-lbpf");
    assert_eq!(Machine::new().with("cc", &cc).without("make").says(), [""; 0]);

    // zlib can be vendored without further tools.
    let machine = Machine::new().without_headers("*zlib.h*");
    assert_eq!(machine.says(), [""; 0]);

    // A compiler that fails at everything tells its own story.
    let machine = Machine::new().with("cc", "#!/bin/sh\nexit 1\n");
    assert_eq!(machine.says(), [""; 0]);

    // The compiler and the headers of a cross build are not where those of this machine are.
    let machine = Machine::new().without("cc");
    assert_eq!(machine.env("TARGET", "aarch64-unknown-linux-musl").says(), [""; 0]);
}

#[test]
fn a_cross_build_of_the_library_alone_is_known_by_the_folder_of_its_target() {
    // A build dependency is told of the machine that builds, never of the target.
    let machine = || Machine::new().without_headers("*elf.h*").without_probes();
    assert!(machine().error().contains("lacks the headers of libelf, which"));
    assert!(!machine().with_artifacts_of("x86_64-unknown-linux-gnu").says().is_empty());
    assert!(machine().with_artifacts_of("riscv64gc-unknown-linux-gnu").says().is_empty());

    // With the probes, libbpf is needed here too.
    let machine = Machine::new().without_headers("*elf.h*");
    assert!(!machine.with_artifacts_of("riscv64gc-unknown-linux-gnu").says().is_empty());

    // Not cargo's layout: no telling.
    let machine = Machine::new().without("cc").without("CACHEDIR.TAG");
    assert!(machine.without_probes().says().is_empty());
}

#[test]
fn docs_rs_and_who_says_so_are_never_refused() {
    for name in ["DOCS_RS", "BPF_ATLAS_SKIP_PREFLIGHT"] {
        let machine = Machine::new().without("clang").without("make");
        assert_eq!(machine.env(name, "1").says(), [""; 0], "{name}");
    }
}

#[test]
fn another_system_is_one_sentence() {
    let sentence = "bpf-atlas builds for Linux alone, since eBPF is part of the Linux kernel, and \
                    this build is for macos";
    let machine = || Machine::new().env("CARGO_CFG_TARGET_OS", "macos");
    assert_eq!(machine().error(), sentence);
    assert_eq!(machine().env("TARGET", "aarch64-apple-darwin").error(), sentence);

    // A build dependency, on a machine of another system that builds for Linux.
    let cross = machine().with_artifacts_of("aarch64-unknown-linux-gnu");
    assert!(cross.says().is_empty());
}

#[test]
fn cargo_shows_the_sentence_and_no_wall() {
    let machine = Machine::new();
    let _turn = turn();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--features", "clang"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("DOCS_RS")
        .env("CARGO_TARGET_DIR", &machine.dir)
        .env("CLANG", "/nowhere/clang")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let shown = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = shown.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(errors.len(), 2, "{shown}");
    assert!(errors[0].contains(": this machine lacks clang (CLANG is /nowhere/clang)"), "{shown}");
    assert_eq!(errors[1], "error: build script logged errors", "{shown}");
    assert!(shown.lines().count() <= 5, "{shown}");
}
