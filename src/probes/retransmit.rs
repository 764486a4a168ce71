//! [`Retransmit`]: a record of [`TcpRetransmits`](super::TcpRetransmits), decoded.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::time::SystemTime;

use super::clock::BootClock;
use super::tcp_retransmits::{TcpFlow, TcpRetransmitEvent, TcpState};
use crate::error::Errno;

/// What the kernel makes of a segment that its own queue dropped.
const ENOBUFS: Errno = Errno(105);

/// A record, decoded in the ring's own memory. Dereferences to
/// [`TcpRetransmitEvent`].
#[derive(Clone, Copy, Debug)]
pub struct Retransmit<'a> {
    pub(super) event: &'a TcpRetransmitEvent,
    pub(super) clock: BootClock,
}

impl Deref for Retransmit<'_> {
    type Target = TcpRetransmitEvent;

    fn deref(&self) -> &TcpRetransmitEvent {
        self.event
    }
}

impl Retransmit<'_> {
    /// When it happened.
    pub fn time(&self) -> SystemTime {
        self.clock.at(self.time_ns)
    }
}

impl TcpRetransmitEvent {
    /// This end.
    pub fn local(&self) -> SocketAddr {
        self.flow.local()
    }

    /// The other end.
    pub fn remote(&self) -> SocketAddr {
        self.flow.remote()
    }

    /// Whether it is a tail loss probe: no sign of loss yet, but of no news
    /// either. In a good network most of what is sent again are such probes.
    pub fn is_loss_probe(&self) -> bool {
        self.loss_probe != 0
    }

    /// The process inside whose system call it was sent.
    ///
    /// `None` mostly, and rightly: a timer or an arriving packet sends again,
    /// while some other task happens to be on the CPU. What the kernel calls the
    /// current process is then no more than a passer-by.
    pub fn pid(&self) -> Option<u32> {
        (self.pid != 0).then_some(self.pid)
    }

    /// Why it was not sent; `None` where it was. A segment that the queue of
    /// the interface dropped is `ENOBUFS`, as the kernel itself has it.
    pub fn error(&self) -> Option<Errno> {
        match self.err {
            0 => None,
            1.. => Some(ENOBUFS),
            _ => Some(Errno(self.err.wrapping_neg())),
        }
    }
}

impl TcpFlow {
    /// A connection from here to there, in the network namespace with this
    /// inode number. `None` if one end is IPv4 and the other IPv6.
    pub fn new(local: SocketAddr, remote: SocketAddr, netns: u32) -> Option<Self> {
        let family = match (local, remote) {
            (SocketAddr::V4(_), SocketAddr::V4(_)) => 4,
            (SocketAddr::V6(_), SocketAddr::V6(_)) => 6,
            _ => return None,
        };
        let (laddr, raddr) = (bytes(local.ip()), bytes(remote.ip()));
        Some(Self { laddr, raddr, lport: local.port(), rport: remote.port(), family, netns })
    }

    /// This end. An IPv6 address comes without its scope.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.address(self.laddr), self.lport)
    }

    /// The other end.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.address(self.raddr), self.rport)
    }

    fn address(&self, bytes: [u8; 16]) -> IpAddr {
        let [a, b, c, d, ..] = bytes;
        match self.family {
            4 => Ipv4Addr::new(a, b, c, d).into(),
            _ => Ipv6Addr::from(bytes).into(),
        }
    }
}

fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The kernel's name without its prefix, as `ESTABLISHED`; a number without a
/// name as it is.
impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.c_name() {
            Some(name) => f.pad(name.strip_prefix("TCP_").unwrap_or(name)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_gives_back_the_ends_it_was_made_of() {
        for (local, remote) in [
            ("192.0.2.1:1", "198.51.100.255:65535"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[2001:db8::1]:80", "[::1]:443"),
            ("[::]:0", "[::ffff:192.0.2.1]:9"),
        ] {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            let flow = TcpFlow::new(local, remote, 7).unwrap();
            assert_eq!((flow.local(), flow.remote(), flow.netns), (local, remote, 7));
        }
        let (v4, v6) = ("192.0.2.1:1".parse().unwrap(), "[::ffff:192.0.2.1]:1".parse().unwrap());
        assert_eq!(TcpFlow::new(v4, v6, 0), None);
        assert_ne!(TcpFlow::new(v4, v4, 0), TcpFlow::new(v6, v6, 0));
    }

    #[test]
    fn failures_are_told_by_error_number() {
        let error = |err| TcpRetransmitEvent { err, ..Default::default() }.error();
        assert_eq!((error(0), error(-113), error(1)), (None, Some(Errno(113)), Some(ENOBUFS)));
        assert!(error(i32::MIN).is_some());
    }

    #[test]
    fn states_are_named_as_everywhere_and_unknown_ones_numbered() {
        assert_eq!(TcpState::TCP_NEW_SYN_RECV.to_string(), "NEW_SYN_RECV");
        assert_eq!(
            format!("{:>12}|{:<3}|", TcpState::TCP_CLOSE, TcpState(77)),
            "       CLOSE|77 |"
        );
    }
}
