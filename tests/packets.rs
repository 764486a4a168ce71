//! The probe `packets` on a real interface: every frame in its place, whatever
//! it holds.
#![cfg(feature = "probes")]
#![forbid(unsafe_code)]

#[path = "support/net.rs"]
mod net;
mod support;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use bpf_atlas::Capability;
use bpf_atlas::probes::{AttachKind, Packets, ProbeError, Protocol, Traffic, XdpMode};
use net::*;

use Protocol::{Ipv4, Ipv6, Malformed, Other};

const V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(ETH_IPV4, &ipv4(V4, protocol, payload))
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(ETH_IPV6, &ipv6(V6, next, payload))
}

/// Frames of all sorts and what each is to be counted as.
fn frames() -> Vec<(&'static str, Protocol, Vec<u8>)> {
    let udp = [7; 8];
    let chain = |n: usize| {
        (0..n).fold(udp.to_vec(), |rest, i| extension(if i == 0 { UDP } else { 60 }, 0, &rest))
    };
    let mut frames = vec![
        ("UDP", Ipv4(UDP), v4(UDP, &udp)),
        ("TCP", Ipv4(TCP), v4(TCP, &[0; 20])),
        ("ICMP", Ipv4(ICMP), v4(ICMP, &[8, 0, 0, 0, 0, 1, 0, 1])),
        ("full-size UDP", Ipv4(UDP), v4(UDP, &[0; 1480])),
        ("an unknown protocol", Ipv4(200), v4(200, b"?")),
        ("IPv4 without payload", Ipv4(255), v4(255, b"")),
        ("IPv4 with options", Ipv4(TCP), {
            ethernet(ETH_IPV4, &ipv4_with(V4, TCP, 0, &[1; 40], &[0; 20]))
        }),
        ("a later IPv4 fragment", Ipv4(UDP), {
            ethernet(ETH_IPV4, &ipv4_with(V4, UDP, 100, &[], &[0; 32]))
        }),
        ("a first IPv4 fragment", Ipv4(ICMP), {
            ethernet(ETH_IPV4, &ipv4_with(V4, ICMP, 0x2000, &[], &[0; 32]))
        }),
        ("UDP over IPv6", Ipv6(UDP), v6(UDP, &udp)),
        ("TCP over IPv6", Ipv6(TCP), v6(TCP, &[0; 20])),
        ("ICMPv6", Ipv6(ICMPV6), v6(ICMPV6, &[128, 0, 0, 0, 0, 1, 0, 1])),
        ("no next header", Ipv6(59), v6(59, b"")),
        ("hop-by-hop", Ipv6(ICMPV6), v6(0, &extension(ICMPV6, 0, &[143, 0, 0, 0]))),
        ("a long routing header", Ipv6(TCP), v6(43, &extension(TCP, 4, &[0; 20]))),
        ("authentication", Ipv6(TCP), v6(51, &[&[TCP, 4][..], &[0; 22], &[0; 20]].concat())),
        ("a first IPv6 fragment", Ipv6(UDP), v6(44, &fragment(UDP, 0, &udp))),
        ("options behind authentication", Ipv6(UDP), {
            let options = extension(UDP, 0, &udp);
            v6(51, &[&[60, 4][..], &[0; 22], &options].concat())
        }),
        ("options in a first IPv6 fragment", Ipv6(UDP), {
            v6(44, &fragment(60, 0, &extension(UDP, 0, &udp)))
        }),
        ("options in a later IPv6 fragment", Ipv6(60), {
            v6(44, &fragment(60, 1, &extension(UDP, 0, &udp)))
        }),
        ("a later IPv6 fragment", Ipv6(UDP), v6(44, &fragment(UDP, 3, &udp))),
        ("a fragment behind options", Ipv6(TCP), {
            v6(60, &extension(44, 1, &fragment(TCP, 9, &[0; 8])))
        }),
        ("eight extension headers", Ipv6(UDP), v6(60, &chain(8))),
        ("ESP over IPv6", Ipv6(50), v6(50, &[0; 16])),
        ("one VLAN tag", Ipv4(UDP), {
            ethernet(ETH_VLAN, &vlan(7, ETH_IPV4, &ipv4(V4, UDP, &udp)))
        }),
        ("two VLAN tags", Ipv6(TCP), {
            let inner = vlan(8, ETH_IPV6, &ipv6(V6, TCP, &[0; 20]));
            ethernet(ETH_QINQ, &vlan(7, ETH_VLAN, &inner))
        }),
        ("ARP", Other, ethernet(ETH_ARP, &[0; 28])),
        ("LLDP", Other, ethernet(0x88cc, &[0; 46])),
        ("802.3", Other, ethernet(46, &[0xaa; 46])),
        ("ARP in a VLAN", Other, ethernet(ETH_VLAN, &vlan(7, ETH_ARP, &[0; 28]))),
        ("nine extension headers", Malformed, v6(60, &chain(9))),
        ("three VLAN tags", Malformed, {
            let inner = vlan(9, ETH_VLAN, &vlan(1, ETH_IPV4, &ipv4(V4, UDP, &udp)));
            ethernet(ETH_QINQ, &vlan(7, ETH_VLAN, &inner))
        }),
        ("IPv6 in an IPv4 frame", Malformed, ethernet(ETH_IPV4, &ipv6(V6, UDP, &udp))),
        ("IPv4 in an IPv6 frame", Malformed, { ethernet(ETH_IPV6, &ipv4(V4, UDP, &[0; 40])) }),
        ("an IPv4 header length of 16", Malformed, {
            let mut packet = ipv4(V4, UDP, &udp);
            packet[0] = 0x44;
            ethernet(ETH_IPV4, &packet)
        }),
        ("IPv4 options past the end", Malformed, {
            let mut packet = ipv4(V4, UDP, &udp);
            packet[0] = 0x4f;
            ethernet(ETH_IPV4, &packet)
        }),
        ("an extension header past the end", Malformed, v6(43, &[UDP, 9, 0, 0, 0, 0, 0, 0])),
        ("half a fragment header", Malformed, v6(44, &[UDP, 0, 0, 8])),
    ];
    // Cut off within its header, at every byte.
    for len in 15..34 {
        frames.push(("cut IPv4", Malformed, v4(UDP, &udp)[..len].into()));
    }
    for len in 15..54 {
        frames.push(("cut IPv6", Malformed, v6(UDP, &udp)[..len].into()));
    }
    let tagged = ethernet(ETH_VLAN, &vlan(7, ETH_IPV4, &ipv4(V4, UDP, &udp)));
    for len in 15..38 {
        frames.push(("cut in a VLAN", Malformed, tagged[..len].into()));
    }
    frames.push(("a header and nothing behind", Ipv4(UDP), v4(UDP, &udp)[..34].into()));
    frames
}

