//! What every example keeps to, whatever it shows.
#![cfg(feature = "probes")]
#![forbid(unsafe_code)]

#[path = "support/example.rs"]
mod example;
#[path = "support/net.rs"]
mod net;
#[path = "support/programs.rs"]
mod programs;
mod support;
#[path = "support/tcp.rs"]
mod tcp;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use example::{Example, Stir, objects};
use net::RIGHT_IP;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::skipped;
use tcp::Strangers;

/// All of them. A new example takes a row.
const EXAMPLES: &[Example] = &[
    Example { name: "pid_syscalls", args: &[], links: 3, stir: Stir::Calls, shows: "process" },
    Example { name: "packets", args: &["lo"], links: 1, stir: Stir::Datagrams, shows: "protocol" },
    Example { name: "exec_events", args: &[], links: 1, stir: Stir::Execs, shows: "exec" },
    Example { name: "recent_ips", args: &["lo"], links: 1, stir: Stir::Datagrams, shows: "sender" },
    Example { name: "tcp_retransmits", args: &[], links: 2, stir: SYN_ACKS, shows: "retransmit" },
    Example { name: "tcp_retransmits", args: &["-c"], links: 2, stir: SYN_ACKS, shows: "flow" },
];

/// SYN-ACKs that a namespace of the test's own sends again.
const SYN_ACKS: Stir = Stir::Own(|| {
    let strangers = Strangers::new(RIGHT_IP);
    Box::new(move || strangers.ask(4000, 1))
});

/// Shows what happens line by line, not in a table.
fn is_stream(example: &Example) -> bool {
    ["exec", "retransmit"].contains(&example.shows)
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What an example that was asked to end says last, and nothing else.
fn ended_well(name: &str, output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
    let said = stderr(output);
    assert!(said.lines().all(|line| !line.contains("panicked")), "{name}: {said}");
    assert!(said.lines().last().is_some_and(|l| l.contains(" 0 dropped")), "{name}: {said:?}");
}

#[test]
fn the_table_has_every_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sources = files.filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let names: BTreeSet<_> =
        sources.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let table: BTreeSet<_> = EXAMPLES.iter().map(|example| example.name.to_owned()).collect();
    assert_eq!(names, table);
}

#[test]
fn help_says_what_is_needed_and_what_it_costs_and_needs_nothing_itself() {
    for example in EXAMPLES {
        for flag in ["--help", "-h"] {
            let unprivileged = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"];
            let output = example.command_in(&unprivileged, &[flag]).output().unwrap();
            let help = stdout(&output);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(stderr(&output), "");
            for word in
                ["Needs  CAP_BPF", "Costs  ", "--interval", "--duration", "--once", "--json"]
            {
                assert!(help.contains(word), "{word} in:\n{help}");
            }
            assert!(help.lines().count() < 45, "{help}");
        }
    }
}

#[test]
fn once_and_json_print_objects_that_a_reader_of_json_takes() {
    for example in EXAMPLES {
        let output = example.start(&["--once", "--json", "-i", "2s"]).end();
        ended_well(example.name, &output);
        let objects = objects(&output.stdout);
        let of = |kind: &str| objects.iter().filter(|o| o["type"] == kind).collect::<Vec<_>>();
        let rows = of(example.shows);
        assert!(!rows.is_empty(), "{}: no {} in {objects:?}", example.name, example.shows);
        let summary = &objects[objects.len() - 1];
        assert_eq!((of("health").len(), &summary["type"]), (1, &"summary".into()), "{objects:?}");
        for object in [of("health")[0], summary] {
            assert_eq!(object["dropped"], 0, "{object}");
            assert!(object["capacity"].as_u64() > Some(0), "{object}");
        }
        objects.iter().for_each(integers_are_integers);
    }
}

/// Only what is divided by a time has a fraction.
fn integers_are_integers(object: &Value) {
    for (name, value) in object.as_object().unwrap() {
        if value.is_number() && !name.contains("rate") && !name.contains("per_second") {
            assert!(value.is_u64() || value.is_i64(), "{name} in {object}");
        }
    }
}

