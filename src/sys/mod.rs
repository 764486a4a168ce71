//! The only folder with `unsafe`: the `bpf(2)` map commands, memory maps, the
//! ring protocol, and the step from plain old data to bytes and back.
//!
//! Every function here is safe to call: the preconditions of the system calls
//! (how many bytes the kernel will read or write) are taken from the kernel's
//! own description of the map, never from the caller.

#![allow(unsafe_code)]

#[cfg(feature = "tokio")]
pub(crate) mod async_fd;
pub(crate) mod atomic;
pub(crate) mod block;
pub(crate) mod bpf;
pub(crate) mod btf;
pub(crate) mod caps;
pub(crate) mod commands;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(feature = "gather")]
pub(crate) mod gathering;
pub(crate) mod inline;
pub(crate) mod mmap;
pub(crate) mod object;
pub(crate) mod open_map;
pub(crate) mod pod;
pub(crate) mod prog;
pub(crate) mod ring;
pub(crate) mod section;
pub(crate) mod tag;
pub(crate) mod words;
pub(crate) mod xdp;