fn sorted(totals: Vec<(Protocol, Traffic)>) -> BTreeMap<Protocol, Traffic> {
    totals.into_iter().collect()
}

fn attach(net: &Net, mode: XdpMode) -> Packets {
    net.right(|| Packets::builder(RIGHT).mode(mode).attach()).expect("attach to a veth")
}

fn every_frame_in_its_place(mode: XdpMode, kind: AttachKind) {
    let net = Net::new();
    let packets = attach(&net, mode);
    assert_eq!(packets.attach_kind(), kind);
    let mut rates = packets.rates();
    let sender = net.sender();
    let mut expected = BTreeMap::<Protocol, Traffic>::new();
    let mut sent = 0;
    for (number, (what, protocol, frame)) in frames().into_iter().enumerate() {
        // Each another number of times, so that no two can be taken for each other.
        for _ in 0..number % 7 + 1 {
            sender.send(&frame);
            let total = expected.entry(protocol).or_default();
            total.packets += 1;
            total.bytes += frame.len() as u64;
            sent += 1;
        }
        eventually(what, || packets.total().unwrap().packets >= sent);
        assert_eq!(sorted(packets.totals().unwrap()), expected, "after {what}");
    }

    let by_cpu = packets.totals_by_cpu().unwrap();
    let summed = by_cpu.into_iter().map(|(protocol, cpus)| (protocol, cpus.sum()));
    assert_eq!(sorted(summed.collect()), expected);
    let mut total = Traffic::default();
    for (&protocol, traffic) in &expected {
        assert_eq!(packets.total_of(protocol).unwrap(), *traffic);
        total.packets += traffic.packets;
        total.bytes += traffic.bytes;
    }
    assert_eq!(packets.total().unwrap(), total);
    assert_eq!(packets.total_of(Ipv4(77)).unwrap(), Traffic::default());

    let grown = |tick: bpf_atlas::Tick<u32, Traffic>| -> u64 {
        tick.rates.iter().map(|rate| rate.delta.packets).sum()
    };
    assert_eq!(grown(rates.tick().unwrap()), total.packets);
    assert_eq!(grown(rates.tick().unwrap()), 0);
    let health = packets.health().unwrap();
    assert_eq!((health.entries, health.dropped()), (expected.len() as u64, 0));
}

#[test]
fn every_frame_is_counted_once_and_in_its_place_in_native_mode() {
    every_frame_in_its_place(XdpMode::Native, AttachKind::XdpNative);
}

