//! Crates outside the workspace, as a user writes them: one with a program of
//! its own, compiled by its build script, whose maps it opens typed and moves
//! to a thread when the skeleton is gone; one that builds and runs without
//! clang.
#![forbid(unsafe_code)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "support/outside.rs"]
mod outside;
#[path = "support/programs.rs"]
mod programs;
mod support;
use outside::Crate;
use support::Folder;

/// Builds the crate and runs its binary `name`, as root; what it printed.
fn build_and_run(made: &Crate, name: &str, path: Option<&Path>, arguments: &[PathBuf]) -> String {
    let mut build = made.cargo("build");
    if let Some(path) = path {
        build.env("PATH", path).env_remove("CLANG");
    }
    let output = build.output().expect("run cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut run = Command::new(made.path("target/debug").join(name));
    if let Some(path) = path {
        run.env("PATH", path);
    }
    let output = run.args(arguments).output().expect("run what was built");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert_eq!(complained, "", "stderr stays clean");
    said.into_owned()
}

#[test]
fn a_crate_with_a_program_of_its_own_builds_and_counts() {
    let library = env!("CARGO_MANIFEST_DIR");
    let made = Crate::new(
        "outside-agent",
        &format!(
            "[dependencies]\nbpf-atlas = {{ path = {library:?} }}\nlibbpf-rs = \"0.27\"\nlibc = \
             \"0.2\"\n\n[build-dependencies]\nlibbpf-cargo = \"0.27\"\n"
        ),
    );
    // A path dependency is a folder beside the crate; its headers are in it.
    let build = include_str!("outside/agent/build.rs").replace("../bpf-atlas", library);
    made.write("build.rs", &build);
    made.write("src/bpf/calls.bpf.c", include_str!("outside/agent/src/bpf/calls.bpf.c"));
    made.write("src/lib.rs", include_str!("outside/agent/src/lib.rs"));
    made.write("src/main.rs", include_str!("outside/agent/src/main.rs"));
    let said = build_and_run(&made, "outside-agent", None, &[]);
    assert_eq!(said, "counted 1000 of 1000, 0 refused\nthen 0 of 1000\n");
}

/// A folder with everything that is on PATH, but for clang.
fn path_without_clang() -> Folder {
    let folder = Folder::new();
    for from in env::split_paths(&env::var_os("PATH").expect("a PATH")) {
        for entry in fs::read_dir(from).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !name.to_string_lossy().starts_with("clang") {
                // What comes first on PATH stays.
                symlink(entry.path(), folder.path().join(name)).ok();
            }
        }
    }
    let found = Command::new("/bin/sh")
        .args(["-c", "command -v clang"])
        .env("PATH", folder.path())
        .output()
        .expect("run a shell");
    assert!(!found.status.success(), "clang is still to be found");
    folder
}

#[test]
fn a_crate_without_default_features_builds_and_runs_without_clang() {
    let library = env!("CARGO_MANIFEST_DIR");
    let made = Crate::new(
        "outside-lean",
        &format!(
            "[dependencies]\nbpf-atlas = {{ path = {library:?}, default-features = false }}\n\
             libbpf-rs = \"0.27\"\n"
        ),
    );
    made.write("src/main.rs", include_str!("outside/lean/src/main.rs"));
    // An object that was compiled elsewhere, as a package would bring it.
    let object = programs::compile("loading");
    let path = path_without_clang();
    let said = build_and_run(&made, "outside-lean", Some(path.path()), &[object]);
    assert_eq!(said, "499500 in 1000 entries, 7 in the object's map\n");

    let built = fs::read_dir(made.path("target/debug/deps")).unwrap();
    let names = built.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.collect();
    assert!(names.iter().any(|name| name.contains("bpf_atlas")));
    assert!(!names.iter().any(|name| name.contains("libbpf_cargo")), "{names:?}");
}
