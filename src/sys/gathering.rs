//! A program that writes records into an array, and the array's memory.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::bpf::Map;
use super::commands::Errno;
use super::mmap::{Mapping, page_size};
use super::pod::{Pod, bytes_of, raw};
use super::words::initialised;
use crate::gather::Gathered;

/// A loaded program and the mapped array that it alone writes.
#[derive(Debug)]
pub(crate) struct Gathering {
    start: Start,
    output: Mapping,
}

/// How the program is started.
#[derive(Debug)]
pub(crate) enum Start {
    /// A `SEC("syscall")` program.
    Run(OwnedFd),
    /// A `SEC("iter/bpf_map_elem")` program that prints nothing, by its link; what it is told
    /// and answers is in the one element of `answer`.
    Read {
        /// The link to the map.
        link: OwnedFd,
        /// An array of the arguments.
        answer: Map,
    },
}

impl Gathering {
    /// Maps `array`, of `records` elements of `stride` bytes, for reading.
    ///
    /// Nothing but the program may write the array, and nothing but the result may run
    /// the program: the caller keeps no other descriptor of either.
    pub(crate) fn new(
        start: Start,
        array: BorrowedFd<'_>,
        records: usize,
        stride: usize,
    ) -> Result<Self, Errno> {
        let bytes = records.checked_mul(stride).ok_or(Errno::INVAL)?;
        let output = Mapping::new(array, 0, bytes.next_multiple_of(page_size()), false)?;
        Ok(Self { start, output })
    }

    /// Runs the program over the whole map, with `args` for what it is told, also on
    /// return.
    pub(crate) fn run<A: Pod>(&mut self, args: &mut A) -> Result<(), Errno> {
        match &self.start {
            Start::Run(program) => test_run(program, args),
            Start::Read { link, answer } => {
                let key = 0_u32;
                answer.update(bytes_of(&key), raw(initialised(args)), 0)?;
                read_all(link)?;
                *args = answer.lookup_value(bytes_of(&key))?;
                Ok(())
            }
        }
    }

    /// The first `count` records.
    pub(crate) fn records<K: Pod, V: Pod>(&self, count: usize) -> &[Gathered<K, V>] {
        let bytes = count.checked_mul(size_of::<Gathered<K, V>>()).expect("they are in memory");
        let start = self.output.at(0, bytes).cast::<Gathered<K, V>>();
        assert!(start.is_aligned());
        // SAFETY: `start` is aligned and followed by `bytes` of the mapping, as `at`
        // asserts, which lives as long as `self`. The memory is initialised (the
        // kernel zeroes it), and any bit pattern is a valid `K` and `V`. Only the
        // program writes it, which only `run` starts, by `&mut self`: not while the
        // result borrows `self`, and the program has returned when `run` does.
        unsafe { std::slice::from_raw_parts(start, count) }
    }
}

fn checked(ret: i32) -> Result<(), Errno> {
    if ret < 0 { Err(Errno(-ret)) } else { Ok(()) }
}

/// `BPF_PROG_TEST_RUN`, with `args` for its context.
fn test_run<A: Pod>(program: &OwnedFd, args: &mut A) -> Result<(), Errno> {
    // Checked at compile time: every byte of it is one that the kernel may read.
    let _ = initialised(args);
    let mut opts = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
        ctx_in: ptr::from_mut(args).cast(),
        ctx_size_in: size_of::<A>() as u32,
        ..Default::default()
    };
    // SAFETY: `opts` outlives the call and `sz` is its size. The kernel reads and
    // writes `ctx_size_in` bytes at `ctx_in`, which is `args`, borrowed
    // exclusively; any bit pattern is a valid `A`. All other pointers are null
    // and their lengths 0. Whatever kind of program it is, that is all.
    checked(unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &mut opts) })
}

/// Reads an iterator to its end, which runs the program for each element.
fn read_all(link: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: the command takes numbers only.
    let fd = unsafe { libbpf_sys::bpf_iter_create(link.as_raw_fd()) };
    checked(fd)?;
    // SAFETY: a fresh descriptor that nobody else knows.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut printed = [0; 64];
    loop {
        match nix::unistd::read(&file, &mut printed) {
            Ok(0) => return Ok(()),
            // The kernel pauses after a million elements, and goes on from there.
            Ok(_) | Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
