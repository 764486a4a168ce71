//! Ready probes: programs that this crate brings along, and typed handles to
//! what they count. Feature `probes` (default), which needs clang at build time.
//!
//! | probe | tells | attaches as | needs |
//! |---|---|---|---|
//! | [`PidSyscalls`] | system calls by process and by number | tp_btf, raw_tp or tracepoint | `CAP_BPF`, `CAP_PERFMON` |
//! | [`Packets`] | what an interface receives, by protocol | XDP, native or generic | `CAP_BPF`, `CAP_PERFMON`, `CAP_NET_ADMIN` |
//! | [`ExecEvents`] | every exec, with file and arguments; every exit of a process | tp_btf, raw_tp or tracepoint | `CAP_BPF`, `CAP_PERFMON` |
//! | [`RecentIps`] | who sent to an interface of late | XDP, native or generic | `CAP_BPF`, `CAP_PERFMON`, `CAP_NET_ADMIN` |
//! | [`TcpRetransmits`] | TCP segments that are sent again, one by one or by connection | tp_btf, raw_tp or tracepoint | `CAP_BPF`, `CAP_PERFMON` |
//!
//! All of them work alike:
//! ```no_run
//! use bpf_atlas::probes::PidSyscalls;
//!
//! # fn main() -> Result<(), bpf_atlas::probes::ProbeError> {
//! let probe = PidSyscalls::builder().failures_only(true).attach()?;
//! std::thread::sleep(std::time::Duration::from_secs(1));
//! for process in probe.counts()? {
//!     println!("{} {}: {} failed calls", process.pid, process.comm, process.count);
//! }
//! println!("{} by {}", probe.health()?, probe.attach_kind());
//! # Ok(())
//! # }
//! ```
//! A handle is `'static` and `Send`. The program runs as long as the handle
//! lives; dropping it detaches and frees the maps. [`Health`] says how full the
//! main map is and what was not counted: nothing is lost in silence.
//!
//! Before anything is loaded the capabilities are looked at, and the first that
//! is missing is the error. Where a kernel lacks the best way to attach, the
//! next is taken, and `attach_kind` says which.

mod attach;
mod clock;
mod error;
mod exec;
mod exec_events;
mod exit;
mod health;
mod packets;
mod pid_counts;
mod pid_syscalls;
mod recent_ips;
mod retransmit;
mod ring;
mod syscall_names;
mod tcp_retransmits;
mod xdp;

use std::fmt;

use crate::CharArray;
pub use error::ProbeError;
pub use exec::{Args, Exec};
pub use exec_events::{
    ExecEvent, ExecEvents, ExecEventsBuilder, ExecFlag, ExitEvent, ProcessRecord, ProcessRecordRef,
};
pub use exit::{Exit, ProcessEvent};
pub use health::Health;
pub use packets::{Packets, PacketsBuilder, PacketsMaps, Protocol, Traffic};
pub use pid_counts::PidCounts;
pub use pid_syscalls::{
    PidCount, PidReuse, PidSyscalls, PidSyscallsBuilder, PidSyscallsMaps, SyscallCount, Task,
};
pub use recent_ips::{
    Peer, PeerStat, PeerTotals, Recent, RecentIps, RecentIpsBuilder, RecentIpsMaps, Sender,
};
pub use retransmit::Retransmit;
pub use tcp_retransmits::{
    RetransmitSummary, Retransmitted, TcpFlow, TcpFlowStat, TcpRetransmitEvent, TcpRetransmits,
    TcpRetransmitsBuilder, TcpRetransmitsPerFlow, TcpState,
};
pub use xdp::{Interface, XdpLink, XdpMode};

/// The name of a task (`comm`): up to 15 bytes of any kind, which the task
/// chose itself. Not to be trusted, nor to be printed on a terminal as it is.
pub type Comm = CharArray<16>;

/// How a probe is attached, in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttachKind {
    /// `tp_btf`: a raw tracepoint whose arguments have types. Since Linux 5.5.
    TpBtf,
    /// `raw_tp`: a raw tracepoint. Since Linux 4.17.
    RawTracepoint,
    /// `tracepoint`: a classic tracepoint, which needs tracefs. The kernel skips
    /// it on a CPU whose task is inside a map system call, the reader's own
    /// included; [`Health::missed`] says how often.
    Tracepoint,
    /// XDP in the driver, before a packet gets its `sk_buff`.
    XdpNative,
    /// XDP behind the driver, which every interface has.
    XdpGeneric,
}

impl fmt::Display for AttachKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TpBtf => "tp_btf",
            Self::RawTracepoint => "raw_tp",
            Self::Tracepoint => "tracepoint",
            Self::XdpNative => "xdp (native)",
            Self::XdpGeneric => "xdp (generic)",
        })
    }
}

/// A handle can be kept in any struct and moved to any thread.
const fn is_free<T: Send + 'static>() {}
const _: () = is_free::<PidSyscalls>();
const _: () = is_free::<Packets>();
const _: () = is_free::<ExecEvents>();
const _: () = is_free::<RecentIps>();
const _: () = is_free::<TcpRetransmits>();
const _: () = is_free::<TcpRetransmitsPerFlow>();
