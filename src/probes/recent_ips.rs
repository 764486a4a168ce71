//! [`RecentIps`]: who sent to an interface of late.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use super::attach::require;
use super::clock::BootClock;
use super::xdp::{self, NEEDS};
use super::{AttachKind, Health, Interface, ProbeError, Traffic, XdpLink, XdpMode};
use crate::{Accumulate, LruHash, PerCpuArray};

mod bpf {
    include!(concat!(env!("OUT_DIR"), "/recent_ips.rs"));
}

use bpf::AtlasHealth;
pub use bpf::{Peer, PeerStat, PeerTotals};

const NAME: &str = "recent_ips";

/// The IPv4 and IPv6 addresses that sent to an Ethernet interface of late, with
/// packets, bytes, first and last seen.
///
/// An XDP program looks at every frame and passes it on. It keeps the senders
/// in an LRU map, which never refuses a new one for want of room: it drops
/// others, not heard of for long, but not exactly those of the longest. So the
/// list is approximate. What was dropped is not lost in silence, since totals
/// are kept beside it: [`Recent::evicted`].
///
/// Needs `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`, and Linux 5.9. Costs
/// 16 to 18 ns a packet more than an XDP program that does nothing, where caches are warm
/// (measured); on a real-time kernel some 40 more. Times are those of the kernel's
/// last tick: early by 10 ms at most.
///
/// ```no_run
/// use bpf_atlas::probes::RecentIps;
///
/// # fn main() -> Result<(), bpf_atlas::probes::ProbeError> {
/// let recent = RecentIps::builder("eth0").capacity(1000).attach()?;
/// std::thread::sleep(std::time::Duration::from_secs(10));
/// for sender in recent.recent()?.senders {
///     println!("{}: {} packets", sender.address, sender.packets);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RecentIps {
    link: XdpLink,
    maps: RecentIpsMaps,
    health: PerCpuArray<AtlasHealth>,
}

/// The maps of [`RecentIps`]. They can be cloned and read when the program is
/// gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecentIpsMaps {
    /// What each sender sent.
    pub peers: LruHash<Peer, PeerStat>,
    /// What came in at all. One element.
    pub totals: PerCpuArray<PeerTotals>,
}

/// Options of [`RecentIps`].
#[derive(Clone, Debug)]
#[must_use = "nothing is attached before `attach`"]
pub struct RecentIpsBuilder {
    interface: Interface,
    mode: XdpMode,
    capacity: u32,
}

impl Peer {
    /// Its address.
    pub fn address(self) -> IpAddr {
        let [a, b, c, d, ..] = self.addr;
        match self.family {
            4 => Ipv4Addr::new(a, b, c, d).into(),
            _ => Ipv6Addr::from(self.addr).into(),
        }
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let mut addr = [0; 16];
                addr[..4].copy_from_slice(&v4.octets());
                Self { family: 4, addr }
            }
            IpAddr::V6(v6) => Self { family: 6, addr: v6.octets() },
        }
    }
}

/// A sender and what it sent, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sender {
    /// Its address.
    pub address: IpAddr,
    /// Frames.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// When the first came.
    pub first_seen: SystemTime,
    /// When the last came.
    pub last_seen: SystemTime,
    /// As the program noted it.
    pub stat: PeerStat,
}

/// A reading of [`RecentIps`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recent {
    /// The senders that the map holds, in no order.
    pub senders: Vec<Sender>,
    /// What came in at all.
    pub totals: PeerTotals,
    /// What the senders that the map dropped had sent: all, without what was
    /// refused and what is held. Exact when nothing comes in; else packets that
    /// come in during the reading, and the few that two CPUs counted while an
    /// element went, are on one side or the other. Never negative.
    pub evicted: Traffic,
    /// How full the map is and what it refused.
    pub health: Health,
}

impl RecentIpsBuilder {
    /// Where to run: native, generic, or native where that works (the default).
    pub fn mode(mut self, mode: XdpMode) -> Self {
        self.mode = mode;
        self
    }

