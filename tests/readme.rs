//! The README's agent, as it stands there: from an empty folder to a typed,
//! running program.
#![forbid(unsafe_code)]

use std::process::Command;

#[path = "support/outside.rs"]
mod outside;
use outside::Crate;

const README: &str = include_str!("../README.md");

/// The code block behind the line that names its file.
fn file(name: &str) -> &'static str {
    let (_, behind) = README
        .split_once(&format!("\n`{name}`\n\n```"))
        .unwrap_or_else(|| panic!("no `{name}` in the README"));
    let (_, code) = behind.split_once('\n').unwrap();
    code.split_once("```").unwrap().0
}

#[test]
fn the_readmes_agent_builds_runs_and_is_as_short_as_it_says() {
    let made = Crate::agent();
    let names = ["src/bpf/calls.bpf.c", "build.rs", "src/main.rs"];
    let mut lines = 0;
    for name in names {
        made.write(name, file(name));
        lines += file(name).lines().filter(|line| !line.trim().is_empty()).count();
    }
    println!("{lines} lines of C and Rust");
    assert!(lines < 40, "{lines} lines");

    let output = made.cargo("build").output().expect("run cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!complaint.contains("warning: unused"), "{complaint}");

    let output = Command::new(made.path("target/debug/agent")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    let lines: Vec<_> = said.lines().collect();
    let (last, rows) = lines.split_last().expect("it prints");
    // The agent itself has made system calls, so there is a row at least.
    assert!(!rows.is_empty() && rows.iter().all(|row| row.ends_with(" system calls")), "{said}");
    let refused: u64 = last.strip_suffix(" refused").expect(last).parse().expect(last);
    assert!(refused == 0 || rows.len() >= 10_240, "{refused} refused of a map that is not full");
}
