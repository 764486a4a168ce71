//! Two network namespaces of the test's own, a veth pair between them, and
//! frames to send through it.
//!
//! The namespaces have no name and no process of their own: they go with this
//! process, however it ends. Nothing is sent into them but by the test: IPv6 is
//! off, so no neighbour or router is looked for.
#![allow(dead_code, reason = "no test binary uses everything")]

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

pub const LEFT: &str = "left";
pub const RIGHT: &str = "right";
pub const LEFT_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const RIGHT_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const LEFT_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub const RIGHT_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const LEFT_MAC: &str = "02:00:00:00:00:01";
const RIGHT_MAC: &str = "02:00:00:00:00:02";

/// What is sent on `left` arrives on `right`, and the other way round.
pub struct Net {
    left: File,
    right: File,
}

impl Net {
    pub fn new() -> Self {
        Self::with_mtu(1500)
    }

    pub fn with_mtu(mtu: u32) -> Self {
        let net = Self { left: namespace(), right: namespace() };
        // `ip` finds the other namespace by this process's descriptor.
        let [_, right] = net.files();
        net.left(|| {
            ip(&format!(
                "link add {LEFT} mtu {mtu} address {LEFT_MAC} type veth \
                 peer name {RIGHT} mtu {mtu} address {RIGHT_MAC} netns {right}"
            ));
        });
        net.right(|| {
            ip("link set lo up");
            ip(&format!("address add {RIGHT_IP}/24 dev {RIGHT}"));
            ip(&format!("neighbour add {LEFT_IP} lladdr {LEFT_MAC} dev {RIGHT} nud permanent"));
            ip(&format!("link set {RIGHT} up"));
        });
        // The sender last: with its peer up it can send at once.
        net.left(|| {
            ip(&format!("address add {LEFT_IP}/24 dev {LEFT}"));
            ip(&format!("neighbour add {RIGHT_IP} lladdr {RIGHT_MAC} dev {LEFT} nud permanent"));
            ip(&format!("link set {LEFT} up"));
        });
        // `right` had no peer when it was set up. A worker of the kernel opens its queue a
        // little later, and what it sends until then is dropped: a SYN-ACK, for one.
        let is_up = |end| ip(&format!("link show dev {end}")).contains(" state UP ");
        net.left(|| eventually("the left end is up", || is_up(LEFT)));
        net.right(|| eventually("the right end is up", || is_up(RIGHT)));
        net
    }

    /// The same with IPv6, at [`LEFT_IP6`] and [`RIGHT_IP6`]. The kernel itself
    /// then sends a little: it joins multicast groups, and asks for a router.
    pub fn with_ipv6() -> Self {
        let net = Self::new();
        let side = |interface, own, peer, mac| {
            fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "0")
                .expect("a kernel with IPv6");
            ip(&format!("address add {own}/64 dev {interface} nodad"));
            ip(&format!("neighbour add {peer} lladdr {mac} dev {interface} nud permanent"));
            // The kernel makes the address its own a little later, and drops until then what
            // comes to it: a SYN would be sent again before anybody looks.
            let own = format!("local {own} dev {interface}");
            eventually("the address", || ip("-6 route show table local").contains(&own));
        };
        net.left(|| side(LEFT, LEFT_IP6, RIGHT_IP6, RIGHT_MAC));
        net.right(|| side(RIGHT, RIGHT_IP6, LEFT_IP6, LEFT_MAC));
        net
    }

    /// Somebody behind `left`: `right` sends there what it has for `address`,
    /// and nobody answers.
    pub fn add_behind_left(&self, address: impl Into<IpAddr>) {
        let address = address.into();
        self.right(|| {
            ip(&format!("neighbour add {address} lladdr {LEFT_MAC} dev {RIGHT} nud permanent"));
        });
    }

    /// Where others find the two namespaces, `left` first.
    pub fn files(&self) -> [String; 2] {
        [&self.left, &self.right]
            .map(|file| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
    }

    /// The inode numbers of the two namespaces, `left` first.
    pub fn inodes(&self) -> [u32; 2] {
        [&self.left, &self.right].map(|namespace| {
            let inode = namespace.metadata().expect("ask a file of our own").ino();
            inode.try_into().expect("the kernel numbers namespaces with 32 bits")
        })
    }

    /// Runs `f` on a thread in the namespace of `left`.
    pub fn left<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        inside(&self.left, f)
    }

    /// Runs `f` on a thread in the namespace of `right`.
    pub fn right<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        inside(&self.right, f)
    }

    /// A way to send whole frames from `left`.
    pub fn sender(&self) -> Sender {
        self.left(|| Sender {
            socket: socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
                .expect("open a packet socket, as root may"),
            to: link_address(LEFT),
        })
    }

    /// Whether `right` has an XDP program, as `ip` tells.
    pub fn has_xdp(&self) -> bool {
        self.right(|| ip(&format!("-details link show dev {RIGHT}")).contains("prog/xdp"))
    }

    /// Takes the pair away.
    pub fn remove(&self) {
        self.left(|| ip(&format!("link delete {LEFT}")));
    }
}