#[test]
fn sigint_and_sigterm_end_with_a_last_print_and_exit_code_0() {
    for example in EXAMPLES {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            // Nothing is printed by the clock, so whatever is there came after the signal.
            let running = example.start(&["--json", "-i", "1h"]);
            thread::sleep(Duration::from_millis(300));
            running.signal(signal);
            let output = running.end();
            ended_well(example.name, &output);
            let kinds: BTreeSet<_> = objects(&output.stdout)
                .iter()
                .map(|object| object["type"].as_str().unwrap().to_owned())
                .collect();
            for kind in [example.shows, "health", "summary"] {
                assert!(kinds.contains(kind), "{}: {signal}: {kinds:?}", example.name);
            }

            let running = example.start(&["-i", "1h"]);
            thread::sleep(Duration::from_millis(300));
            running.signal(signal);
            let output = running.end();
            ended_well(example.name, &output);
            assert!(stdout(&output).lines().count() > 1, "{}: {output:?}", example.name);
        }
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_at_once_with_exit_code_0_and_no_word() {
    for example in EXAMPLES {
        for more in [&["--json", "-i", "100ms"][..], &["-i", "100ms"]] {
            let mut running = example.start(more);
            let mut first = String::new();
            let mut reader = BufReader::new(running.child.stdout.take().unwrap());
            reader.read_line(&mut first).unwrap();
            assert!(first.ends_with('\n'), "{first:?}");
            drop(reader);
            let output = running.end();
            assert_eq!(output.status.code(), Some(0), "{}: {output:?}", example.name);
            assert_eq!(stderr(&output), "", "{}", example.name);
        }

        // It need not have printed anything to notice.
        let mut running = example.start(&["-i", "1h"]);
        let since = Instant::now();
        drop(running.child.stdout.take());
        let output = running.end();
        assert_eq!(output.status.code(), Some(0), "{}: {output:?}", example.name);
        assert!(since.elapsed() < Duration::from_secs(15), "{}", example.name);
    }
}

#[test]
fn a_duration_ends_it() {
    for example in EXAMPLES {
        let output = example.start(&["-i", "100ms", "-d", "500ms", "--json"]).end();
        ended_well(example.name, &output);
        let objects = objects(&output.stdout);
        let ticks = objects.iter().filter(|object| object["type"] == "health").count();
        assert!((1..=5).contains(&ticks), "{}: {ticks} ticks", example.name);
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    for example in EXAMPLES {
        for (wrong, said) in [
            (&["--no-such-option"][..], "--no-such-option"),
            (&["-i", "soon"], "`soon` is not a time"),
            (&["-i", "0s"], "at least 1ms"),
            (&["-d", "-3s"], "-3"),
            (&["-i", "1e300h"], "1e300h"),
            (&["-n", "many"], "many"),
        ] {
            let output = example.command(wrong).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
            assert!(stderr(&output).contains(said), "{wrong:?}: {output:?}");
            assert_eq!(stdout(&output), "");
        }
    }
}

#[test]
fn g9_without_privilege_one_sentence_names_the_capability_and_the_fix() {
    for example in EXAMPLES {
        let unprivileged =
            ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+dac_override", "--"];
        let output = example.command_in(&unprivileged, &["--once"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(stdout(&output), "");
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        let file = example::file(example.name);
        for part in ["error: ", "needs CAP_", "sudo", "setcap cap_bpf", file.to_str().unwrap()] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}

#[test]
fn g8_nothing_stays_attached_or_pinned_though_it_is_killed() {
    let pins = || -> BTreeSet<_> {
        let Ok(entries) = fs::read_dir("/sys/fs/bpf") else { return BTreeSet::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let before = pins();
    for example in EXAMPLES {
        let running = example.start(&["--json"]);
        assert_eq!(pins(), before, "{}", example.name);
        running.kill();
    }
    assert_eq!(pins(), before);
}

/// Runs on a terminal of its own, and gives what appeared there.
fn on_a_terminal(example: &Example, more: &[&str], colour: bool) -> Option<String> {
    Command::new("script").arg("--version").output().ok()?;
    let mut command = example.command(more);
    let words: Vec<_> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    command = Command::new("script");
    command.args(["-q", "-e", "-c", &words.join(" "), "/dev/null"]).env("TERM", "xterm");
    if colour {
        command.env_remove("NO_COLOR")
    } else {
        command.env("NO_COLOR", "1")
    };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What the escape sequences in a text do: their last letters.
fn escapes(text: &str) -> BTreeSet<char> {
    let sequences = text.split("\x1b[").skip(1);
    sequences.filter_map(|rest| rest.chars().find(char::is_ascii_alphabetic)).collect()
}

#[test]
fn tables_are_live_on_a_terminal_only_and_colour_respects_no_color() {
    const UP: char = 'A';
    const COLOUR: char = 'm';
    for example in EXAMPLES.iter().filter(|example| !is_stream(example)) {
        let more = ["-i", "200ms", "-d", "900ms"];
        let Some(colourful) = on_a_terminal(example, &more, true) else {
            return skipped(
                "tables_are_live_on_a_terminal_only_and_colour_respects_no_color",
                "`script` was not found",
            );
        };
        let bare = on_a_terminal(example, &more, false).unwrap();
        let (with, without) = (escapes(&colourful), escapes(&bare));
        assert!(with.contains(&UP) && without.contains(&UP), "{colourful:?} {bare:?}");
        assert!(with.contains(&COLOUR) && !without.contains(&COLOUR), "{colourful:?} {bare:?}");
        let piped = example.command(&more).output().unwrap();
        assert!(!stdout(&piped).contains('\x1b'), "{piped:?}");
    }
}

#[test]
fn loss_is_said_on_stderr_once_a_second_at_most_and_in_the_json() {
    let example = &EXAMPLES[0];
    assert_eq!(example.name, "pid_syscalls");
    let more = ["--max-entries", "1", "-i", "100ms", "-d", "1500ms", "--json"];
    let running = example.start(&more);
    // Another process than the example and this one, so that three want the one entry.
    Command::new("true").status().unwrap();
    let output = running.end();
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    let warnings = said.lines().filter(|line| line.starts_with("warning: ")).count();
    assert!(said.contains("found the map full") && said.contains("raise --max-entries"), "{said}");
    let objects = objects(&output.stdout);
    let summary = &objects[objects.len() - 1];
    let dropped = summary["dropped"].as_u64().unwrap();
    assert!(dropped > 0 && summary["refused_full"] == dropped, "{summary}");
    let seconds = summary["elapsed_ns"].as_u64().unwrap() as usize / 1_000_000_000;
    assert!((1..=seconds + 1).contains(&warnings), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains(&format!("entries 1/1, {dropped} dropped")), "{said}");
}

#[test]
fn pid_syscalls_shows_who_is_over_once_more_with_every_call_and_forgets_it() {
    let running = EXAMPLES[0].start(&["--json", "-i", "100ms"]);
    let mut started = BTreeSet::new();
    for _ in 0..40 {
        let mut child = Command::new("true").spawn().unwrap();
        started.insert(child.id().into());
        child.wait().unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    // Two ticks, or the last one, see what is over.
    running.signal(Signal::SIGTERM);
    let output = running.end();
    ended_well("pid_syscalls", &output);

    let objects = objects(&output.stdout);
    for pid in started {
        let rows: Vec<_> = objects.iter().filter(|row| row["pid"].as_u64() == Some(pid)).collect();
        let (last, before) = rows.split_last().expect("a row of each process");
        assert_eq!(last["exited"], true, "{rows:?}");
        assert!(before.iter().all(|row| row["exited"] == false), "shown once: {rows:?}");
        let sum: u64 = rows.iter().map(|row| row["delta"].as_u64().unwrap()).sum();
        assert_eq!(last["total"], sum, "{rows:?}");
        assert_eq!(last["comm"], "true");
    }
    let summary = &objects[objects.len() - 1];
    let rows_at_the_end = objects.iter().rev().take_while(|o| o["type"] != "health");
    assert_eq!(rows_at_the_end.count(), 1, "the summary");
    assert!(summary["entries"].as_u64() < Some(10240));
}

#[test]
fn exec_events_tells_how_and_when_processes_end_if_asked_to() {
    const SCRIPTS: [&str; 3] = ["exit 3", "sleep 0.2; kill -9 $$", "ulimit -c 0; kill -11 $$"];
    const EXITS: &[&str] = &["--exits", "--name", "sh"];
    let example =
        Example { name: "exec_events", args: EXITS, links: 2, stir: Stir::Calls, shows: "exit" };
    let shown = |more: &[&str]| {
        let running = example.start(more);
        let pids = SCRIPTS.map(|script| {
            let mut child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
            child.wait().unwrap();
            child.id()
        });
        running.signal(Signal::SIGINT);
        let output = running.end();
        ended_well(example.name, &output);
        (pids, output)
    };

    let (pids, output) = shown(&[]);
    let titles = stdout(&output).lines().next().unwrap();
    assert!(titles.ends_with("EVENT  RET           DURATION(s)  ARGS"), "{titles}");
    for (pid, ret) in pids.iter().zip(["3", "SIGKILL", "SIGSEGV"]) {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let of = |line: &Vec<String>| line.get(1) == Some(&pid.to_string());
        let lines: Vec<_> = stdout(&output).lines().map(words).filter(of).collect();
        let [exec, exit] = &lines[..] else { panic!("{pid}: {}", stdout(&output)) };
        assert_eq!((&exec[3..7], exec[0].as_str()), (&words("exec 0 /bin/sh -c")[..], "sh"));
        assert_eq!((&exit[3..5], exit.len()), (&words(&format!("exit {ret}"))[..], 6));
        let seconds: f64 = exit[5].parse().unwrap();
        assert!(
            (0.0..60.0).contains(&seconds) && (seconds >= 0.2) == (ret == "SIGKILL"),
            "{exit:?}"
        );
    }

    let (pids, output) = shown(&["--json"]);
    let objects = objects(&output.stdout);
    objects.iter().for_each(integers_are_integers);
    let expected =
        [(Some(3), None, "null"), (None, Some(9), "SIGKILL"), (None, Some(11), "SIGSEGV")];
    for (pid, (code, signal, name)) in pids.iter().zip(expected) {
        let of: Vec<_> = objects.iter().filter(|object| object["pid"] == *pid).collect();
        let [exec, exit] = of[..] else { panic!("{pid}: {of:?}") };
        assert_eq!(
            [&exec["type"], &exec["event"], &exit["type"], &exit["event"]],
            ["exec", "exec", "exit", "exit"]
        );
        assert_eq!((exit["code"].as_i64(), exit["signal"].as_i64()), (code, signal));
        assert_eq!(exit["signal_name"].as_str().unwrap_or("null"), name);
        assert_eq!(exit["core_dumped"], false);
        let [start, end] = ["started_ns", "time_ns"].map(|name| exit[name].as_u64().unwrap());
        assert_eq!(exit["duration_ns"], end - start, "{exit}");
    }
}
