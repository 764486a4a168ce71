//! [`TcpRetransmits`]: TCP segments that are sent again.

use std::time::SystemTime;

use super::attach::{Programs, check_ring_size, first_that_works, page_size, require};
use super::clock::BootClock;
use super::ring::ring_probe;
use super::{AttachKind, Health, ProbeError, Retransmit};
use crate::caps::Capability;
use crate::object::LoadedObject;
use crate::{Hash, PerCpuArray, RingBuf};

mod bpf {
    include!(concat!(env!("OUT_DIR"), "/tcp_retransmits.rs"));
}

use bpf::AtlasHealth;
pub use bpf::{TcpFlow, TcpFlowStat, TcpRetransmitEvent, TcpState};

const NAME: &str = "tcp_retransmits";
const NEEDS: [Capability; 2] = [Capability::Bpf, Capability::Perfmon];

/// Every TCP segment that is sent again, of the whole machine or of one network
/// namespace: data, SYN, FIN, SYN-ACK and loss probes, of IPv4 and IPv6.
///
/// What was sent, in segments, is exactly what the kernel counts:
/// `TcpRetransSegs - TCPRetransFail`, in every namespace, as long as the kernel
/// runs the program at each. What found no room in the ring is counted as well:
/// delivered + lost is all that the program was run for. To count by connection
/// instead, in the kernel and without a ring, attach by
/// [`attach_per_flow`](TcpRetransmitsBuilder::attach_per_flow).
///
/// The kernel does not run it in two cases. Inside another run of it on the same
/// CPU: [`Health::missed`] counts these (measured: 1 of 25,000 on a busy machine).
/// And in a timer or packet that interrupts a process which the kernel shields from
/// tracing, where it does so: no counter tells, but `TcpRetransSegs` has them
/// (measured on such a kernel: 23 of 16,743, all that interrupted the one process).
///
/// Needs `CAP_BPF` and `CAP_PERFMON`; Linux 5.8, for failures 6.17. Costs some
/// 0.2 µs at a retransmission (measured), and nothing else.
///
/// ```no_run
/// use bpf_atlas::probes::TcpRetransmits;
///
/// # fn main() -> Result<(), bpf_atlas::probes::ProbeError> {
/// let mut retransmits = TcpRetransmits::builder().attach()?;
/// while retransmits.wait(None)? {
///     retransmits.drain(|event| {
///         println!("{} -> {} {}", event.local(), event.remote(), event.state);
///     })?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpRetransmits {
    ring: RingBuf<TcpRetransmitEvent>,
    programs: Programs,
    kind: AttachKind,
    _attached: LoadedObject,
}

/// What each connection sent again, counted in the kernel. From
/// [`attach_per_flow`](TcpRetransmitsBuilder::attach_per_flow).
///
/// A connection stays in the map when it is over: nothing tells which are, and
/// to delete a counter in use would lose counts. Where the map is full,
/// connections that are new to it are refused, and [`Health`] says how many
/// times.
///
/// ```no_run
/// use bpf_atlas::probes::TcpRetransmits;
///
/// # fn main() -> Result<(), bpf_atlas::probes::ProbeError> {
/// let probe = TcpRetransmits::builder().attach_per_flow()?;
/// std::thread::sleep(std::time::Duration::from_secs(60));
/// for flow in probe.summary()?.flows {
///     println!("{} -> {}: {}", flow.flow.local(), flow.flow.remote(), flow.stat.segs);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpRetransmitsPerFlow {
    flows: Hash<TcpFlow, TcpFlowStat>,
    health: PerCpuArray<AtlasHealth>,
    programs: Programs,
    kind: AttachKind,
    _attached: LoadedObject,
}

/// A connection and what it sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retransmitted {
    /// The connection.
    pub flow: TcpFlow,
    /// What it sent again.
    pub stat: TcpFlowStat,
    /// When first.
    pub first: SystemTime,
    /// When last.
    pub last: SystemTime,
}

/// A reading of [`TcpRetransmitsPerFlow`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetransmitSummary {
    /// The connections that sent anything again, in no order.
    pub flows: Vec<Retransmitted>,
    /// How full the map is and what it refused.
    pub health: Health,
}