fn namespace() -> File {
    thread::scope(|scope| {
        let made = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace, as root may");
            // Missing where the kernel has no IPv6 at all.
            fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").ok();
            fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").ok();
            File::open("/proc/thread-self/ns/net").expect("a mounted /proc")
        });
        made.join().expect("a new network namespace")
    })
}

fn inside<T: Send>(namespace: &File, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("enter a namespace of our own");
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `ip` in the namespace of this thread; what it says.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("`ip`, which comes with iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn link_address(interface: &str) -> LinkAddr {
    let mut addresses = getifaddrs().expect("list the interfaces");
    let found = addresses.find_map(|address| {
        (address.interface_name == interface).then_some(())?;
        address.address?.as_link_addr().copied()
    });
    found.expect("an interface of our own has a link address")
}

pub struct Sender {
    socket: OwnedFd,
    to: LinkAddr,
}

impl Sender {
    pub fn send(&self, frame: &[u8]) {
        let sent = sendto(self.socket.as_raw_fd(), frame, &self.to, MsgFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "send a frame of {} bytes", frame.len());
    }
}

/// Kills a child that attaches an XDP program to the right end, when it has.
#[track_caller]
pub fn nothing_stays_attached(mut child: Command) {
    let net = Net::new();
    let child = child.stdout(Stdio::null());
    let mut child = net.right(|| child.spawn()).expect("start the child");
    eventually("attached by the child", || net.has_xdp());
    child.kill().expect("kill the child");
    child.wait().expect("a child of ours");
    eventually("detached", || !net.has_xdp());
}

/// Waits until `done`, for as long as a loaded machine may take.
#[track_caller]
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "still not: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

// Frames. Checksums are zero: they are counted before anyone looks at them.

pub const ETH_IPV4: u16 = 0x0800;
pub const ETH_ARP: u16 = 0x0806;
pub const ETH_VLAN: u16 = 0x8100;
pub const ETH_IPV6: u16 = 0x86dd;
pub const ETH_QINQ: u16 = 0x88a8;

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What follows the Ethernet type of a VLAN tag: the VLAN, then another type.
pub fn vlan(id: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes(), &ethertype.to_be_bytes(), payload].concat()
}

pub fn ipv4(source: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(source, protocol, 0, &[], payload)
}

/// With the flags and offset of a fragment, and options (of 4 bytes each).
pub fn ipv4_with(
    source: Ipv4Addr,
    protocol: u8,
    fragment: u16,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header = 20 + options.len();
    let total = (header + payload.len()) as u16;
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(RIGHT_IP.octets());
    packet.extend(options);
    packet.extend(payload);
    packet
}

pub fn ipv6(source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(source.octets());
    packet.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).octets());
    packet.extend(payload);
    packet
}

/// An extension header of `8 * (units + 1)` bytes.
pub fn extension(next: u8, units: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 8 * (usize::from(units) + 1)];
    header[0] = next;
    header[1] = units;
    header.extend(payload);
    header
}

/// A fragment header; `offset` in units of 8 bytes.
pub fn fragment(next: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (offset << 3 | 1).to_be_bytes();
    let mut header = vec![next, 0, high, low, 0, 0, 0, 7];
    header.extend(payload);
    header
}
