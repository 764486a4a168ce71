//! [`Packets`]: what an interface receives, by protocol.

use std::fmt;

use super::attach::require;
use super::xdp::{self, NEEDS};
use super::{AttachKind, Health, Interface, ProbeError, XdpLink, XdpMode};
use crate::{PerCpu, PerCpuArray, Rates};

mod bpf {
    include!(concat!(env!("OUT_DIR"), "/packets.rs"));
}

pub use bpf::Traffic;

const NAME: &str = "packets";
const IPV6: u32 = 256;
const OTHER: u32 = 512;
const MALFORMED: u32 = 513;

/// Packets and bytes that an Ethernet interface receives, by protocol.
///
/// An XDP program counts every frame in exactly one place and passes it on.
/// VLAN tags and the extension headers of IPv6 are stepped over; fragments
/// count under the protocol of their datagram; bytes are whole frames. What
/// local interfaces hand each other unsegmented (TSO over a veth pair) is one
/// packet of up to 64 KiB in generic mode; native mode makes them segment it.
///
/// Needs `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`, and Linux 5.9. Costs 1
/// to 7 ns a packet more than an XDP program that does nothing, where caches are
/// warm (measured); on a real-time kernel some 8 more.
///
/// ```no_run
/// use bpf_atlas::probes::Packets;
///
/// # fn main() -> Result<(), bpf_atlas::probes::ProbeError> {
/// let packets = Packets::builder("eth0").attach()?;
/// std::thread::sleep(std::time::Duration::from_secs(1));
/// for (protocol, traffic) in packets.totals()? {
///     println!("{protocol}: {} packets, {} bytes", traffic.packets, traffic.bytes);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Packets {
    link: XdpLink,
    maps: PacketsMaps,
}

/// The map of [`Packets`], to walk, to sum or to hand to [`Rates`]. It can be
/// cloned and read when the program is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PacketsMaps {
    /// For each [`Protocol::index`] what each CPU received.
    pub protocols: PerCpuArray<Traffic>,
}

/// Options of [`Packets`].
#[derive(Clone, Debug)]
#[must_use = "nothing is attached before `attach`"]
pub struct PacketsBuilder {
    interface: Interface,
    mode: XdpMode,
}

/// What a frame was counted as: an index of [`PacketsMaps::protocols`] with a name.
///
/// `Display` gives the usual name, as in `IPv4 UDP`, or the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protocol {
    /// IPv4 with this protocol number.
    Ipv4(u8),
    /// IPv6 whose extension headers lead to this protocol number.
    Ipv6(u8),
    /// No IP: ARP, LLDP, 802.3, …
    Other,
    /// Cut off inside a header, or with headers that make no sense.
    Malformed,
}

impl Protocol {
    /// What the map counts at `index`; `None` past its end.
    pub fn from_index(index: u32) -> Option<Self> {
        match index {
            0..IPV6 => Some(Self::Ipv4(index as u8)),
            IPV6..OTHER => Some(Self::Ipv6((index - IPV6) as u8)),
            OTHER => Some(Self::Other),
            MALFORMED => Some(Self::Malformed),
            _ => None,
        }
    }

    /// Its index in the map.
    pub fn index(self) -> u32 {
        match self {
            Self::Ipv4(protocol) => protocol.into(),
            Self::Ipv6(protocol) => IPV6 + u32::from(protocol),
            Self::Other => OTHER,
            Self::Malformed => MALFORMED,
        }
    }

    /// 4 or 6; `None` for what is no IP.
    pub fn ip_version(self) -> Option<u8> {
        match self {
            Self::Ipv4(_) => Some(4),
            Self::Ipv6(_) => Some(6),
            Self::Other | Self::Malformed => None,
        }
    }

    /// The usual name of the protocol inside the IP packet, as IANA's registry
    /// keeps it, for the common ones; `other` and `malformed`.
    pub fn name(self) -> Option<&'static str> {
        let number = match self {
            Self::Ipv4(number) | Self::Ipv6(number) => number,
            Self::Other => return Some("other"),
            Self::Malformed => return Some("malformed"),
        };
        Some(match number {
            0 => "HOPOPT",
            1 => "ICMP",
            2 => "IGMP",
            4 => "IPv4",
            6 => "TCP",
            8 => "EGP",
            17 => "UDP",
            27 => "RDP",
            33 => "DCCP",
            41 => "IPv6",
            43 => "IPv6-Route",
            44 => "IPv6-Frag",
            46 => "RSVP",
            47 => "GRE",
            50 => "ESP",
            51 => "AH",
            58 => "ICMPv6",
            59 => "IPv6-NoNxt",
            60 => "IPv6-Opts",
            88 => "EIGRP",
            89 => "OSPF",
            94 => "IPIP",
            97 => "EtherIP",
            103 => "PIM",
            108 => "IPComp",
            112 => "VRRP",
            115 => "L2TP",
            132 => "SCTP",
            135 => "Mobility",
            136 => "UDPLite",
            137 => "MPLS-in-IP",
            139 => "HIP",
            140 => "Shim6",
            143 => "Ethernet",
            _ => return None,
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self, self.name()) {
            (Self::Other | Self::Malformed, Some(name)) => return f.pad(name),
            (Self::Ipv4(_), Some(name)) => format!("IPv4 {name}"),
            (Self::Ipv6(_), Some(name)) => format!("IPv6 {name}"),
            (Self::Ipv4(number), None) => format!("IPv4 {number}"),
            (Self::Ipv6(number), None) => format!("IPv6 {number}"),
            (Self::Other | Self::Malformed, None) => return Ok(()),
        };
        f.pad(&text)
    }
}