/// Options of [`TcpRetransmits`].
#[derive(Clone, Debug)]
#[must_use = "nothing is attached before `attach`"]
pub struct TcpRetransmitsBuilder {
    family: u32,
    netns: u32,
    port: u16,
    failed: bool,
    ring_size: u32,
    max_flows: u32,
    kind: Option<AttachKind>,
}

impl Default for TcpRetransmitsBuilder {
    fn default() -> Self {
        Self {
            family: 0,
            netns: 0,
            port: 0,
            failed: false,
            ring_size: 256 * 1024,
            max_flows: 10240,
            kind: None,
        }
    }
}

impl TcpRetransmitsBuilder {
    /// Only IPv4, that of IPv6 sockets included.
    pub fn ipv4(mut self) -> Self {
        self.family = 4;
        self
    }

    /// Only IPv6.
    pub fn ipv6(mut self) -> Self {
        self.family = 6;
        self
    }

    /// Only the network namespace with this inode number, which is that of
    /// `/proc/PID/ns/net` and of the files that `ip netns` makes. 0 is all.
    pub fn netns(mut self, inode: u32) -> Self {
        self.netns = inode;
        self
    }

    /// Only connections with this port at either end. 0 is all.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Attempts that failed as well, where the kernel tells of them (Linux
    /// 6.17): see [`TcpRetransmitEvent::error`].
    pub fn failed(mut self, yes: bool) -> Self {
        self.failed = yes;
        self
    }

    /// The size of the ring in bytes, a power of two and a multiple of the
    /// page; 256 KiB unless said otherwise. A record takes 88 bytes.
    pub fn ring_size(mut self, bytes: u32) -> Self {
        self.ring_size = bytes;
        self
    }

    /// How many connections [`attach_per_flow`](Self::attach_per_flow) can
    /// count; 10,240 unless said otherwise. It counts what found no room.
    pub fn max_flows(mut self, flows: u32) -> Self {
        self.max_flows = flows;
        self
    }

    /// Attaches this way or not at all. Otherwise the first of tp_btf, raw_tp
    /// and tracepoint that this kernel has.
    pub fn attach_kind(mut self, kind: AttachKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Loads the programs and attaches them; an event comes for each segment
    /// that is sent again.
    ///
    /// # Errors
    /// [`PermissionDenied`](ProbeError::PermissionDenied),
    /// [`InvalidOption`](ProbeError::InvalidOption),
    /// [`NotAttached`](ProbeError::NotAttached), and of a kind that was chosen
    /// [`Load`](ProbeError::Load).
    pub fn attach(self) -> Result<TcpRetransmits, ProbeError> {
        check_ring_size(NAME, self.ring_size)?;
        let (maps, programs, kind, object) = self.load(false)?;
        Ok(TcpRetransmits { ring: maps.events, programs, kind, _attached: object })
    }

    /// The same, but the kernel half counts by connection and sends no events.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn attach_per_flow(self) -> Result<TcpRetransmitsPerFlow, ProbeError> {
        if self.max_flows == 0 {
            return refuse("max_flows is 0; it needs room for one connection at least".into());
        }
        let (maps, programs, kind, object) = self.load(true)?;
        let bpf::Maps { flows, health, .. } = maps;
        Ok(TcpRetransmitsPerFlow { flows, health, programs, kind, _attached: object })
    }

    fn load(
        &self,
        by_flow: bool,
    ) -> Result<(bpf::Maps, Programs, AttachKind, LoadedObject), ProbeError> {
        use AttachKind::{RawTracepoint, TpBtf, Tracepoint};
        let kinds = [TpBtf, RawTracepoint, Tracepoint];
        let kinds = self.kind.as_ref().map_or(&kinds[..], std::slice::from_ref);
        if matches!(self.kind, Some(AttachKind::XdpNative | AttachKind::XdpGeneric)) {
            return refuse("it attaches as tp_btf, raw_tp or tracepoint".into());
        }
        require(NAME, &NEEDS)?;
        let ((maps, object), kind) =
            first_that_works(NAME, kinds, |kind| self.load_as(kind, by_flow))?;
        let programs = Programs::of(&object)?;
        Ok((maps, programs, kind, object))
    }

