//! TCP between two namespaces of the test's own, whose segments get lost when
//! and as often as the test says, and what the kernel counts of it.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use bpf_atlas::MappedArray;
use bpf_atlas::probes::{TcpRetransmitEvent, TcpRetransmits};
use libbpf_rs::Link;
use nix::net::if_::if_nametoindex;

use crate::net::*;
use crate::programs::Programs;

/// Drops segments that come to `right`: `tests/bpf/drop_tcp.bpf.c`.
pub struct Dropper {
    control: MappedArray<u64>,
    _link: Link,
    _programs: Programs,
}

/// Segments with payload or FIN.
pub const SEGMENTS: u64 = 0;
pub const SYNS: u64 = 1;

const PORT: u32 = 0;
const WHAT: u32 = 1;
const AFTER: u32 = 2;
const ONE_IN: u32 = 3;
const LIMIT: u32 = 4;
const SEEN: u32 = 5;
const DROPPED: u32 = 6;
const FOR_NS: u32 = 7;
const FIRST: u32 = 8;

impl Dropper {
    /// Lets everything pass as yet.
    pub fn new(net: &Net) -> Self {
        let (programs, link) = net.right(|| {
            let programs = Programs::load("drop_tcp");
            let index = if_nametoindex(RIGHT).expect("an interface of our own");
            let link = programs.program("drop_tcp").attach_xdp(index as i32);
            (programs, link.expect("attach to a veth"))
        });
        Self { control: programs.control(), _link: link, _programs: programs }
    }

    /// The first `times` that are sent to `port`.
    pub fn drop(&self, what: u64, port: u16, times: u64) {
        self.drop_some(what, port, 0, 1, times);
    }

    /// One in `one_in` of what is sent to `port`, once `after` have passed and
    /// until `limit` are dropped.
    pub fn drop_some(&self, what: u64, port: u16, after: u64, one_in: u64, limit: u64) {
        self.set(what, port, [(AFTER, after), (ONE_IN, one_in), (LIMIT, limit), (FOR_NS, 0)]);
    }

    /// Up to `limit` on end that are sent to `port`, once `after` have passed: no more than
    /// were under way, since what is sent again comes later than in a tenth of a second.
    pub fn drop_flight(&self, what: u64, port: u16, after: u64, limit: u64) {
        let briefly = 100_000_000;
        self.set(what, port, [(AFTER, after), (ONE_IN, 1), (LIMIT, limit), (FOR_NS, briefly)]);
    }

    fn set(&self, what: u64, port: u16, rule: [(u32, u64); 4]) {
        let words = [(PORT, port.into()), (WHAT, what), (SEEN, 0), (DROPPED, 0), (FIRST, 0)];
        for (word, value) in words.into_iter().chain(rule) {
            self.control.store(word, value).unwrap();
        }
    }

    /// How many came of what is dropped, those that passed among them.
    pub fn seen(&self) -> u64 {
        self.control.load(SEEN).unwrap()
    }

    pub fn dropped(&self) -> u64 {
        self.control.load(DROPPED).unwrap()
    }
}

/// A second program that looks on: `tests/bpf/witness.bpf.c`.
pub struct Witness {
    control: MappedArray<u64>,
    lacks_since: Cell<Option<Instant>>,
    _links: [Link; 2],
    _programs: Programs,
}

const NETNS: u32 = 0;
const SEGS: u32 = 1;

/// What a round ends with that is not to be judged.
struct Unseen;

impl Witness {
    /// Of the namespace with this inode number.
    pub fn new(netns: u32) -> Self {
        let programs = Programs::load("witness");
        let control = programs.control();
        control.store(NETNS, netns.into()).unwrap();
        let links = ["segments", "synack"]
            .map(|name| programs.program(name).attach().expect("attach, as root may"));
        Self { control, lacks_since: Cell::new(None), _links: links, _programs: programs }
    }

    /// Whether a probe that has seen `segs` has all that the kernel counts. What it
    /// does not get is no fault of its own if the witness does not get it either, or
    /// if the kernel says that it `missed` to run the probe: the round ends.
    pub fn all(&self, segs: u64, missed: u64, (counted, failed): (u64, u64)) -> bool {
        assert!(segs <= counted - failed, "{segs} of {counted}, of which {failed} failed");
        if segs == counted - failed {
            self.lacks_since.set(None);
            return true;
        }
        let since = self.lacks_since.get().unwrap_or_else(Instant::now);
        self.lacks_since.set(Some(since));
        let seen = self.control.load(SEGS).unwrap();
        if since.elapsed() > Duration::from_secs(2) && (seen <= segs || missed > 0) {
            println!("{segs} of {counted}, {failed} failed, {missed} missed, {seen} by a witness");
            resume_unwind(Box::new(Unseen));
        }
        false
    }
}

/// Runs `round` anew for as long as the kernel runs no program for something that it
/// counts: one that shields some process from tracing runs none in the timers and
/// packets that interrupt it. What a probe loses itself is not excused, nor what is
/// lost in every round.
pub fn unless_unseen(round: impl Fn()) {
    for _ in 0..ROUNDS {
        match catch_unwind(AssertUnwindSafe(&round)) {
            Ok(()) => return,
            Err(panic) if panic.is::<Unseen>() => {}
            Err(panic) => resume_unwind(panic),
        }
    }
    panic!("in each of {ROUNDS} rounds the kernel counted more than any program saw");
}

