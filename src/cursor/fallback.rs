//! Walks where the kernel has no batches: arrays by index, hashes by key.

use std::mem::MaybeUninit;

use super::{Cursor, State};
use crate::cursor::Buffers;
use crate::error::{Error, Op};
use crate::sys::commands::{BatchOp, Commands, Errno};
use crate::sys::pod::raw;

impl<M: Commands> Cursor<M> {
    pub(super) fn fall_back(&mut self) -> Result<(), Error> {
        let kind = self.shape().kind;
        self.state = match kind {
            kind if kind.is_array() && self.op == BatchOp::Lookup => State::Index(0),
            kind if kind.is_array() => return Err(self.error(self.op(), Errno::NOTSUPP)),
            _ => State::NextKey { steps: 0 },
        };
        Ok(())
    }

    /// An array without batches: each index once, since elements never move.
    pub(super) fn by_index(&mut self, start: u32) -> Result<usize, Error> {
        self.reserve()?;
        let shape = *self.map.shape();
        let end = start.saturating_add(self.asked.min(u32::MAX as usize) as u32);
        let end = end.min(shape.max_entries);
        let mut count = 0;
        for index in start..end {
            let key = index.to_ne_bytes();
            if let Err(errno) = self.fetch(count, &key) {
                self.fail_after(count, errno)?;
                break;
            }
            count += 1;
        }
        self.state = State::Index(end);
        Ok(count)
    }

    /// A hash without batches: keys one by one. A key that is gone sends the
    /// kernel back to the start, so repeats are removed and steps counted.
    pub(super) fn by_key(&mut self, mut steps: u64) -> Result<usize, Error> {
        self.reserve()?;
        let shape = *self.map.shape();
        let key_size = shape.key_size as usize;
        let bound = u64::from(shape.max_entries) * 4 + 64;
        let mut count = 0;
        while count < self.asked {
            let Buffers { from, next, .. } = &mut self.buffers;
            let key = (steps > 0).then_some(&from[..key_size]);
            match self.map.next_key(key, &mut next[..key_size]) {
                Ok(()) => {}
                Err(Errno::NOENT) => {
                    self.state = State::Done;
                    return Ok(count);
                }
                Err(errno) => {
                    let error = self.error(Op::GetNextKey, errno);
                    self.fail_with(count, error)?;
                    return Ok(count);
                }
            }
            std::mem::swap(from, next);
            steps += 1;
            if steps > bound {
                let why = "keys came and went faster than this kernel, which has no batches, \
                           can walk them";
                self.fail_with(count, self.interrupted(why))?;
                return Ok(count);
            }
            let key: Box<[u8]> = self.buffers.from[..key_size].into();
            if self.seen.contains(&key) {
                continue;
            }
            match self.fetch(count, &key) {
                Ok(()) => {
                    self.seen.insert(key);
                    count += 1;
                }
                // Deleted meanwhile: it did not stay.
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    let error = self.error(Op::Lookup, errno);
                    self.fail_with(count, error)?;
                    return Ok(count);
                }
            }
        }
        self.state = State::NextKey { steps };
        Ok(count)
    }

    /// Copies one entry into place `at` of the buffers.
    fn fetch(&mut self, at: usize, key: &[u8]) -> Result<(), Errno> {
        let span = self.map.shape().value_span();
        let value = &mut self.buffers.value;
        value.resize(span, MaybeUninit::uninit());
        let value = match self.op {
            BatchOp::Lookup => self.map.lookup(raw(key), value)?,
            BatchOp::LookupAndDelete => self.map.lookup_and_delete(raw(key), value)?,
        };
        self.buffers.values.bytes_mut()[at * span..(at + 1) * span].copy_from_slice(value);
        self.buffers.keys[at * key.len()..(at + 1) * key.len()].copy_from_slice(key);
        Ok(())
    }

    fn fail_after(&mut self, count: usize, errno: Errno) -> Result<(), Error> {
        let error = self.error(Op::Lookup, errno);
        self.fail_with(count, error)
    }

    /// The error now, or after the `count` entries that came before it.
    fn fail_with(&mut self, count: usize, error: Error) -> Result<(), Error> {
        self.state = State::Done;
        if count == 0 {
            return Err(error);
        }
        self.pending = Some(error);
        Ok(())
    }
}
