//! The probe `recent_ips` on a real interface.
#![cfg(feature = "probes")]
#![forbid(unsafe_code)]

#[path = "support/net.rs"]
mod net;
mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime};

use bpf_atlas::probes::{AttachKind, ProbeError, RecentIps, RecentIpsBuilder, XdpMode};
use net::*;

const UDP: u8 = 17;

fn v4_peer(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + n)
}

fn v6_peer(n: u32) -> Ipv6Addr {
    Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0000_0000 + u128::from(n))
}

fn attach(net: &Net, builder: RecentIpsBuilder) -> RecentIps {
    net.right(|| builder.attach()).expect("attach to a veth")
}

fn seen(recent: &RecentIps) -> u64 {
    let totals = recent.totals().unwrap();
    totals.packets + totals.other_packets
}

fn each_sender_with_exact_packets_and_bytes(mode: XdpMode, kind: AttachKind) {
    let net = Net::new();
    let recent = attach(&net, RecentIps::builder(RIGHT).mode(mode));
    assert_eq!(recent.attach_kind(), kind);
    let sender = net.sender();
    let before = SystemTime::now();

    let mut expected = BTreeMap::<IpAddr, (u64, u64)>::new();
    let mut sent = 0;
    let mut send = |from: IpAddr, frame: &[u8]| {
        sender.send(frame);
        let (packets, bytes) = expected.entry(from).or_default();
        *packets += 1;
        *bytes += frame.len() as u64;
        sent += 1;
        if sent % 50 == 0 {
            eventually("arrived", || seen(&recent) >= sent);
        }
    };
    for n in 1..=100 {
        let (v4, v6) = (v4_peer(n), v6_peer(n));
        for packet in 0..n % 5 + 1 {
            let payload = vec![0; (n * 7 + packet) as usize];
            send(v4.into(), &ethernet(ETH_IPV4, &ipv4(v4, UDP, &payload)));
            send(v6.into(), &ethernet(ETH_IPV6, &ipv6(v6, UDP, &payload)));
        }
        // The same senders in a VLAN, and in a VLAN of a VLAN.
        let tagged = vlan(7, ETH_IPV4, &ipv4(v4, UDP, &[0; 8]));
        send(v4.into(), &ethernet(ETH_VLAN, &tagged));
        let tagged = vlan(8, ETH_VLAN, &vlan(7, ETH_IPV6, &ipv6(v6, UDP, &[0; 8])));
        send(v6.into(), &ethernet(ETH_QINQ, &tagged));
    }
    // An IPv4 address and the IPv6 address that stands for it are two senders.
    let (v4, mapped) = (v4_peer(1), v4_peer(1).to_ipv6_mapped());
    send(v4.into(), &ethernet(ETH_IPV4, &ipv4(v4, UDP, b"")));
    send(mapped.into(), &ethernet(ETH_IPV6, &ipv6(mapped, UDP, b"")));
    // Without a sender: no IP, cut off, or the wrong version.
    let others = [
        ethernet(ETH_ARP, &[0; 28]),
        ethernet(ETH_IPV4, &ipv4(v4, UDP, b"")[..19]),
        ethernet(ETH_IPV6, &ipv6(v6_peer(1), UDP, b"")[..39]),
        ethernet(ETH_IPV4, &ipv6(v6_peer(1), UDP, b"")),
    ];
    others.iter().for_each(|frame| sender.send(frame));
    sent += others.len() as u64;
    eventually("all have arrived", || seen(&recent) >= sent);
    let after = SystemTime::now();

    let reading = recent.recent().unwrap();
    let found: BTreeMap<_, _> =
        reading.senders.iter().map(|s| (s.address, (s.packets, s.bytes))).collect();
    assert_eq!(reading.senders.len(), found.len(), "each sender once");
    assert_eq!(found, expected);
    // The two clocks are read one after the other; and the wall clock may be set.
    let slack = Duration::from_secs(1);
    for sender in &reading.senders {
        assert!(sender.first_seen <= sender.last_seen);
        assert!(sender.stat.first_ns <= sender.stat.last_ns && sender.stat.first_ns > 0);
        assert!(sender.first_seen + slack >= before && sender.last_seen <= after + slack);
    }

    let sum = |f: fn(&(u64, u64)) -> u64| expected.values().map(f).sum::<u64>();
    let totals = recent.totals().unwrap();
    assert_eq!((totals.packets, totals.bytes), (sum(|e| e.0), sum(|e| e.1)));
    let other_bytes = others.iter().map(|frame| frame.len() as u64).sum();
    assert_eq!((totals.other_packets, totals.other_bytes), (others.len() as u64, other_bytes));
    assert_eq!((totals.refused_packets, totals.refused_bytes), (0, 0));
    assert_eq!(reading.totals, totals);
    assert_eq!((reading.evicted.packets, reading.evicted.bytes), (0, 0));
    let entries = expected.len() as u64;
    assert_eq!(
        (reading.health.entries, reading.health.capacity, reading.health.dropped()),
        (entries, 10240, 0)
    );
    assert_eq!(reading.health, recent.health().unwrap());

    let (packets, bytes) = expected[&IpAddr::from(v6_peer(33))];
    let stat = recent.lookup(v6_peer(33)).unwrap().expect("a sender that was seen");
    assert_eq!((stat.packets, stat.bytes), (packets, bytes));
    assert_eq!(recent.lookup(v4_peer(4321)).unwrap(), None);
    let walked: BTreeMap<_, _> = recent
        .iter()
        .map(|entry| entry.map(|(ip, s)| (ip, (s.packets, s.bytes))))
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(walked, expected);
}

