//! One consumer for each ring.
//!
//! The kernel lets any number of processes map a ring; two that read it tear
//! each other's records. A socket in the abstract namespace, named after the
//! ring's id, belongs to one process at a time and goes with it, however it
//! dies.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, UnixAddr, bind, connect, getsockopt,
    listen, shutdown, socket, sockopt::PeerCredentials,
};

use crate::error::OpenError;
use crate::kind::MapName;

/// How long a name is waited for that is taken while nobody listens there.
const PATIENCE: Duration = Duration::from_secs(1);

/// Held while a ring is read.
#[derive(Debug)]
pub(super) struct ConsumerLock {
    socket: Option<OwnedFd>,
}

impl Drop for ConsumerLock {
    fn drop(&mut self) {
        // A child that this process is just starting has a copy of the socket
        // until it execs. Nobody listens there any more.
        if let Some(socket) = &self.socket {
            let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
        }
    }
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

/// The socket of that name, or who holds it.
fn try_take(name: &str) -> nix::Result<Result<OwnedFd, nix::Result<(i32, u32)>>> {
    let address = UnixAddr::new_abstract(name.as_bytes())?;
    let socket = new_socket()?;
    match bind(socket.as_raw_fd(), &address) {
        Ok(()) => {
            // Those who ask for the holder are never accepted, and stay in the queue.
            listen(&socket, Backlog::new(1024)?)?;
            Ok(Ok(socket))
        }
        Err(Errno::EADDRINUSE) => Ok(Err(holder(&address))),
        Err(errno) => Err(errno),
    }
}

impl ConsumerLock {
    /// Takes the lock of the ring with this id.
    ///
    /// Names live in a network namespace, so a reader in another one is not
    /// seen. A holder that is neither root nor this user is passed over: it
    /// could not read the ring, and must not keep others from it.
    pub(super) fn take(id: u32, map: MapName) -> Result<Self, OpenError> {
        let name = format!("bpf-atlas-ring-{id}");
        let start = Instant::now();
        let taken = loop {
            match try_take(&name) {
                Ok(Err(Err(Errno::ECONNREFUSED))) if start.elapsed() < PATIENCE => yield_now(),
                taken => break taken,
            }
        };
        match taken {
            Ok(Ok(socket)) => Ok(Self { socket: Some(socket) }),
            Ok(Err(Ok((_, uid)))) if uid != 0 && uid != nix::unistd::geteuid().as_raw() => {
                log::warn!("{name} is held by user {uid}, who cannot read the ring; ignored");
                Ok(Self { socket: None })
            }
            Ok(Err(Err(Errno::ECONNREFUSED))) => {
                log::warn!("{name} is held by nobody who reads the ring; ignored");
                Ok(Self { socket: None })
            }
            Ok(Err(holder)) => {
                let pid = holder.ok().and_then(|(pid, _)| u32::try_from(pid).ok());
                Err(OpenError::InUse { map, pid })
            }
            // No sockets here (a sandbox): reading is worth more than the guard.
            Err(errno) => {
                log::warn!("cannot guard ring `{map}` against a second reader: {errno}");
                Ok(Self { socket: None })
            }
        }
    }
}