/// On a busy machine with such a kernel one round in ten was not to be judged.
const ROUNDS: u32 = 8;

/// A listener at `right`.
pub fn listener(net: &Net, address: impl Into<IpAddr>) -> TcpListener {
    let address = SocketAddr::new(address.into(), 0);
    net.right(|| TcpListener::bind(address).expect("listen at an address of our own"))
}

/// A connection from `left` to a listener at `right`: both ends.
pub fn connect(net: &Net, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let to = listener.local_addr().unwrap();
    let near = net.left(|| TcpStream::connect(to).expect("connect to a peer of our own"));
    let (far, _) = listener.accept().expect("it is connected");
    (near, far)
}

/// Sends `bytes` from one end to the other and waits until all have arrived.
pub fn carry(near: &mut TcpStream, far: &mut TcpStream, bytes: usize) {
    near.set_nodelay(true).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| near.write_all(&vec![7; bytes]).expect("send"));
        let mut left = bytes;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let read = far.read(&mut buffer).expect("receive");
            assert!(read > 0, "{left} bytes are missing");
            left -= read;
        }
    });
}

/// A counter of the network namespace of this thread.
pub fn counter(file: &str, group: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).expect("/proc");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(": "));
    let names = lines.next().expect("the line with names").split(' ');
    let values = lines.next().expect("the line with values").split(' ');
    let (_, value) = names.zip(values).find(|pair| pair.0 == name).expect(name);
    value.parse().expect(name)
}

/// What the kernel counts in the namespace of this thread: segments that it
/// tried to send again, and those of them that failed.
pub fn retransmitted() -> (u64, u64) {
    let failed = || counter("netstat", "TcpExt", "TCPRetransFail");
    loop {
        let (before, all) = (failed(), counter("snmp", "Tcp", "RetransSegs"));
        if before == failed() {
            return (all, before);
        }
    }
}

/// A frame to `right` with a SYN that nobody behind `from` asked for.
pub fn syn(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(from.port().to_be_bytes());
    tcp.extend(to.port().to_be_bytes());
    tcp.extend(1_000_000u32.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let (mut pseudo, ethertype) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ([from.octets(), to.octets()].concat(), ETH_IPV4),
        (IpAddr::V6(from), IpAddr::V6(to)) => ([from.octets(), to.octets()].concat(), ETH_IPV6),
        _ => panic!("from {from} to {to}"),
    };
    pseudo.extend([0, 6, 0, tcp.len() as u8]);
    let sum = checksum(&[&pseudo[..], &tcp].concat());
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let packet = match from.ip() {
        IpAddr::V4(source) => {
            let mut packet = ipv4(source, 6, &tcp);
            let sum = checksum(&packet[..20]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet
        }
        IpAddr::V6(source) => ipv6(source, 6, &tcp),
    };
    ethernet(ethertype, &packet)
}

/// Of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// A listener at `right`, and a way to make it send SYN-ACKs again: SYNs that
/// come again from somebody behind `left` who never goes on.
pub struct Strangers {
    pub net: Net,
    pub listener: TcpListener,
    pub port: u16,
}

impl Strangers {
    pub fn new(at: impl Into<IpAddr>) -> Self {
        let net = Net::with_ipv6();
        net.right(|| {
            // To answer each of them, and not two a second.
            let sysctl = "/proc/sys/net/ipv4/tcp_invalid_ratelimit";
            fs::write(sysctl, "0").expect("a sysctl of our own");
        });
        let listener = listener(&net, at);
        let port = listener.local_addr().unwrap().port();
        for to in [SocketAddr::from((RIGHT_IP, port)), (RIGHT_IP6, port).into()] {
            net.add_behind_left(Self::behind(to, 0).ip());
        }
        Self { net, listener, port }
    }

    /// The stranger with this port, of the family of `to`.
    pub fn behind(to: SocketAddr, port: u16) -> SocketAddr {
        match to {
            SocketAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 77), port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77), port).into(),
        }
    }

    /// The listener's address of IPv4.
    pub fn to(&self) -> SocketAddr {
        (RIGHT_IP, self.port).into()
    }

    /// The same of IPv6, where it listens there.
    pub fn to6(&self) -> SocketAddr {
        (RIGHT_IP6, self.port).into()
    }

    /// A SYN over IPv4 from this port, the first time or again: so many
    /// SYN-ACKs again.
    pub fn ask(&self, from: u16, again: u64) {
        self.ask_at(self.to(), from, again);
    }

    pub fn ask_at(&self, to: SocketAddr, from: u16, again: u64) {
        let frame = syn(Self::behind(to, from), to);
        let sender = self.net.sender();
        for sent in 0..1 + again {
            sender.send(&frame);
            // No more under way than the queues of the kernel hold.
            if sent % 100 == 99 {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// The same from as many threads.
    pub fn burst(&self, threads: u16, again: u64) {
        thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || self.ask(4000 + thread, again));
            }
        });
    }

    /// The namespace that sends the SYN-ACKs.
    pub fn inode(&self) -> u32 {
        self.net.inodes()[1]
    }

    /// What the kernel counts there.
    pub fn counted(&self) -> u64 {
        self.net.right(retransmitted).0
    }
}

/// Takes what has come since; segments of all `events`.
pub fn collect(probe: &mut TcpRetransmits, events: &mut Vec<TcpRetransmitEvent>) -> u64 {
    probe.drain(|event| events.push(*event)).expect("read the ring");
    events.iter().map(|event| u64::from(event.segs)).sum()
}
