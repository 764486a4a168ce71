//! The probe `tcp_retransmits`: as many segments as the test makes the kernel
//! send again, and as the kernel itself counts. Other namespaces are filtered out.
#![cfg(feature = "probes")]
#![forbid(unsafe_code)]

#[path = "support/net.rs"]
mod net;
#[path = "support/programs.rs"]
mod programs;
mod support;
#[path = "support/tcp.rs"]
mod tcp;

use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::fchown;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, process};

use bpf_atlas::Errno;
use bpf_atlas::probes::{
    AttachKind, TcpFlow, TcpRetransmitEvent, TcpRetransmits, TcpRetransmitsBuilder, TcpState,
};
use net::*;
use tcp::*;

const NOBODY: u32 = 65534;
const ENOBUFS: Errno = Errno(105);
const EHOSTUNREACH: Errno = Errno(113);

/// A probe that sees what `left` sends again, and a witness.
fn at_left(net: &Net) -> (TcpRetransmits, Witness) {
    let [left, _] = net.inodes();
    let probe = TcpRetransmits::builder().netns(left).attach().expect("attach, as root may");
    (probe, Witness::new(left))
}

/// Waits until the probe has seen what the kernel has counted at `left`; all of it.
#[track_caller]
fn all_of(net: &Net, (probe, witness): &mut (TcpRetransmits, Witness)) -> Vec<TcpRetransmitEvent> {
    let mut events = Vec::new();
    eventually("as many segments as the kernel counts", || {
        let segs = collect(probe, &mut events);
        witness.all(segs, probe.health().unwrap().missed, net.left(retransmitted))
    });
    assert_eq!(probe.lost().unwrap(), 0);
    events
}

fn data_is_seen_as_often_as_it_is_dropped(at: IpAddr, from: IpAddr, times: u64) {
    let net = Net::with_ipv6();
    let dropper = Dropper::new(&net);
    let listener = listener(&net, at);
    let (mut near, mut far) = connect(&net, &listener);
    let to = listener.local_addr().unwrap();
    // The socket is given to another user.
    fchown(&near, Some(NOBODY), None).expect("give away a socket, as root may");
    let mut probe = at_left(&net);
    let before = SystemTime::now();
    dropper.drop(SEGMENTS, to.port(), times);
    carry(&mut near, &mut far, 1000);

    let events = all_of(&net, &mut probe);
    assert_eq!(dropper.dropped(), times);
    // Each drop makes for one more, and what else came twice came twice.
    assert_eq!(events.len() as u64, dropper.seen() - 1);
    assert!(events.len() as u64 >= times);
    let flow = TcpFlow::new(near.local_addr().unwrap(), to, net.inodes()[0]).unwrap();
    for event in &events {
        assert_eq!(event.flow, flow);
        assert_eq!((event.local().ip(), event.remote()), (from, to));
        assert_eq!((event.state, event.uid), (TcpState::TCP_ESTABLISHED, NOBODY));
        assert_eq!((event.segs, event.bytes, event.error()), (1, 1000, None));
        assert_eq!(event.seq, events[0].seq, "the same segment");
        assert!(event.pid().is_none_or(|pid| pid == process::id()), "{event:?}");
    }
    assert!(events.is_sorted_by_key(|event| event.time_ns));
    // The first to come again is one that finds out; a probe had nothing else to send.
    let probes = events.iter().filter(|event| event.is_loss_probe()).count() as u64;
    assert_eq!(probes, net.left(|| counter("netstat", "TcpExt", "TCPLossProbes")));
    assert!(events[0].is_loss_probe() && probes < events.len() as u64, "{events:?}");

    // Both ends close; the FIN is lost as well.
    dropper.drop(SEGMENTS, to.port(), 1);
    drop((near, far));
    let mut last = Vec::new();
    eventually("the FIN again", || {
        probe
            .0
            .drain(|event| {
                let slack = Duration::from_secs(1);
                assert!(event.time() + slack >= before, "{event:?}");
                assert!(event.time() <= SystemTime::now() + slack, "{event:?}");
                last.push(*event);
            })
            .unwrap();
        // Whether it has all or not: this ends the round if nobody can see it.
        let segs = events.iter().chain(&last).map(|event| u64::from(event.segs)).sum();
        probe.1.all(segs, probe.0.health().unwrap().missed, net.left(retransmitted));
        !last.is_empty()
    });
    assert_eq!((last[0].flow, last[0].bytes, last[0].segs), (flow, 0, 1));
    assert_ne!(last[0].state, TcpState::TCP_ESTABLISHED);
}