    /// How many senders to remember; 10,240 unless said otherwise. The kernel
    /// begins to drop some below that: see [`LruHash`].
    pub fn capacity(mut self, senders: u32) -> Self {
        self.capacity = senders;
        self
    }

    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// [`InvalidOption`](ProbeError::InvalidOption) without such an interface
    /// or with a capacity of 0, else as
    /// [`PacketsBuilder::attach`](super::PacketsBuilder::attach).
    pub fn attach(self) -> Result<RecentIps, ProbeError> {
        if self.capacity == 0 {
            let what = "capacity is 0; it needs room for one sender at least".into();
            return Err(ProbeError::InvalidOption { probe: NAME, what });
        }
        require(NAME, &NEEDS)?;
        let loaded = xdp::load(|frags| {
            let mut open = bpf::open()?;
            open.rodata.preemptible = xdp::preemptible().into();
            open.progs.recent_ips_frags.set_autoload(frags);
            open.maps.peers.set_max_entries(self.capacity);
            open.load()
        })?;
        let programs = xdp::loaded(loaded.object().libbpf(), ["recent_ips_frags", "recent_ips"]);
        let link = XdpLink::attach(NAME, &programs, &self.interface, self.mode)?;
        // Once attached, the program needs the object no more.
        let bpf::Maps { peers, totals, health, .. } = loaded.maps;
        Ok(RecentIps { link, maps: RecentIpsMaps { peers, totals }, health })
    }
}

impl RecentIps {
    /// Starts from the defaults, for an interface by name or number.
    pub fn builder(interface: impl Into<Interface>) -> RecentIpsBuilder {
        RecentIpsBuilder { interface: interface.into(), mode: XdpMode::Auto, capacity: 10240 }
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

    /// The maps.
    pub fn maps(&self) -> &RecentIpsMaps {
        &self.maps
    }

    /// Walks the senders that the map holds, in no order. Reading does not
    /// count as a use and keeps no one in the map.
    pub fn iter(&self) -> impl Iterator<Item = crate::Result<(IpAddr, PeerStat)>> + use<> {
        self.maps.peers.iter().map(|entry| entry.map(|(peer, stat)| (peer.address(), stat)))
    }

    /// What this address sent; `None` if it did not, or was dropped since.
    /// One `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Errors
    /// As [`LruHash::lookup`].
    pub fn lookup(&self, address: impl Into<IpAddr>) -> crate::Result<Option<PeerStat>> {
        self.maps.peers.lookup(Peer::from(address.into()))
    }

    /// What came in at all.
    ///
    /// # Errors
    /// As [`PerCpuArray::sum_of`].
    pub fn totals(&self) -> crate::Result<PeerTotals> {
        self.maps.totals.sum_of(0)
    }

    /// Everything at once, with times of the wall clock. One walk.
    ///
    /// # Errors
    /// [`Map`](ProbeError::Map), [`Sys`](ProbeError::Sys).
    pub fn recent(&self) -> Result<Recent, ProbeError> {
        let clock = BootClock::now()?;
        // Before the walk: what comes in meanwhile is then no loss.
        let totals = self.totals()?;
        let mut held = Traffic::default();
        let mut senders = Vec::new();
        self.maps.peers.for_each(|peer, stat| {
            held.accumulate(Traffic { packets: stat.packets, bytes: stat.bytes });
            senders.push(Sender {
                address: peer.address(),
                packets: stat.packets,
                bytes: stat.bytes,
                first_seen: clock.at(stat.first_ns),
                // A CPU that lost an element may leave its time in the next one.
                last_seen: clock.at(stat.last_ns.max(stat.first_ns)),
                stat,
            });
        })?;
        let evicted = Traffic {
            packets: totals
                .packets
                .saturating_sub(totals.refused_packets)
                .saturating_sub(held.packets),
            bytes: totals.bytes.saturating_sub(totals.refused_bytes).saturating_sub(held.bytes),
        };
        let health = self.health_with(senders.len())?;
        Ok(Recent { senders, totals, evicted, health })
    }

    /// How full the map is and what it refused. One walk. What was evicted is
    /// told by [`recent`](Self::recent).
    ///
    /// # Errors
    /// [`Map`](ProbeError::Map).
    pub fn health(&self) -> Result<Health, ProbeError> {
        self.health_with(self.maps.peers.count()?)
    }

    fn health_with(&self, held: usize) -> Result<Health, ProbeError> {
        let health = Health {
            entries: held as u64,
            capacity: self.maps.peers.max_entries().into(),
            ..Health::default()
        };
        let AtlasHealth { full, no_memory, busy, missed } = self.health.sum_of(0)?;
        Ok(health.refusals([full, no_memory, busy, missed]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_its_address_and_an_ipv4_one_is_not_its_ipv6_form() {
        for text in ["0.0.0.0", "192.0.2.7", "::", "::ffff:192.0.2.7", "2001:db8::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Peer::from(address).address(), address);
        }
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert_ne!(Peer::from(v4), Peer::from(mapped));
    }
}
