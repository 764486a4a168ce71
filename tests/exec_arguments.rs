//! The probe `exec_events`: file names and arguments come back as they were,
//! whatever bytes they hold, and what is cut says so.
#![cfg(feature = "probes")]
#![forbid(unsafe_code)]

#[path = "support/example.rs"]
mod example;
#[path = "support/exec.rs"]
mod exec;
#[path = "support/programs.rs"]
mod programs;
mod support;

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use bpf_atlas::probes::ExecEvents;
use exec::*;
use nix::sys::signal::Signal;

#[test]
fn long_arguments_are_cut_and_marked() {
    const TAG: &str = "long";
    let long = "x".repeat(64 * 1024);
    let whole = (TRUE.len() + 1 + TAG.len() + 1 + long.len() + 1) as u32;
    for limit in [0, 1, 100, 4096, 16 * 1024] {
        let mut execs = attach(ExecEvents::builder().failed(true).args_limit(limit));
        let pid = run(Command::new(TRUE).args([TAG, &long]));
        let mut kept = Vec::new();
        execs
            .drain(|exec| {
                if exec.pid == pid {
                    kept.push(Kept::of(&exec))
                }
            })
            .unwrap();
        let [kept] = &kept[..] else { panic!("limit {limit}: {kept:?}") };
        assert!(kept.truncated && !kept.unreadable, "limit {limit}");
        assert_eq!(kept.args_total, whole);
        assert_eq!(kept.filename.as_deref(), Some(Path::new(TRUE)));
        // The last has no NUL.
        let bytes = kept.arg_bytes().saturating_sub(1);
        assert_eq!(bytes as u32, limit);
        if limit >= 100 {
            let rest = limit as usize - TRUE.len() - TAG.len() - 2;
            assert_eq!(kept.args, [TRUE, TAG, &long[..rest]]);
        }
    }
}

#[test]
fn arguments_that_just_fit_are_not_marked() {
    const TAG: &str = "fit";
    let used = (TRUE.len() + 1 + TAG.len() + 1) as u32;
    for (extra, truncated) in [(0, false), (1, false), (-1, true)] {
        for failed in [false, true] {
            let limit = used.wrapping_add_signed(extra);
            let mut execs = attach(ExecEvents::builder().failed(true).args_limit(limit));
            if failed {
                // As long as TRUE.
                Command::new("/bin/tru_").arg(TAG).spawn().expect_err("nothing there");
            } else {
                run(Command::new(TRUE).arg(TAG));
            }
            let mut kept = Vec::new();
            execs
                .drain(|exec| {
                    if exec.ppid == process::id()
                        && exec.args().nth(1).is_some_and(|arg| arg.len() >= 2)
                    {
                        kept.push(Kept::of(&exec));
                    }
                })
                .unwrap();
            let kept: Vec<_> = kept
                .into_iter()
                .filter(|k| TAG.as_bytes().starts_with(k.args[1].as_bytes()) && k.args.len() == 2)
                .collect();
            let [kept] = &kept[..] else { panic!("extra {extra}, failed {failed}: {kept:?}") };
            assert_eq!(kept.truncated, truncated, "extra {extra}, failed {failed}: {kept:?}");
        }
    }
}

#[test]
fn a_failed_exec_with_many_or_long_arguments_is_cut_and_marked() {
    const TAG: &str = "many";
    let mut execs = attach(ExecEvents::builder().failed(true).args_limit(16 * 1024));
    Command::new("/no/such").arg(TAG).args((0..1000).map(|n| n.to_string())).spawn().unwrap_err();
    let many = one(&mut execs, TAG);
    assert!(many.truncated && many.args.len() == 128, "{}", many.args.len());
    assert_eq!(many.args[127], "125");
    Command::new("/no/such").arg(TAG).arg("y".repeat(60_000)).arg("behind").spawn().unwrap_err();
    let long = one(&mut execs, TAG);
    assert!(long.truncated && long.args.len() == 3, "{:?}", long.args.len());
    assert!(long.args[2].len() >= 4000 && long.args[2].as_bytes().iter().all(|&b| b == b'y'));
}