#[test]
fn data_over_ipv4_is_seen_as_often_as_it_is_dropped() {
    unless_unseen(|| data_is_seen_as_often_as_it_is_dropped(RIGHT_IP.into(), LEFT_IP.into(), 3));
}

#[test]
fn data_over_ipv6_is_seen_as_often_as_it_is_dropped() {
    unless_unseen(|| data_is_seen_as_often_as_it_is_dropped(RIGHT_IP6.into(), LEFT_IP6.into(), 3));
}

fn a_syn_is_seen_as_often_as_it_is_dropped(at: IpAddr) {
    let net = Net::with_ipv6();
    let dropper = Dropper::new(&net);
    let listener = listener(&net, at);
    let to = listener.local_addr().unwrap();
    let mut probe = at_left(&net);
    dropper.drop(SYNS, to.port(), 2);
    let (near, _far) = connect(&net, &listener);

    let events = all_of(&net, &mut probe);
    assert_eq!((dropper.seen(), dropper.dropped()), (3, 2), "SYNs");
    let flow = TcpFlow::new(near.local_addr().unwrap(), to, net.inodes()[0]).unwrap();
    let all: Vec<_> = events.iter().map(|e| (e.flow, e.state, e.segs, e.loss_probe)).collect();
    assert_eq!(all, [(flow, TcpState::TCP_SYN_SENT, 1, 0); 2]);
    assert_eq!(net.left(|| counter("netstat", "TcpExt", "TCPSynRetrans")), 2);
}

#[test]
fn a_syn_over_ipv4_is_seen_as_often_as_it_is_dropped() {
    unless_unseen(|| a_syn_is_seen_as_often_as_it_is_dropped(RIGHT_IP.into()));
}

#[test]
fn a_syn_over_ipv6_is_seen_as_often_as_it_is_dropped() {
    unless_unseen(|| a_syn_is_seen_as_often_as_it_is_dropped(RIGHT_IP6.into()));
}

#[test]
fn a_syn_ack_is_seen_as_often_as_the_syn_comes_again_whichever_way_it_is_attached() {
    use AttachKind::{RawTracepoint, TpBtf, Tracepoint};
    for kind in [TpBtf, RawTracepoint, Tracepoint] {
        unless_unseen(|| a_syn_ack_is_seen_as_often_as_the_syn_comes_again(kind));
    }
}

fn a_syn_ack_is_seen_as_often_as_the_syn_comes_again(kind: AttachKind) {
    // A listener of both families tells IPv4 as IPv4.
    let strangers = Strangers::new(Ipv6Addr::UNSPECIFIED);
    let right = strangers.inode();
    let builder = TcpRetransmits::builder().netns(right).attach_kind(kind);
    let mut probe = builder.attach().expect("attach, as root may");
    assert_eq!(probe.attach_kind(), kind);
    let witness = Witness::new(right);
    let began = Instant::now();
    let ends = [strangers.to(), strangers.to6()].map(|to| (to, Strangers::behind(to, 2000)));
    ends.iter().for_each(|&(to, _)| strangers.ask_at(to, 2000, 20));
    let mut events = Vec::new();
    eventually("each SYN-ACK again that the kernel counts", || {
        let segs = collect(&mut probe, &mut events);
        let missed = probe.health().unwrap().missed;
        let counts = strangers.net.right(retransmitted);
        // A classic tracepoint is skipped on a CPU that is inside a map system call.
        let told = kind == AttachKind::Tracepoint && segs + missed >= counts.0;
        counts.0 >= 40 && (witness.all(segs, missed, counts) || told)
    });
    if kind != AttachKind::Tracepoint && began.elapsed() < Duration::from_millis(900) {
        // No timer has sent one more.
        let v4 = events.iter().filter(|event| event.flow.family == 4).count();
        assert_eq!((events.len(), v4), (40, 20));
    }
    for event in &events {
        assert!(ends.contains(&(event.local(), event.remote())), "{event:?}");
        assert_eq!((event.state, event.segs), (TcpState::TCP_NEW_SYN_RECV, 1));
        assert_eq!((event.flow.netns, event.pid(), event.error()), (right, None, None));
    }
}

