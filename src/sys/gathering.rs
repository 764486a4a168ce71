//! A program that writes records into an array, and the array's memory.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use super::commands::Errno;
use super::mmap::{Mapping, page_size};
use super::pod::Pod;
use super::words::initialised;
use crate::gather::Gathered;

/// A loaded `SEC("syscall")` program and the mapped array that it alone writes.
#[derive(Debug)]
pub(crate) struct Gathering {
    program: OwnedFd,
    output: Mapping,
}

impl Gathering {
    /// Maps `array`, of `records` elements of `stride` bytes, for reading.
    ///
    /// Nothing but `program` may write the array, and nothing but the result may run
    /// the program: the caller keeps no other descriptor of either.
    pub(crate) fn new(
        program: OwnedFd,
        array: BorrowedFd<'_>,
        records: usize,
        stride: usize,
    ) -> Result<Self, Errno> {
        let bytes = records.checked_mul(stride).ok_or(Errno::INVAL)?;
        let output = Mapping::new(array, 0, bytes.next_multiple_of(page_size()), false)?;
        Ok(Self { program, output })
    }

    /// Runs the program once, `BPF_PROG_TEST_RUN`, with `args` for its context, also
    /// on return.
    pub(crate) fn run<A: Pod>(&mut self, args: &mut A) -> Result<(), Errno> {
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
        let ret = unsafe {
            libbpf_sys::bpf_prog_test_run_opts(self.program.as_fd().as_raw_fd(), &mut opts)
        };
        if ret < 0 { Err(Errno(-ret)) } else { Ok(()) }
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
