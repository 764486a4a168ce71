//! The handles of the probe `tcp_retransmits`: what is lost, counted by flow,
//! waited for, dropped and refused; and its example.
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

use std::net::Ipv6Addr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::probes::{Health, ProbeError, TcpRetransmits};
use bpf_atlas::{Capability, OpenError, RawMap};
use example::{Example, Stir, objects};
use net::*;
use nix::sys::signal::Signal;
use serde_json::Value;
use tcp::*;

#[test]
fn g6_in_a_burst_from_many_threads_delivered_and_lost_are_what_the_kernel_counts() {
    unless_unseen(delivered_and_lost_are_what_the_kernel_counts);
}

fn delivered_and_lost_are_what_the_kernel_counts() {
    let strangers = Strangers::new(RIGHT_IP);
    let builder = TcpRetransmits::builder().netns(strangers.inode());
    let mut small = builder.clone().ring_size(4096).attach().expect("attach");
    let mut large = builder.clone().ring_size(1 << 22).attach().expect("attach");
    let counts = builder.attach_per_flow().expect("attach");
    let witness = Witness::new(strangers.inode());
    let counted = || strangers.net.right(retransmitted);
    strangers.burst(16, 500);

    let mut seen = Vec::new();
    eventually("all that the kernel counts", || {
        let segs = collect(&mut large, &mut seen);
        let missed = large.health().unwrap().missed;
        strangers.counted() >= 16 * 500 && witness.all(segs, missed, counted())
    });
    let mut kept = Vec::new();
    eventually("delivered + lost = produced", || {
        let segs = collect(&mut small, &mut kept);
        let health = small.health().unwrap();
        witness.all(segs + health.lost, health.missed, counted())
    });
    let (lost, held) = (small.lost().unwrap(), 4096 / 88);
    assert!(lost > 0 && kept.len() as u64 >= held, "{} kept, {lost} lost", kept.len());
    assert_eq!((large.lost().unwrap(), small.health().unwrap().lost), (0, lost));
    let totals = small.ring().totals().unwrap();
    assert_eq!((totals.lost, totals.submitted), (lost, small.ring().delivered()));

    // By flow: each thread's own, whole.
    let summary = counts.summary().unwrap();
    assert_eq!((summary.flows.len(), summary.health.dropped()), (16, 0));
    for flow in summary.flows {
        let events = seen.iter().filter(|event| event.flow == flow.flow).count() as u64;
        assert!(flow.stat.segs >= 500 && flow.stat.segs >= events, "{flow:?} {events}");
    }
    // Once read it takes more.
    kept.clear();
    strangers.burst(1, 10);
    eventually("more", || collect(&mut small, &mut kept) >= 10);
    assert!(kept.iter().all(|event| event.local() == strangers.to()));
}

#[test]
fn what_finds_no_room_in_a_full_map_of_flows_is_counted() {
    unless_unseen(counted_and_refused_are_what_the_kernel_counts);
}

fn counted_and_refused_are_what_the_kernel_counts() {
    let strangers = Strangers::new(RIGHT_IP);
    let counts = TcpRetransmits::builder().netns(strangers.inode()).max_flows(3).attach_per_flow();
    let counts = counts.expect("attach");
    let witness = Witness::new(strangers.inode());
    strangers.burst(8, 50);
    eventually("counted + refused = produced", || {
        let summary = counts.summary().unwrap();
        let counted: u64 = summary.flows.iter().map(|flow| flow.stat.segs).sum();
        let Health { capacity, refused_full: refused, missed, .. } = summary.health;
        assert_eq!((summary.flows.len(), capacity), (3, 3));
        let told = witness.all(counted + refused, missed, strangers.net.right(retransmitted));
        told && refused >= 250 && counted >= 150
    });
}