/// Transfers of which a whole first flight is lost, then one segment in 50, then up to
/// 60 at once; seen both ways.
fn a_transfer_with_losses_agrees_with_the_kernel(at: IpAddr) {
    let net = Net::with_ipv6();
    let dropper = Dropper::new(&net);
    let listener = listener(&net, at);
    let (mut near, mut far) = connect(&net, &listener);
    let to = listener.local_addr().unwrap();
    let mut probe = at_left(&net);
    let [left, _] = net.inodes();
    let counts = TcpRetransmits::builder().netns(left).attach_per_flow().expect("attach");
    // And with it the probe that looks for its end: all is to be sent again,
    // and ever more of it at once.
    dropper.drop(SEGMENTS, to.port(), 11);
    carry(&mut near, &mut far, 10 * 1400);
    let mut dropped = dropper.dropped();
    dropper.drop_some(SEGMENTS, to.port(), 0, 50, 40);
    carry(&mut near, &mut far, 4 << 20);
    dropped += dropper.dropped();
    dropper.drop_flight(SEGMENTS, to.port(), 300, 60);
    carry(&mut near, &mut far, 4 << 20);
    dropped += dropper.dropped();

    let events = all_of(&net, &mut probe);
    assert!(dropped > 60, "{dropped} were dropped");
    let segs: u64 = events.iter().map(|event| u64::from(event.segs)).sum();
    let bytes: u64 = events.iter().map(|event| u64::from(event.bytes)).sum();
    assert!(segs >= dropped, "{segs} of {dropped}");
    assert!(segs > events.len() as u64, "{segs} segments in {} buffers", events.len());
    let flow = TcpFlow::new(near.local_addr().unwrap(), to, left).unwrap();
    assert!(events.iter().all(|event| event.flow == flow));
    // What acknowledgements ask for while the sender is inside `write`, it sends itself.
    let own = Some(process::id());
    assert!(events.iter().all(|event| event.pid().is_none() || event.pid() == own));
    assert!(events.iter().any(|event| event.pid() == own));

    eventually("the same summed", || {
        let summary = counts.summary().unwrap();
        let segs = summary.flows.iter().map(|flow| flow.stat.segs).sum();
        probe.1.all(segs, summary.health.missed, net.left(retransmitted))
    });
    let summary = counts.summary().unwrap();
    let [only] = &summary.flows[..] else { panic!("one flow: {:?}", summary.flows) };
    assert_eq!(only.flow, flow);
    let stat = only.stat;
    assert_eq!((stat.retransmits, stat.segs, stat.bytes), (events.len() as u64, segs, bytes));
    let probes = events.iter().filter(|event| event.is_loss_probe()).count() as u64;
    // Those that carried new data are not sent again.
    let all_probes = net.left(|| counter("netstat", "TcpExt", "TCPLossProbes"));
    assert!(stat.loss_probes == probes && (1..=all_probes).contains(&probes), "{stat:?}");
    assert!(stat.failed == 0 && stat.first_ns <= stat.last_ns && only.first <= only.last);
    // Two programs, two readings of the clock.
    let (first, last) = (events[0].time_ns, events[events.len() - 1].time_ns);
    assert!(stat.first_ns.abs_diff(first) < 100_000_000, "{stat:?} {first}");
    assert!(stat.last_ns.abs_diff(last) < 100_000_000, "{stat:?} {last}");
    let health = summary.health;
    // Segments of other tests may be missed, inside a run for one of these.
    assert_eq!((health.entries, health.refused, health.lost), (1, 0, 0));
}