#[test]
fn every_frame_is_counted_once_and_in_its_place_in_generic_mode() {
    every_frame_in_its_place(XdpMode::Generic, AttachKind::XdpGeneric);
}

#[test]
fn g5_packets_that_arrive_on_all_cpus_are_all_counted() {
    let net = Net::new();
    let packets = attach(&net, XdpMode::Generic);
    let cpus = support::allowed_cpus();
    let frame = v4(UDP, &[0; 100]);
    let (rounds, burst) = (200, 50);
    for round in 1..=rounds {
        thread::scope(|scope| {
            for &cpu in &cpus {
                let (net, frame) = (&net, &frame);
                scope.spawn(move || {
                    support::pin_to(cpu);
                    let sender = net.sender();
                    (0..burst).for_each(|_| sender.send(frame));
                });
            }
        });
        // No more under way than the queues of the kernel hold.
        let sent = (round * burst * cpus.len()) as u64;
        eventually("all have arrived", || packets.total().unwrap().packets >= sent);
    }
    let sent = (rounds * burst * cpus.len()) as u64;
    let total = Traffic { packets: sent, bytes: sent * frame.len() as u64 };
    assert_eq!(packets.totals().unwrap(), [(Ipv4(UDP), total)]);
    let [(_, by_cpu)] = &packets.totals_by_cpu().unwrap()[..] else { panic!("one protocol") };
    assert_eq!(by_cpu.iter().map(|cpu| cpu.packets).sum::<u64>(), sent);
    assert!(cpus.iter().all(|&cpu| by_cpu[cpu].packets > 0), "{by_cpu:?}");
}

#[test]
fn datagrams_of_ordinary_sockets_are_counted_and_still_delivered() {
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let net = Net::new();
        let packets = attach(&net, mode);
        let receiver = net.right(|| UdpSocket::bind((RIGHT_IP, 0)).unwrap());
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let to = receiver.local_addr().unwrap();
        let sender = net.left(|| UdpSocket::bind((LEFT_IP, 0)).unwrap());
        let mut buffer = [0; 2000];
        for len in (0..1000).step_by(10) {
            sender.send_to(&buffer[..len], to).unwrap();
            assert_eq!(receiver.recv(&mut buffer).unwrap(), len, "passed on whole");
        }
        let bytes = (0..1000).step_by(10).map(|len| 14 + 20 + 8 + len).sum();
        assert_eq!(packets.totals().unwrap(), [(Ipv4(UDP), Traffic { packets: 100, bytes })]);
    }
}

#[test]
fn frames_of_several_buffers_are_counted_whole() {
    let net = Net::with_mtu(9000);
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let packets = attach(&net, mode);
        let sender = net.sender();
        let mut bytes = 0;
        for (n, len) in [8, 2000, 4000, 8000, 8972].into_iter().enumerate() {
            let frame = v4(UDP, &vec![0; len]);
            sender.send(&frame);
            bytes += frame.len() as u64;
            eventually("a jumbo frame", || packets.total().unwrap().packets > n as u64);
        }
        assert_eq!(packets.totals().unwrap(), [(Ipv4(UDP), Traffic { packets: 5, bytes })]);
    }
}

#[test]
fn auto_is_native_where_the_driver_can_and_generic_elsewhere() {
    let net = Net::new();
    let packets = attach(&net, XdpMode::Auto);
    assert_eq!(packets.attach_kind(), AttachKind::XdpNative);
    assert_eq!((packets.link().interface(), packets.link().is_attached().unwrap()), (RIGHT, true));
    let by_number = packets.link().ifindex();
    drop(packets);
    let packets = net.right(|| Packets::builder(by_number).attach()).unwrap();
    assert_eq!(packets.link().interface(), RIGHT);
    drop(packets);
    net.right(|| ip(&format!("link property add dev {RIGHT} altname another")));
    let packets = net.right(|| Packets::builder("another").attach()).unwrap();
    assert_eq!(packets.link().interface(), RIGHT);

    // The loopback of a new namespace; its driver has no XDP.
    let packets = net.right(|| Packets::builder("lo").attach()).unwrap();
    assert_eq!(packets.attach_kind(), AttachKind::XdpGeneric);
    drop(packets);
    let native = net.right(|| Packets::builder("lo").mode(XdpMode::Native).attach());
    let message = native.expect_err("no driver support").to_string();
    assert!(message.starts_with("native XDP on lo needs a driver"), "{message}");
}