    fn load_as(
        &self,
        kind: AttachKind,
        by_flow: bool,
    ) -> Result<(bpf::Maps, LoadedObject), ProbeError> {
        let mut open = bpf::open()?;
        open.rodata.only_family = self.family;
        open.rodata.only_netns = self.netns;
        open.rodata.only_port = self.port;
        open.rodata.with_failed = self.failed.into();
        open.rodata.by_flow = by_flow.into();
        // Each way of use needs one of the two; the other is as small as can be.
        open.maps.events.set_max_entries(if by_flow { page_size() } else { self.ring_size });
        open.maps.flows.set_max_entries(if by_flow { self.max_flows } else { 1 });
        let progs = &mut open.progs;
        progs.retransmit_btf.set_autoload(kind == AttachKind::TpBtf);
        progs.synack_btf.set_autoload(kind == AttachKind::TpBtf);
        progs.retransmit_raw.set_autoload(kind == AttachKind::RawTracepoint);
        progs.synack_raw.set_autoload(kind == AttachKind::RawTracepoint);
        progs.retransmit_tp.set_autoload(kind == AttachKind::Tracepoint);
        progs.synack_tp.set_autoload(kind == AttachKind::Tracepoint);
        Ok(open.load()?.attach()?.into_parts())
    }
}

fn refuse<T>(what: String) -> Result<T, ProbeError> {
    Err(ProbeError::InvalidOption { probe: NAME, what })
}

impl TcpRetransmits {
    /// Options, then [`attach`](TcpRetransmitsBuilder::attach) or
    /// [`attach_per_flow`](TcpRetransmitsBuilder::attach_per_flow).
    pub fn builder() -> TcpRetransmitsBuilder {
        TcpRetransmitsBuilder::default()
    }

    /// Calls `f` for every record that was there at the call; how many there
    /// were. Two clock readings, no other system call.
    ///
    /// # Errors
    /// [`Map`](ProbeError::Map) as [`RingBuf::drain`], [`Sys`](ProbeError::Sys).
    pub fn drain(&mut self, mut f: impl FnMut(Retransmit<'_>)) -> Result<usize, ProbeError> {
        let clock = BootClock::now()?;
        Ok(self.ring.drain(|event| f(Retransmit { event, clock }))?)
    }
}

ring_probe!(TcpRetransmits, TcpRetransmitEvent, "Events");

impl TcpRetransmitsPerFlow {
    /// The map. It can be cloned and read when the programs are gone.
    pub fn flows(&self) -> &Hash<TcpFlow, TcpFlowStat> {
        &self.flows
    }

    /// Every connection, with times of the wall clock. One walk.
    ///
    /// # Errors
    /// [`Map`](ProbeError::Map), [`Sys`](ProbeError::Sys).
    pub fn summary(&self) -> Result<RetransmitSummary, ProbeError> {
        let clock = BootClock::now()?;
        let mut flows = Vec::new();
        self.flows.for_each(|flow, stat| {
            let (first, last) = (clock.at(stat.first_ns), clock.at(stat.last_ns));
            flows.push(Retransmitted { flow, stat, first, last });
        })?;
        let health = self.health_with(flows.len())?;
        Ok(RetransmitSummary { flows, health })
    }

    /// How full the map is and what it refused. One walk.
    ///
    /// # Errors
    /// [`Map`](ProbeError::Map), [`Sys`](ProbeError::Sys).
    pub fn health(&self) -> Result<Health, ProbeError> {
        self.health_with(self.flows.count()?)
    }

    fn health_with(&self, flows: usize) -> Result<Health, ProbeError> {
        let health = Health {
            entries: flows as u64,
            capacity: self.flows.max_entries().into(),
            missed: self.programs.missed()?,
            ..Health::default()
        };
        let AtlasHealth { full, no_memory, busy, missed } = self.health.sum_of(0)?;
        Ok(health.refusals([full, no_memory, busy, missed]))
    }

    /// How it is attached.
    pub fn attach_kind(&self) -> AttachKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_are_refused() {
        let builder = TcpRetransmits::builder;
        for (refused, why) in [
            (builder().ring_size(6000).attach().err(), "power of two"),
            (builder().ring_size(0).attach().err(), "power of two"),
            (builder().max_flows(0).attach_per_flow().err(), "one connection"),
            (builder().attach_kind(AttachKind::XdpNative).attach().err(), "tp_btf"),
            (builder().attach_kind(AttachKind::XdpGeneric).attach_per_flow().err(), "tp_btf"),
        ] {
            match refused {
                Some(ProbeError::InvalidOption { what, .. }) => assert!(what.contains(why)),
                other => panic!("{other:?}"),
            }
        }
    }
}
