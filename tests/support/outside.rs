//! A crate outside the workspace, made by a test and built by cargo.

#![allow(dead_code, reason = "no test binary uses everything")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate with a workspace and a build directory of its own.
pub struct Crate {
    root: PathBuf,
    /// User and group that own the build directory, if this process is not of
    /// that user: root may test what somebody else has built, and then must
    /// leave nothing there that its owner cannot remove.
    builder: Option<(u32, u32)>,
}

impl Crate {
    /// Made anew, but for what was built of it before. `manifest` goes behind
    /// its `[package]`.
    pub fn new(name: &str, manifest: &str) -> Self {
        let library = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let built = fs::metadata(scratch).expect("cargo made it");
        let me = fs::metadata("/proc/self").expect("a mounted /proc").uid();
        let builder = (built.uid() != me).then(|| (built.uid(), built.gid()));
        let this = Self { root: scratch.join(name), builder };
        fs::remove_dir_all(this.root.join("src")).ok();
        this.write(
            "Cargo.toml",
            &format!(
                "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                 [workspace]\n\n{manifest}"
            ),
        );
        // The versions that the library itself was built with: no network.
        let lock = fs::read_to_string(library.join("Cargo.lock")).expect("cargo has just run");
        this.write("Cargo.lock", &lock);
        this
    }

    /// What the README's agent is: with the library, and the builder for its build script.
    pub fn agent() -> Self {
        let library = env!("CARGO_MANIFEST_DIR");
        Self::new(
            "agent",
            &format!(
                "[dependencies]\nbpf-atlas = {{ path = {library:?}, default-features = false }}\n\n\
                 [build-dependencies]\nbpf-atlas-build = {{ path = \
                 \"{library}/crates/bpf-atlas-build\" }}\n"
            ),
        )
    }

    /// A file of the crate.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes a file of the crate, for its builder.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("inside the crate")).expect("make a directory");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if let Some((user, group)) = self.builder {
            for made in path.ancestors().take_while(|made| made.starts_with(&self.root)) {
                chown(made, Some(user), Some(group)).expect("root may");
            }
        }
    }

    /// `cargo <command>` in the crate, without network, as its builder.
    pub fn cargo(&self, command: &str) -> Command {
        let cargo = Path::new(env!("CARGO"));
        let mut run = Command::new(cargo);
        run.args([command, "--offline", "--color=never", "--target-dir"])
            .arg(self.root.join("target"))
            .current_dir(&self.root);
        let rustc = cargo.with_file_name("rustc");
        if rustc.exists() {
            run.env("RUSTC", rustc);
        }
        if let Some((user, group)) = self.builder {
            run.uid(user).gid(group);
            if let Some(home) = home(user) {
                run.env("HOME", home);
            }
        }
        run
    }
}

/// The home directory of a user, where cargo keeps what it has fetched.
fn home(user: u32) -> Option<String> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|account| {
        let fields: Vec<_> = account.split(':').collect();
        (fields.len() > 5 && fields[2] == user.to_string()).then(|| fields[5].to_owned())
    })
}