#[test]
fn each_sender_is_seen_with_exact_packets_and_bytes_in_native_mode() {
    each_sender_with_exact_packets_and_bytes(XdpMode::Native, AttachKind::XdpNative);
}

#[test]
fn each_sender_is_seen_with_exact_packets_and_bytes_in_generic_mode() {
    each_sender_with_exact_packets_and_bytes(XdpMode::Generic, AttachKind::XdpGeneric);
}

#[test]
fn g5_cpus_that_race_on_new_senders_lose_no_packet() {
    let net = Net::new();
    let recent = attach(&net, RecentIps::builder(RIGHT).mode(XdpMode::Generic).capacity(100_000));
    let cpus = support::allowed_cpus();
    let (rounds, burst) = (100, 40);
    let start = Barrier::new(cpus.len());
    for round in 0..rounds {
        thread::scope(|scope| {
            for &cpu in &cpus {
                let (net, start) = (&net, &start);
                scope.spawn(move || {
                    support::pin_to(cpu);
                    let sender = net.sender();
                    start.wait();
                    for n in 0..burst {
                        let new = v6_peer(round * burst + n);
                        sender.send(&ethernet(ETH_IPV6, &ipv6(new, UDP, b"")));
                    }
                });
            }
        });
        // No more under way than the queues of the kernel hold.
        let sent = u64::from((round + 1) * burst) * cpus.len() as u64;
        eventually("all have arrived", || seen(&recent) >= sent);
    }
    let reading = recent.recent().unwrap();
    assert_eq!(reading.senders.len() as u32, rounds * burst);
    assert_eq!((reading.evicted.packets, reading.health.dropped()), (0, 0));
    for sender in &reading.senders {
        assert_eq!(sender.packets, cpus.len() as u64, "{sender:?}");
        assert!(sender.stat.first_ns <= sender.stat.last_ns, "{sender:?}");
    }
}