#[test]
fn a_transfer_over_ipv4_with_losses_agrees_with_the_kernel_event_by_event_and_summed() {
    unless_unseen(|| a_transfer_with_losses_agrees_with_the_kernel(RIGHT_IP.into()));
}

#[test]
fn a_transfer_over_ipv6_with_losses_agrees_with_the_kernel_event_by_event_and_summed() {
    unless_unseen(|| a_transfer_with_losses_agrees_with_the_kernel(RIGHT_IP6.into()));
}

#[test]
fn an_ipv6_socket_that_talks_ipv4_is_told_as_ipv4() {
    unless_unseen(an_ipv6_socket_is_told_as_ipv4);
}

fn an_ipv6_socket_is_told_as_ipv4() {
    let net = Net::with_ipv6();
    let dropper = Dropper::new(&net);
    let listener = listener(&net, Ipv6Addr::UNSPECIFIED);
    let port = listener.local_addr().unwrap().port();
    let mapped = SocketAddr::new(RIGHT_IP.to_ipv6_mapped().into(), port);
    let mut near = net.left(|| TcpStream::connect(mapped).expect("connect"));
    let (mut far, _) = listener.accept().expect("it is connected");
    assert!(near.local_addr().unwrap().is_ipv6());
    let mut probe = at_left(&net);
    let [left, _] = net.inodes();
    let builder = TcpRetransmits::builder().netns(left).ipv6();
    let none = builder.attach_per_flow().expect("attach");
    dropper.drop(SEGMENTS, port, 1);
    carry(&mut near, &mut far, 10);

    let events = all_of(&net, &mut probe);
    assert!(!events.is_empty());
    let near = SocketAddr::new(LEFT_IP.into(), near.local_addr().unwrap().port());
    for event in events {
        assert_eq!(event.local(), near);
        assert_eq!(event.remote(), SocketAddr::new(RIGHT_IP.into(), port));
    }
    assert_eq!(none.summary().unwrap().flows, []);
}

#[test]
fn only_the_family_the_port_and_the_namespace_that_are_asked_for() {
    let strangers = Strangers::new(Ipv6Addr::UNSPECIFIED);
    let [left, right] = strangers.net.inodes();
    let attach = |builder: TcpRetransmitsBuilder| builder.attach().expect("attach");
    let here = || TcpRetransmits::builder().netns(right);
    // What the probe takes, and of which family and which port of the stranger.
    let mut probes = [
        (attach(here()), 0, 0),
        (attach(here().ipv4()), 4, 0),
        (attach(here().ipv6()), 6, 0),
        (attach(here().port(3001)), 0, 3001),
        (attach(here().port(strangers.port)), 0, 0),
        (attach(here().ipv6().port(3001)), 6, 3001),
        (attach(here().port(9)), 0, 9),
    ];
    let mut elsewhere = attach(TcpRetransmits::builder().netns(left));
    let began = Instant::now();
    strangers.ask_at(strangers.to(), 3000, 3);
    strangers.ask_at(strangers.to(), 3001, 5);
    strangers.ask_at(strangers.to6(), 3000, 7);
    strangers.ask_at(strangers.to6(), 3001, 11);
    for (probe, family, rport) in &mut probes {
        let mut events = Vec::new();
        eventually("what the kernel counts at least", || {
            let segs = collect(probe, &mut events);
            let wanted = |event: &TcpRetransmitEvent| {
                [0, event.flow.family].contains(family) && [0, event.flow.rport].contains(rport)
            };
            assert!(events.iter().all(wanted), "{family} {rport}: {events:?}");
            let least = match (*family, *rport) {
                (0, 0) => 26,
                (4, 0) => 8,
                (6, 0) => 18,
                (0, 3001) => 16,
                (6, 3001) => 11,
                _ => 0,
            };
            // A timer sends one more after a second.
            assert!(segs <= least || began.elapsed() > Duration::from_millis(900));
            segs >= least
        });
    }
    assert_eq!(collect(&mut elsewhere, &mut Vec::new()), 0);
}