impl PacketsBuilder {
    /// Where to run: native, generic, or native where that works (the default).
    pub fn mode(mut self, mode: XdpMode) -> Self {
        self.mode = mode;
        self
    }

    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// [`InvalidOption`](ProbeError::InvalidOption) without such an interface,
    /// [`PermissionDenied`](ProbeError::PermissionDenied),
    /// [`Unsupported`](ProbeError::Unsupported) where the interface has an XDP
    /// program already or the driver none in this mode,
    /// [`NotAttached`](ProbeError::NotAttached) with both reasons for
    /// [`XdpMode::Auto`], [`Load`](ProbeError::Load) when the kernel refuses
    /// the program, [`Sys`](ProbeError::Sys).
    pub fn attach(self) -> Result<Packets, ProbeError> {
        require(NAME, &NEEDS)?;
        let loaded = xdp::load(|frags| {
            let mut open = bpf::open()?;
            open.rodata.preemptible = xdp::preemptible().into();
            open.progs.packets_frags.set_autoload(frags);
            open.load()
        })?;
        let programs = xdp::loaded(loaded.object().libbpf(), ["packets_frags", "packets"]);
        let link = XdpLink::attach(NAME, &programs, &self.interface, self.mode)?;
        // Once attached, the program needs the object no more.
        Ok(Packets { link, maps: PacketsMaps { protocols: loaded.maps.protocols.clone() } })
    }
}

impl Packets {
    /// Starts from the defaults, for an interface by name or number.
    pub fn builder(interface: impl Into<Interface>) -> PacketsBuilder {
        PacketsBuilder { interface: interface.into(), mode: XdpMode::Auto }
    }

    /// How it is attached: [`XdpNative`](AttachKind::XdpNative) or
    /// [`XdpGeneric`](AttachKind::XdpGeneric).
    pub fn attach_kind(&self) -> AttachKind {
        self.link.kind()
    }

    /// The interface and the program's hold on it.
    pub fn link(&self) -> &XdpLink {
        &self.link
    }

    /// The map.
    pub fn maps(&self) -> &PacketsMaps {
        &self.maps
    }

    /// What came in so far, for each protocol that did, over all CPUs. A walk
    /// of the map's 514 elements.
    ///
    /// # Errors
    /// As [`PerCpuArray::iter`].
    pub fn totals(&self) -> crate::Result<Vec<(Protocol, Traffic)>> {
        let mut totals = Vec::new();
        for entry in self.maps.protocols.sums() {
            let (index, traffic) = entry?;
            if let (Some(protocol), true) = (Protocol::from_index(index), traffic.packets > 0) {
                totals.push((protocol, traffic));
            }
        }
        Ok(totals)
    }

    /// As [`totals`](Self::totals), with what each CPU received.
    ///
    /// # Errors
    /// As [`PerCpuArray::iter`].
    pub fn totals_by_cpu(&self) -> crate::Result<Vec<(Protocol, PerCpu<Traffic>)>> {
        let mut totals = Vec::new();
        for entry in &self.maps.protocols {
            let (index, cpus) = entry?;
            if let (Some(protocol), true) = (Protocol::from_index(index), cpus.sum().packets > 0) {
                totals.push((protocol, cpus));
            }
        }
        Ok(totals)
    }

    /// What came in of one protocol. One `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Errors
    /// As [`PerCpuArray::iter`].
    pub fn total_of(&self, protocol: Protocol) -> crate::Result<Traffic> {
        self.maps.protocols.sum_of(protocol.index())
    }

    /// Everything that came in.
    ///
    /// # Errors
    /// As [`PerCpuArray::iter`].
    pub fn total(&self) -> crate::Result<Traffic> {
        self.maps.protocols.sum()
    }

    /// Growth by [`Protocol::index`], from zero: the first tick tells all since
    /// the program was attached.
    pub fn rates(&self) -> Rates<PerCpuArray<Traffic>> {
        Rates::from_zero(self.maps.protocols.clone())
    }

    /// How many of the map's elements have counted. It has one for everything
    /// and XDP programs are never skipped, so nothing can be refused or lost.
    ///
    /// # Errors
    /// As [`PerCpuArray::iter`].
    pub fn health(&self) -> Result<Health, ProbeError> {
        let entries = self.totals()?.len() as u64;
        let capacity = self.maps.protocols.max_entries().into();
        Ok(Health { entries, capacity, ..Health::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_one_protocol_and_back() {
        for index in 0..=MALFORMED {
            assert_eq!(Protocol::from_index(index).map(Protocol::index), Some(index));
        }
        assert_eq!(Protocol::from_index(MALFORMED + 1), None);
        assert_eq!(Protocol::Ipv6(58).to_string(), "IPv6 ICMPv6");
        assert_eq!(Protocol::Ipv4(200).to_string(), "IPv4 200");
        assert_eq!(format!("{:>6}", Protocol::Other), " other");
    }
}
