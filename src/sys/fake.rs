//! A kernel that does on demand what a real one does too rarely to test.
//!
//! A hash of buckets that keeps the rules of
//! `__htab_map_lookup_and_delete_batch`: a bucket is copied whole or not at
//! all, the cursor is a bucket number of 4 bytes, a short batch is no end. At
//! chosen commands it answers with a chosen error instead, before or after it
//! has copied some buckets.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;

use super::commands::{BatchOp, Commands, Errno};
use super::pod::RawBytes;
use crate::kind::{MapKind, MapName};
use crate::raw::Shape;

/// What a command does instead of succeeding.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Fails before anything is copied; the count says 0.
    Before(Errno),
    /// Fails before the kernel looks at the count, which stays as asked.
    Untouched(Errno),
    /// Fails after that many buckets, whose entries are delivered.
    After(Errno, usize),
    /// Succeeds without an entry or progress.
    Nothing,
}

/// Entries, as the bytes of key and value.
type Bucket = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) struct FakeMap {
    shape: Shape,
    pub(crate) buckets: RefCell<Vec<Bucket>>,
    /// Faults by the number of the batch command, from 0.
    faults: Vec<(usize, Fault)>,
    pub(crate) commands: Cell<usize>,
    /// Whether batches are known at all.
    pub(crate) batches: bool,
    /// Runs before each `next_key`: what a concurrent writer does.
    pub(crate) churn: Option<fn(&FakeMap, usize)>,
}

impl FakeMap {
    /// `n` keys of `u32` with values of `u64`, `per_bucket` to a bucket.
    pub(crate) fn new(kind: MapKind, n: u32, per_bucket: usize) -> Self {
        let entries: Vec<_> = (0..n)
            .map(|key| (key.to_ne_bytes().to_vec(), u64::from(key).to_ne_bytes().to_vec()))
            .collect();
        Self {
            shape: Shape {
                kind,
                id: 1,
                name: MapName::from_text("fake"),
                key_size: 4,
                value_size: 8,
                max_entries: n.max(1),
                flags: 0,
                btf_id: 0,
                btf_key_type_id: 0,
                btf_value_type_id: 0,
                cpus: 1,
            },
            buckets: RefCell::new(entries.chunks(per_bucket).map(<[_]>::to_vec).collect()),
            faults: Vec::new(),
            commands: Cell::new(0),
            batches: true,
            churn: None,
        }
    }

    pub(crate) fn with_fault(mut self, command: usize, fault: Fault) -> Self {
        self.faults.push((command, fault));
        self
    }

    pub(crate) fn without_batches(mut self) -> Self {
        self.batches = false;
        self
    }

    fn find(&self, key: &[u8]) -> Option<(usize, usize)> {
        let buckets = self.buckets.borrow();
        buckets.iter().enumerate().find_map(|(bucket, entries)| {
            Some((bucket, entries.iter().position(|(found, _)| found == key)?))
        })
    }
}

/// The key bytes of a typed test key.
fn plain(key: &RawBytes) -> Vec<u8> {
    // SAFETY: the tests' keys are integers, whose bytes are all initialised.
    key.iter().map(|byte| unsafe { byte.assume_init() }).collect()
}

impl Commands for &FakeMap {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn batch(
        &self,
        op: BatchOp,
        from: Option<&[u8]>,
        next: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
        count: &mut u32,
    ) -> Result<(), Errno> {
        let number = self.commands.replace(self.commands.get() + 1);
        if !self.batches {
            return Err(Errno::NOTSUPP);
        }
        let fault = self.faults.iter().find(|(at, _)| *at == number).map(|(_, fault)| *fault);
        let asked = std::mem::take(count) as usize;
        let limit = match fault {
            Some(Fault::Untouched(errno)) => {
                *count = asked as u32;
                return Err(errno);
            }
            Some(Fault::Before(errno)) => return Err(errno),
            Some(Fault::Nothing) => return Ok(()),
            Some(Fault::After(_, buckets)) => buckets,
            None => usize::MAX,
        };
        let start = from.map_or(0, |from| u32::from_ne_bytes(from[..4].try_into().unwrap()));
        let mut buckets = self.buckets.borrow_mut();
        let (mut at, mut done, mut copied) = (start as usize, 0, 0);
        let result = loop {
            if at >= buckets.len() {
                break Err(Errno::NOENT);
            }
            if copied == limit {
                break Err(match fault {
                    Some(Fault::After(errno, _)) => errno,
                    _ => unreachable!(),
                });
            }
            if buckets[at].len() > asked - done {
                break if done == 0 { Err(Errno::NOSPC) } else { Ok(()) };
            }
            for (key, value) in &buckets[at] {
                keys[done * 4..][..4].copy_from_slice(key);
                values[done * 8..][..8].copy_from_slice(value);
                done += 1;
            }
            if op == BatchOp::LookupAndDelete {
                buckets[at].clear();
            }
            at += 1;
            copied += 1;
        };
        next[..4].copy_from_slice(&(at as u32).to_ne_bytes());
        *count = done as u32;
        result
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let number = self.commands.replace(self.commands.get() + 1);
        if let Some(churn) = self.churn {
            churn(self, number);
        }
        let after = key.and_then(|key| self.find(key));
        let buckets = self.buckets.borrow();
        let (start, skip) = after.map_or((0, 0), |(bucket, at)| (bucket, at + 1));
        let rest = buckets[start].iter().skip(skip);
        let found = rest.chain(buckets[start + 1..].iter().flatten()).next();
        let (found, _) = found.ok_or(Errno::NOENT)?;
        next.copy_from_slice(found);
        Ok(())
    }

    fn lookup<'v>(
        &self,
        key: &RawBytes,
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno> {
        let (bucket, at) = self.find(&plain(key)).ok_or(Errno::NOENT)?;
        let found = &self.buckets.borrow()[bucket][at].1;
        for (to, from) in value.iter_mut().zip(found) {
            to.write(*from);
        }
        // SAFETY: all 8 bytes of the tests' values were just written.
        Ok(unsafe { &mut *(std::ptr::from_mut(value) as *mut [u8]) })
    }

    fn lookup_and_delete<'v>(
        &self,
        key: &RawBytes,
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno> {
        let result = self.lookup(key, value);
        if let Some((bucket, at)) = self.find(&plain(key)) {
            self.buckets.borrow_mut()[bucket].remove(at);
        }
        result
    }
}