#[test]
fn wait_sleeps_until_something_is_sent_again() {
    let strangers = Strangers::new(RIGHT_IP);
    let mut probe = TcpRetransmits::builder().netns(strangers.inode()).attach().expect("attach");
    let start = Instant::now();
    assert!(!probe.wait(Duration::from_millis(100)).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(100));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            strangers.burst(1, 1);
        });
        assert!(probe.wait(Duration::from_secs(20)).unwrap(), "woken by a record");
    });
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(collect(&mut probe, &mut Vec::new()) >= 1);
}

/// The example, which shows what the test makes happen elsewhere.
const EXAMPLE: Example = Example {
    name: "tcp_retransmits",
    args: &[],
    links: 2,
    stir: Stir::Own(|| Box::new(|| ())),
    shows: "retransmit",
};

/// What it shows of `again` SYN-ACKs of each family, from its start to SIGINT.
fn shown(more: &[&str], again: u64) -> (Strangers, String) {
    let strangers = Strangers::new(Ipv6Addr::UNSPECIFIED);
    let [_, file] = strangers.net.files();
    let running = EXAMPLE.start(&[&["--netns", &file, "-i", "1h"], more].concat());
    strangers.ask(5000, again);
    strangers.ask_at(strangers.to6(), 5000, again);
    eventually("all again", || strangers.counted() >= 2 * again);
    running.signal(Signal::SIGINT);
    let output = running.end();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with(", 0 dropped\n"), "{said}");
    (strangers, String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_example_prints_a_line_for_each_with_both_ends_and_the_state() {
    let (strangers, text) = shown(&[], 3);
    let mut lines = text.lines();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        words(lines.next().unwrap()).join(" "),
        "TIME PID IP LADDR:LPORT T> RADDR:RPORT STATE"
    );
    let rows: Vec<_> = lines.map(words).collect();
    assert!(rows.len() >= 6, "{text}");
    for row in rows {
        let to = if row[2] == "4" { strangers.to() } else { strangers.to6() };
        let from = Strangers::behind(to, 5000);
        let ends = [&to.to_string(), "R>", &from.to_string(), "NEW_SYN_RECV"];
        assert_eq!((&*row[1], &row[3..]), ("-", &ends.map(str::to_owned)[..]), "{text}");
        assert!(row[0].len() == 8 && row[0].matches(':').count() == 2, "{text}");
    }
    let (_, text) = shown(&["-4", "-n", "2"], 3);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().skip(1).all(|line| line.contains(" 4  192.0.2.2:")), "{text}");
}

#[test]
fn the_example_prints_json_of_each_and_summed() {
    for more in [&["--json"][..], &["--json", "-c"], &["--json", "-c", "-6", "-s", "last"]] {
        let (strangers, text) = shown(more, 5);
        let objects = objects(text.as_bytes());
        let per_flow = more.contains(&"-c");
        let kind = if per_flow { "flow" } else { "retransmit" };
        let rows: Vec<_> = objects.iter().filter(|object| object["type"] == kind).collect();
        let mut segments = 0;
        for row in &rows {
            let to = if row["ip_version"] == 4 { strangers.to() } else { strangers.to6() };
            let from = Strangers::behind(to, 5000);
            assert_eq!(row["laddr"], to.ip().to_string());
            assert_eq!(row["raddr"], from.ip().to_string());
            assert_eq!((&row["lport"], &row["rport"]), (&to.port().into(), &5000.into()));
            assert_eq!((&row["netns"], &row["bytes"]), (&strangers.inode().into(), &0.into()));
            segments += row["segments"].as_u64().unwrap();
            if per_flow {
                assert_eq!((&row["retransmits"], &row["failed"]), (&row["segments"], &0.into()));
                assert!(row["first_ns"].as_u64() <= row["last_ns"].as_u64(), "{row}");
            } else {
                assert_eq!((&row["state"], &row["uid"]), (&"NEW_SYN_RECV".into(), &0.into()));
                assert_eq!((&row["pid"], &row["error"]), (&Value::Null, &Value::Null));
                assert_eq!(row["loss_probe"], false);
            }
        }
        let least = if more.contains(&"-6") { 5 } else { 10 };
        assert!(segments >= least && segments <= strangers.counted(), "{text}");
        assert!(!per_flow || rows.len() as u64 == least / 5, "{text}");
    }
}