#[test]
fn arguments_of_any_bytes_come_back_as_they_were() {
    const TAG: &str = "bytes";
    let args: Vec<OsString> = [
        &b"\xff\xfe not UTF-8 \x80"[..],
        b"",
        b"",
        b"new\nline\r\ttab",
        b"\x1b[31mred\x1b]0;title\x07",
        b"'\"\\$`",
        b" ",
        b"",
    ]
    .map(|bytes| OsString::from_vec(bytes.into()))
    .into();
    let mut execs = attach(ExecEvents::builder().failed(true));
    run(Command::new(TRUE).arg(TAG).args(&args));
    let done = one(&mut execs, TAG);
    assert_eq!(done.args[2..], args[..]);
    Command::new("/no/such").arg(TAG).args(&args).spawn().expect_err("nothing there");
    let failed = one(&mut execs, TAG);
    assert_eq!(failed.args[2..], args[..]);

    let odd = support::Folder::new();
    let program = odd.path().join(OsStr::from_bytes(b"od\xffd\n"));
    symlink(TRUE, &program).expect("link a program");
    run(Command::new(&program).arg(TAG));
    assert_eq!(one(&mut execs, TAG).filename, Some(program));
}

#[test]
fn a_script_is_told_by_its_name_and_its_interpreter_by_the_arguments() {
    const TAG: &str = "script";
    let folder = support::Folder::new();
    let script = folder.file("script", "#!/bin/sh\nexit 0\n");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let mut execs = attach(ExecEvents::builder());
    // Busy while another thread's child has the file open for writing.
    while Command::new(&script).arg(TAG).status().is_err() {
        thread::sleep(Duration::from_millis(1));
    }
    let exec = one(&mut execs, TAG);
    assert_eq!(exec.filename.as_deref(), Some(&*script));
    assert_eq!(exec.args, [OsStr::new("/bin/sh"), script.as_os_str(), OsStr::new(TAG)]);
}

/// Starts one program while the example runs; the lines that it shows of it.
fn shown(more: &[&str], tag: &str, arguments: &[&[u8]]) -> String {
    use example::{Example, Stir};
    let args = &["--name", "true"];
    let example = Example { name: "exec_events", args, links: 1, stir: Stir::Calls, shows: "exec" };
    let running = example.start(more);
    run(Command::new(TRUE).arg(tag).args(arguments.iter().map(|bytes| OsStr::from_bytes(bytes))));
    running.signal(Signal::SIGINT);
    let output = running.end();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text, whatever was executed");
    text.lines().filter(|line| line.contains(tag)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_example_shows_nothing_that_a_terminal_would_obey() {
    const TAG: &str = "terminal";
    let nasty: &[&[u8]] =
        &[b"\x1b[2J", b"a\nb\rc\x07", b"\xff\xc2\x9b", "\u{202e}dlrow".as_bytes(), b"\"q\" \\ "];
    let plain = shown(&[], TAG, nasty);
    assert!(
        plain.lines().count() == 1 && !plain.trim_end().contains(char::is_control),
        "{plain:?}"
    );
    let expected = r#"/bin/true terminal \u{1b}[2J a\nb\rc\u{7} \xff\u{9b} \u{202e}dlrow "q" \ "#;
    assert!(plain.trim_end().ends_with(expected.trim_end()), "{plain:?}");
    let quoted = shown(&["-q"], TAG, nasty);
    assert!(quoted.ends_with("\"\\\"q\\\" \\\\ \"\n"), "{quoted:?}");
    assert!(quoted.contains(r#""terminal" "\u{1b}[2J""#), "{quoted:?}");
}

#[test]
fn the_example_marks_what_it_cuts_and_hands_bytes_over_in_json() {
    const TAG: &str = "marks";
    assert!(shown(&["--max-args", "3"], TAG, &[b"1", b"2", b"3"]).ends_with("marks 1 …\n"));
    assert!(shown(&["--max-args", "3"], TAG, &[b"1"]).ends_with("marks 1\n"));
    assert!(shown(&["--max-bytes", "18"], TAG, &[b"123456"]).ends_with("marks 12 …\n"));

    let json = shown(&["--json"], TAG, &[b"\xfe", b"\x1b"]);
    assert!(!json.contains('\x1b'));
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(object["args"], serde_json::json!([TRUE, TAG, "\u{fffd}", "\u{1b}"]));
    assert_eq!(object["args_hex"][2], "fe");
    assert_eq!((&object["ret"], &object["truncated"]), (&0.into(), &false.into()));
}
