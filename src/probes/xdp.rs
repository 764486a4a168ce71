//! [`XdpMode`], [`Interface`] and [`XdpLink`]: what the probes of an interface
//! have in common.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libbpf_rs::query::{LinkInfo, LinkTypeInfo};
use libbpf_rs::{Object, Program, XdpFlags};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{if_indextoname, if_nametoindex};

use super::attach::first_that_works;
use super::{AttachKind, ProbeError};
use crate::agent;
use crate::caps::Capability;
use crate::error::Errno;
use crate::object::ObjectError;

/// What a probe needs that attaches to an interface. `CAP_PERFMON` for the
/// verifier: without it there is no arithmetic on a pointer into a packet.
pub(super) const NEEDS: [Capability; 3] =
    [Capability::NetAdmin, Capability::Bpf, Capability::Perfmon];

/// Where in the path of a packet an XDP program is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum XdpMode {
    /// Native where the driver can do it, else generic.
    #[default]
    Auto,
    /// In the driver, before a packet gets its `sk_buff`: the cheapest place.
    Native,
    /// Behind the driver, where every interface can do it.
    Generic,
}

impl XdpMode {
    fn kinds(self) -> &'static [AttachKind] {
        match self {
            Self::Auto => &[AttachKind::XdpNative, AttachKind::XdpGeneric],
            Self::Native => &[AttachKind::XdpNative],
            Self::Generic => &[AttachKind::XdpGeneric],
        }
    }
}

/// A network interface of the thread's network namespace, by name or index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// As `ip link` lists it.
    Name(String),
    /// Its number.
    Index(u32),
}

impl From<&str> for Interface {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for Interface {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<u32> for Interface {
    fn from(index: u32) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.pad(name),
            Self::Index(index) => f.pad(&format!("number {index}")),
        }
    }
}

impl Interface {
    /// Looks it up, in the network namespace of this thread.
    fn resolve(&self, probe: &'static str) -> Result<Found, ProbeError> {
        let index = match self {
            Self::Name(name) => if_nametoindex(name.as_str()).ok(),
            Self::Index(index) => Some(*index),
        };
        // A name can be an alternative one; this gives the first.
        let found = index.and_then(|index| {
            let name = if_indextoname(index).ok()?.to_string_lossy().into_owned();
            // nix 0.31 takes the null pointer of a failure for a success.
            (!name.is_empty()).then_some(Found { index, name })
        });
        let found = found.ok_or_else(|| ProbeError::InvalidOption {
            probe,
            what: format!("there is no interface {self} in this network namespace"),
        })?;
        if !has_ethernet_frames(&found.name) {
            return Err(ProbeError::Unsupported {
                what: format!("{probe} on {}", found.name),
                needs: "an interface with Ethernet headers, unlike most tunnels",
            });
        }
        Ok(found)
    }
}

/// Whether packets of the interface begin with an Ethernet header, as the
/// programs expect. Taken for granted where the system does not tell.
fn has_ethernet_frames(name: &str) -> bool {
    // ARPHRD_ETHER and ARPHRD_LOOPBACK of <linux/if_arp.h>.
    const ETHERNET: [u16; 2] = [1, 772];
    let Ok(mut addresses) = getifaddrs() else { return true };
    addresses.any(|address| {
        // An interface without headers has no link address at all.
        let link = address.address.as_ref().and_then(|address| address.as_link_addr());
        address.interface_name == name && link.is_some_and(|link| ETHERNET.contains(&link.hatype()))
    })
}

struct Found {
    index: u32,
    name: String,
}

/// Loads the two forms of a program, that for frames of several buffers and the
/// plain one; a driver can refuse one of them. Before Linux 5.18 the plain one
/// alone: `load` is told whether to load the other.
pub(super) fn load<T>(load: impl Fn(bool) -> Result<T, ObjectError>) -> Result<T, ObjectError> {
    load(true).or_else(|error| {
        log::info!("{error}; trying without support for frames of several buffers");
        load(false)
    })
}

/// Whether a program's runs can interrupt each other on a CPU: `preemptible` of
/// `frame.h`. A real-time kernel says in its version what it is.
pub(super) fn preemptible() -> bool {
    let real_time =
        |version: &str| ["PREEMPT_RT", "PREEMPT RT"].iter().any(|rt| version.contains(rt));
    nix::sys::utsname::uname().map_or(true, |name| real_time(&name.version().to_string_lossy()))
}