#[test]
fn the_example_prints_a_table_by_connection() {
    let (strangers, text) = shown(&["-c", "-x"], 4);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("segments of 2 connections  tp_btf"), "{text}");
    let titles: Vec<_> = lines[1].split_whitespace().collect();
    let all = "RETRANS PROBES SEGMENTS BYTES FAILED FIRST LAST LADDR:LPORT RADDR:RPORT";
    assert_eq!(titles.join(" "), all);
    let ends: Vec<_> = lines[2..4]
        .iter()
        .map(|line| line.split_whitespace().skip(7).collect::<Vec<_>>())
        .collect();
    for to in [strangers.to(), strangers.to6()] {
        let both = [to.to_string(), Strangers::behind(to, 5000).to_string()];
        assert!(ends.iter().any(|ends| ends[..] == both), "{text}");
    }
    assert!(lines[4].starts_with("entries 2/10240 · dropped 0 · read "), "{text}");
}

#[test]
fn the_example_refuses_what_makes_no_sense() {
    for (wrong, said) in [
        (&["-4", "-6"][..], "cannot be used with"),
        (&["-s", "bytes"], "--per-flow"),
        (&["--port", "0"], "0"),
        (&["--netns", "/no/such/file"], "No such file"),
        (&["--ring-size", "5000"], "power of two"),
        (&["--max-flows", "0"], "0"),
    ] {
        let output = EXAMPLE.command(wrong).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {complaint}");
        assert!(complaint.contains(said), "{wrong:?}: {complaint}");
    }
}

#[test]
fn g8_dropping_the_handles_on_any_thread_detaches() {
    // Of a namespace that there is not.
    let nowhere = TcpRetransmits::builder().netns(1);
    let probe = nowhere.clone().attach().expect("attach");
    let counts = nowhere.attach_per_flow().expect("attach");
    let flows = counts.flows().clone();
    let maps = [probe.ring().info().id, flows.info().id];
    thread::spawn(move || drop((probe, counts))).join().unwrap();
    // A map outlives its programs as long as someone reads it.
    assert_eq!(flows.count().unwrap(), 0);
    drop(flows);
    let gone = |map| matches!(RawMap::open_id(map), Err(OpenError::NotFound { .. }));
    eventually("the programs have let go", || maps.iter().all(|&map| gone(map)));
}

#[test]
fn g9_the_missing_capability_is_named_and_two_are_enough() {
    const NAME: &str = "g9_the_missing_capability_is_named_and_two_are_enough";
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    if let Some(role) = support::role() {
        let attached = TcpRetransmits::builder().attach();
        let per_flow = TcpRetransmits::builder().attach_per_flow();
        match role.as_str() {
            "all" => {
                let mut probe = attached.expect("CAP_BPF and CAP_PERFMON are enough");
                probe.drain(|_| ()).expect("and to read");
                per_flow.expect("also by flow").summary().expect("and to read");
            }
            missing => {
                let error = attached.expect_err("a capability is missing");
                let said = error.to_string();
                assert!(said.contains(missing) && said.contains("setcap"), "{said}");
                assert!(error.missing().is_some_and(|cap: Capability| cap.to_string() == missing));
                assert!(matches!(error, ProbeError::PermissionDenied { .. }));
                assert_eq!(per_flow.expect_err("the same").missing(), error.missing());
            }
        }
        return;
    }
    let sets = [(&[PERFMON][..], "CAP_BPF"), (&[BPF], "CAP_PERFMON"), (&[BPF, PERFMON], "all")];
    support::with_each(NAME, &sets, Command::output);
}
