//! A descriptor in a tokio runtime.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `fd` for reading with the runtime that this is called in.
///
/// # Panics
/// Outside a runtime with IO, as tokio does.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is an open descriptor; it moves into the result, which
    // owns it until it is deregistered, and `OwnedFd::as_raw_fd` always gives the
    // same number. Nobody else closes it or puts another file in its place.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(io::Error::from)
}