#[test]
fn a_full_lru_refuses_no_one_and_says_what_it_dropped() {
    let net = Net::new();
    let recent = attach(&net, RecentIps::builder(RIGHT).capacity(100));
    let sender = net.sender();
    let (senders, len) = (1000, 14 + 20);
    for n in 1..=senders {
        sender.send(&ethernet(ETH_IPV4, &ipv4(v4_peer(n), UDP, b"")));
        if n % 50 == 0 {
            eventually("arrived", || seen(&recent) >= u64::from(n));
        }
    }
    let reading = recent.recent().unwrap();
    let held = reading.senders.len() as u64;
    // The kernel gives room out in portions a CPU: on 16 CPUs and older kernels
    // 22 of 100 were seen to stay, on 2 CPUs 51 and more.
    assert!((10..=100).contains(&held), "{held} of {senders} held");
    assert!(reading.senders.iter().all(|s| (s.packets, s.bytes) == (1, len)));
    assert_eq!((reading.totals.packets, reading.totals.refused_packets), (senders.into(), 0));
    let evicted = u64::from(senders) - held;
    assert_eq!((reading.evicted.packets, reading.evicted.bytes), (evicted, evicted * len));
    assert_eq!((reading.health.entries, reading.health.dropped()), (held, 0));
    assert!((100..200).contains(&reading.health.capacity), "{:?}", reading.health);
    // It drops those of long ago.
    assert!(recent.lookup(v4_peer(senders)).unwrap().is_some());
    assert!(recent.lookup(v4_peer(1)).unwrap().is_none());
}

#[test]
fn who_keeps_sending_stays_and_reading_keeps_no_one() {
    let net = Net::new();
    let recent = attach(&net, RecentIps::builder(RIGHT).capacity(200));
    let sender = net.sender();
    let faithful = v4_peer(1_000_000);
    let watched = v4_peer(2_000_000);
    let mut sent = 0;
    let mut send = |from| {
        sender.send(&ethernet(ETH_IPV4, &ipv4(from, UDP, b"")));
        sent += 1;
        if sent % 50 == 0 {
            eventually("arrived", || seen(&recent) >= sent);
        }
    };
    send(watched);
    for n in 0..2000 {
        send(v4_peer(n));
        send(faithful);
        recent.lookup(watched).unwrap();
    }
    let stat = recent.lookup(faithful).unwrap().expect("the one that never paused");
    assert!(stat.packets >= 1990, "all but what is under way: {stat:?}");
    assert_eq!(recent.lookup(watched).unwrap(), None);
}

#[test]
fn a_capacity_of_zero_is_refused_and_of_one_works() {
    let net = Net::new();
    let error = net.right(|| RecentIps::builder(RIGHT).capacity(0).attach()).unwrap_err();
    assert!(matches!(error, ProbeError::InvalidOption { .. }), "{error:?}");
    let recent = attach(&net, RecentIps::builder(RIGHT).capacity(1));
    let sender = net.sender();
    for n in 1..=20 {
        sender.send(&ethernet(ETH_IPV4, &ipv4(v4_peer(n), UDP, b"")));
    }
    eventually("arrived", || seen(&recent) == 20);
    let reading = recent.recent().unwrap();
    let held: u64 = reading.senders.iter().map(|s| s.packets).sum();
    // With room for fewer than there are CPUs the kernel may refuse as well.
    assert_eq!(held + reading.evicted.packets + reading.totals.refused_packets, 20);
    assert_eq!(reading.health.refused, reading.totals.refused_packets);
}

#[test]
fn g8_dropping_the_handle_detaches_and_its_maps_stay_readable() {
    let net = Net::new();
    let recent = attach(&net, RecentIps::builder(RIGHT));
    let sender = net.sender();
    let frame = ethernet(ETH_IPV4, &ipv4(v4_peer(1), UDP, b""));
    sender.send(&frame);
    eventually("arrived", || seen(&recent) == 1);
    assert!(net.has_xdp());
    let maps = recent.maps().clone();
    drop(recent);
    assert!(!net.has_xdp());
    sender.send(&frame);
    assert_eq!(maps.peers.lookup(net_peer(1)).unwrap().map(|stat| stat.packets), Some(1));
    assert_eq!(maps.totals.sum().unwrap().packets, 1);
}

fn net_peer(n: u32) -> bpf_atlas::probes::Peer {
    IpAddr::from(v4_peer(n)).into()
}

#[test]
fn g8_a_process_that_is_killed_leaves_nothing_attached() {
    const NAME: &str = "g8_a_process_that_is_killed_leaves_nothing_attached";
    if support::role().is_some() {
        let _recent = RecentIps::builder(RIGHT).attach().expect("attach in the child");
        thread::sleep(Duration::from_secs(600));
    }
    nothing_stays_attached(support::child(NAME, "hold"));
}