#[test]
fn what_cannot_be_attached_says_why() {
    let net = Net::new();
    let refused = |builder: bpf_atlas::probes::PacketsBuilder| {
        net.right(|| builder.attach()).expect_err("refused")
    };
    let error = refused(Packets::builder("nosuchif0"));
    assert!(matches!(error, ProbeError::InvalidOption { .. }), "{error:?}");
    assert!(error.to_string().contains("there is no interface nosuchif0"), "{error}");
    for name in ["", "with\0nul", "a-name-longer-than-any-interface-can-have"] {
        assert!(matches!(refused(Packets::builder(name)), ProbeError::InvalidOption { .. }));
    }
    for number in [0, 999_999, u32::MAX] {
        let error = refused(Packets::builder(number));
        assert!(matches!(error, ProbeError::InvalidOption { .. }), "{error:?}");
    }

    for (first, second) in [
        (XdpMode::Native, XdpMode::Native),
        (XdpMode::Native, XdpMode::Generic),
        (XdpMode::Generic, XdpMode::Native),
        (XdpMode::Generic, XdpMode::Generic),
    ] {
        let holder = attach(&net, first);
        let error = refused(Packets::builder(RIGHT).mode(second));
        assert!(matches!(error, ProbeError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains("a second XDP program on right"), "{error}");
        let error = refused(Packets::builder(RIGHT));
        assert!(matches!(&error, ProbeError::NotAttached { tried, .. } if tried.len() == 2));
        drop(holder);
    }
}

#[test]
fn an_interface_without_ethernet_headers_is_refused() {
    const NAME: &str = "an_interface_without_ethernet_headers_is_refused";
    if !std::path::Path::new("/dev/net/tun").exists() {
        return support::skipped(NAME, "no /dev/net/tun");
    }
    let net = Net::new();
    let error = net.right(|| {
        ip("tuntap add dev tun0 mode tun");
        Packets::builder("tun0").attach().expect_err("no Ethernet headers")
    });
    assert!(error.to_string().starts_with("packets on tun0 needs an interface with"), "{error}");
}

#[test]
fn g8_dropping_the_handle_detaches_and_its_map_stays_readable() {
    let net = Net::new();
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let packets = attach(&net, mode);
        assert!(net.has_xdp());
        let sender = net.sender();
        sender.send(&v4(UDP, &[0; 8]));
        eventually("one frame", || packets.total().unwrap().packets == 1);
        // A handle is free to go to another thread.
        let maps = thread::spawn(move || packets.maps().clone()).join().unwrap();
        assert!(!net.has_xdp());
        sender.send(&v4(UDP, &[0; 8]));
        assert_eq!(maps.protocols.sum().unwrap().packets, 1);
    }
}

#[test]
fn g8_an_interface_that_goes_is_noticed() {
    let net = Net::new();
    let packets = attach(&net, XdpMode::Auto);
    let sender = net.sender();
    sender.send(&v4(UDP, &[0; 8]));
    eventually("one frame", || packets.total().unwrap().packets == 1);
    net.remove();
    assert!(!packets.link().is_attached().unwrap());
    assert_eq!(packets.total().unwrap().packets, 1);
}

#[test]
fn g8_a_process_that_is_killed_leaves_nothing_attached() {
    const NAME: &str = "g8_a_process_that_is_killed_leaves_nothing_attached";
    if support::role().is_some() {
        let _packets = Packets::builder(RIGHT).attach().expect("attach in the child");
        thread::sleep(Duration::from_secs(600));
    }
    nothing_stays_attached(support::child(NAME, "hold"));
}

#[test]
fn g9_the_missing_capability_is_named_and_three_are_enough() {
    const NAME: &str = "g9_the_missing_capability_is_named_and_three_are_enough";
    const NET_ADMIN: u32 = 12;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    if let Some(role) = support::role() {
        let attached = Packets::builder(RIGHT).attach();
        match role.as_str() {
            "all" => {
                let packets = attached.expect("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are enough");
                assert_eq!(packets.total().unwrap(), Traffic::default());
            }
            missing => {
                let error = attached.expect_err("a capability is missing");
                let said = error.to_string();
                assert!(said.contains(missing) && said.contains("setcap"), "{said}");
                assert!(error.missing().is_some_and(|cap: Capability| cap.to_string() == missing));
            }
        }
        return;
    }
    let net = Net::new();
    let sets = [
        (&[NET_ADMIN, PERFMON][..], "CAP_BPF"),
        (&[BPF, PERFMON], "CAP_NET_ADMIN"),
        (&[BPF, NET_ADMIN], "CAP_PERFMON"),
        (&[BPF, NET_ADMIN, PERFMON], "all"),
    ];
    support::with_each(NAME, &sets, |child| net.right(|| child.output()));
}