/// Those of the programs of these names that were loaded, in this order.
pub(super) fn loaded<'o>(object: &'o Object, names: [&str; 2]) -> Vec<Program<'o>> {
    let find = |name| object.progs().find(|program| program.name() == name && program.autoload());
    names.into_iter().filter_map(find).collect()
}

/// An XDP program on an interface. Dropping it detaches, and so does the end
/// of the process, however it ends.
///
/// It is a `bpf_link`, since Linux 5.9. Before, a program could only be set
/// through netlink and stayed when its owner was killed; that is not offered.
#[derive(Debug)]
pub struct XdpLink {
    fd: OwnedFd,
    kind: AttachKind,
    index: u32,
    name: String,
}

impl XdpLink {
    /// Attaches the first of `programs` that the interface takes; in each mode
    /// all of them are tried.
    pub(super) fn attach(
        probe: &'static str,
        programs: &[Program<'_>],
        interface: &Interface,
        mode: XdpMode,
    ) -> Result<Self, ProbeError> {
        let Found { index, name } = interface.resolve(probe)?;
        let (fd, kind) = first_that_works(probe, mode.kinds(), |kind| {
            let flags = || match kind {
                AttachKind::XdpNative => XdpFlags::DRV_MODE,
                _ => XdpFlags::SKB_MODE,
            };
            let mut first = None;
            for program in programs {
                match agent::attach_xdp(program, index, flags()) {
                    Ok(fd) => return Ok(fd),
                    Err(errno) => first.get_or_insert(errno),
                };
            }
            // What speaks against the first program is the better reason.
            Err(explain(probe, &name, kind, first.unwrap_or(Errno(0))))
        })?;
        Ok(Self { fd, kind, index, name })
    }

    /// How it is attached: native or generic.
    pub fn kind(&self) -> AttachKind {
        self.kind
    }

    /// The interface's name when the program was attached.
    pub fn interface(&self) -> &str {
        &self.name
    }

    /// The interface's number.
    pub fn ifindex(&self) -> u32 {
        self.index
    }

    /// Whether the interface is still there: one that is removed takes the
    /// program with it, and the link stays behind. One `BPF_OBJ_GET_INFO_BY_FD`.
    ///
    /// # Errors
    /// [`Sys`](ProbeError::Sys).
    pub fn is_attached(&self) -> Result<bool, ProbeError> {
        match LinkInfo::from_fd(self.fd.as_fd()) {
            Ok(info) => Ok(match info.info {
                LinkTypeInfo::Xdp(xdp) => xdp.ifindex != 0,
                _ => true,
            }),
            Err(_) => Err(ProbeError::Sys {
                what: format!("asking for the link on {}", self.name),
                errno: Errno(nix::errno::Errno::last_raw()),
            }),
        }
    }
}

impl AsFd for XdpLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn explain(probe: &'static str, name: &str, kind: AttachKind, errno: Errno) -> ProbeError {
    let native = kind == AttachKind::XdpNative;
    match errno {
        Errno::PERM | Errno::ACCES => {
            ProbeError::PermissionDenied { probe, missing: Capability::first_missing(&NEEDS) }
        }
        Errno::BUSY | Errno::EXIST => ProbeError::Unsupported {
            what: format!("a second XDP program on {name}"),
            needs: "the first to be detached (`ip -details link show` names it)",
        },
        Errno::OPNOTSUPP | Errno::NOTSUPP if native => ProbeError::Unsupported {
            what: format!("native XDP on {name}"),
            needs: "a driver that can do it, with these settings of the interface; or generic mode",
        },
        Errno::INVAL if native => ProbeError::Unsupported {
            what: format!("native XDP on {name}"),
            needs: "Linux 5.9, and settings of the interface that the driver takes (MTU, offloads)",
        },
        Errno::INVAL => ProbeError::Unsupported {
            what: format!("generic XDP on {name}"),
            needs: "Linux 5.9, and an interface that is not part of a bond",
        },
        errno => ProbeError::Sys { what: format!("attaching to {name} as {kind}"), errno },
    }
}