/// Whether the kernel tells of failures; if not, a word that `test` was skipped.
fn tells_of_failures(test: &str) -> bool {
    let format = "/sys/kernel/tracing/events/tcp/tcp_retransmit_skb/format";
    let tells = fs::read_to_string(format).is_ok_and(|format| format.contains("int err"));
    if !tells {
        support::skipped(test, "this kernel does not tell of failures, or no tracefs");
    }
    tells
}

/// Attempts that fail with `why` when `break_it` has been done to a connection
/// on which something was lost: how often, as two probes and the kernel have it.
fn failures(why: Errno, break_it: impl FnOnce() + Send, net: &Net) -> (u64, u64) {
    let dropper = Dropper::new(net);
    let listener = listener(net, RIGHT_IP);
    let (mut near, _far) = connect(net, &listener);
    let [left, _] = net.inodes();
    let builder = || TcpRetransmits::builder().netns(left);
    let mut with = builder().failed(true).attach().expect("attach");
    let mut without = builder().attach().expect("attach");
    let counts = builder().failed(true).attach_per_flow().expect("attach");
    let witness = Witness::new(left);
    dropper.drop(SEGMENTS, listener.local_addr().unwrap().port(), u64::MAX);
    near.write_all(&[7; 1000]).unwrap();
    net.left(break_it);
    let mut events = Vec::new();
    let failed = |events: &[TcpRetransmitEvent]| {
        events.iter().filter(|event| event.error().is_some()).count() as u64
    };
    eventually("three failures", || {
        collect(&mut with, &mut events);
        failed(&events) >= 3
    });
    let mut counted_failed = 0;
    eventually("as many as the kernel counts", || {
        collect(&mut with, &mut events);
        let done = events.len() as u64 - failed(&events);
        let counts = net.left(retransmitted);
        counted_failed = counts.1;
        witness.all(done, with.health().unwrap().missed, counts)
    });
    for event in &events {
        let flow = (event.local(), event.remote());
        assert_eq!(flow, (near.local_addr().unwrap(), near.peer_addr().unwrap()));
        assert!([None, Some(why)].contains(&event.error()), "{event:?}");
    }
    let done = events.len() as u64 - failed(&events);
    assert_eq!(collect(&mut without, &mut Vec::new()), done);
    let stat = counts.summary().unwrap().flows[0].stat;
    assert!(stat.failed >= failed(&events) && stat.retransmits == done, "{stat:?}");
    (failed(&events), counted_failed)
}

#[test]
fn what_has_no_route_is_told_only_if_asked_for_and_in_no_sum() {
    if !tells_of_failures("what_has_no_route_is_told_only_if_asked_for_and_in_no_sum") {
        return;
    }
    let no_route = || {
        ip(&format!("route delete 192.0.2.0/24 dev {LEFT}"));
    };
    unless_unseen(|| {
        let (_, counted) = failures(EHOSTUNREACH, no_route, &Net::new());
        assert_eq!(counted, 0, "it never came to sending");
    });
}

#[test]
fn what_the_queue_drops_is_told_only_if_asked_for_and_taken_from_the_sum() {
    const NAME: &str = "what_the_queue_drops_is_told_only_if_asked_for_and_taken_from_the_sum";
    if !tells_of_failures(NAME) {
        return;
    }
    let tc = |arguments: &str| {
        let status = Command::new("tc").args(arguments.split(' ')).status();
        status.is_ok_and(|status| status.success())
    };
    // No packet of the test fits into such a queue.
    let no_room = || tc(&format!("qdisc add dev {LEFT} root bfifo limit 100"));
    if !Net::new().left(|| no_room() && tc(&format!("qdisc delete dev {LEFT} root"))) {
        return support::skipped(NAME, "no `tc`, or a kernel without bfifo");
    }
    unless_unseen(|| {
        let (told, counted) = failures(ENOBUFS, || assert!(no_room()), &Net::new());
        assert!(counted >= told, "{told} of {counted}");
    });
}
