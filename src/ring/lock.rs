//! One consumer for each ring.
//!
//! The kernel lets any number of processes map a ring; two that read it tear
//! each other's records. A socket in the abstract namespace, named after the
//! ring's id, belongs to one process at a time and goes with it, however it
//! dies.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
    socket, sockopt::PeerCredentials,
};

use crate::error::OpenError;
use crate::kind::MapName;

/// Held while a ring is read.
#[derive(Debug)]
pub(super) struct ConsumerLock {
    _socket: Option<OwnedFd>,
}

fn new_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

/// Who holds the name: process and user.
fn holder(address: &UnixAddr) -> nix::Result<(i32, u32)> {
    let socket = new_socket()?;
    connect(socket.as_raw_fd(), address)?;
    let credentials = getsockopt(&socket.as_fd(), PeerCredentials)?;
    Ok((credentials.pid(), credentials.uid()))
}

impl ConsumerLock {
    /// Takes the lock of the ring with this id.
    ///
    /// Names live in a network namespace, so a reader in another one is not
    /// seen. A holder that is neither root nor this user is passed over: it
    /// could not read the ring, and must not keep others from it.
    pub(super) fn take(id: u32, map: MapName) -> Result<Self, OpenError> {
        let name = format!("bpf-atlas-ring-{id}");
        let taken = UnixAddr::new_abstract(name.as_bytes()).and_then(|address| {
            let socket = new_socket()?;
            match bind(socket.as_raw_fd(), &address) {
                Ok(()) => {
                    listen(&socket, Backlog::new(16)?)?;
                    Ok(Ok(socket))
                }
                Err(Errno::EADDRINUSE) => Ok(Err(holder(&address).ok())),
                Err(errno) => Err(errno),
            }
        });
        match taken {
            Ok(Ok(socket)) => Ok(Self { _socket: Some(socket) }),
            Ok(Err(Some((_, uid)))) if uid != 0 && uid != nix::unistd::geteuid().as_raw() => {
                log::warn!("{name} is held by user {uid}, who cannot read the ring; ignored");
                Ok(Self { _socket: None })
            }
            Ok(Err(holder)) => {
                let pid = holder.and_then(|(pid, _)| u32::try_from(pid).ok());
                Err(OpenError::InUse { map, pid })
            }
            // No sockets here (a sandbox): reading is worth more than the guard.
            Err(errno) => {
                log::warn!("cannot guard ring `{map}` against a second reader: {errno}");
                Ok(Self { _socket: None })
            }
        }
    }
}
