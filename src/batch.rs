//! Batches of writes: `UPDATE_BATCH` and `DELETE_BATCH`, or one by one where the
//! kernel has neither.

use std::borrow::Borrow;
use std::mem::MaybeUninit;

use crate::error::{Op, Result};
use crate::per_cpu::PerCpu;
use crate::sys::commands::Errno;
use crate::sys::pod::{Pod, bytes_of, bytes_of_slice};
use crate::typed::{Mode, TRIES, Typed, pause};

/// Writes of a batch command.
const WRITE_BATCH: usize = 1024;
/// Bytes of values that are enough for a batch, where values are large.
const WRITE_BYTES: usize = 4 << 20;

impl<K: Pod, V: Pod> Typed<K, V> {
    pub(crate) fn update_all<E, KB, VB>(&self, entries: E) -> Result<usize>
    where
        E: IntoIterator<Item = (KB, VB)>,
        KB: Borrow<K>,
        VB: Borrow<V>,
    {
        let mut batch = WriteBatch::new(self);
        for (key, value) in entries {
            batch.push(*key.borrow(), |values| {
                values.extend_from_slice(bytes_of(value.borrow()));
                Ok(())
            })?;
        }
        batch.finish()
    }

    pub(crate) fn update_all_cpus<E, KB, VB>(&self, entries: E) -> Result<usize>
    where
        E: IntoIterator<Item = (KB, VB)>,
        KB: Borrow<K>,
        VB: Borrow<PerCpu<V>>,
    {
        let mut batch = WriteBatch::new(self);
        for (key, value) in entries {
            batch.push(*key.borrow(), |values| value.borrow().append(values, self.shape()))?;
        }
        batch.finish()
    }

    pub(crate) fn delete_all<KB: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = KB>,
    ) -> Result<usize> {
        let mut done = 0;
        let mut keys = keys.into_iter();
        let mut batch: Vec<K> = Vec::with_capacity(WRITE_BATCH);
        loop {
            batch.clear();
            batch.extend(keys.by_ref().take(WRITE_BATCH).map(|key| *key.borrow()));
            if batch.is_empty() {
                return Ok(done);
            }
            self.delete_batch(&batch, &mut done)?;
        }
    }

    /// Deletes `keys`, passing over those that are not there.
    fn delete_batch(&self, mut keys: &[K], done: &mut usize) -> Result<()> {
        let (mut batches, mut tries) = (true, 0);
        while let [first, ..] = keys {
            let (deleted, result) = if batches {
                self.raw.sys().delete_batch(bytes_of_slice(keys), keys.len() as u32)
            } else {
                let result = self.raw.sys().delete(bytes_of(first));
                (u32::from(result.is_ok()), result)
            };
            *done += deleted as usize;
            if deleted > 0 {
                tries = 0;
            }
            keys = &keys[deleted as usize..];
            match result {
                Ok(()) => {}
                // The key behind the deleted ones is not there.
                Err(Errno::NOENT) => keys = keys.get(1..).unwrap_or(&[]),
                Err(errno) if errno.is_transient() && tries < TRIES => {
                    tries += 1;
                    pause(tries);
                }
                Err(Errno::NOTSUPP | Errno::INVAL) if batches => batches = false,
                Err(errno) => {
                    let op = if batches { Op::DeleteBatch } else { Op::Delete };
                    return Err(self.partial(op, *done, self.explain(op, errno)));
                }
            }
        }
        Ok(())
    }
}

/// Entries on their way into the map, sent when enough have come together.
struct WriteBatch<'a, K, V> {
    map: &'a Typed<K, V>,
    keys: Vec<K>,
    values: Vec<MaybeUninit<u8>>,
    done: usize,
    batches: bool,
}

impl<'a, K: Pod, V: Pod> WriteBatch<'a, K, V> {
    fn new(map: &'a Typed<K, V>) -> Self {
        Self { map, keys: Vec::new(), values: Vec::new(), done: 0, batches: true }
    }

    fn push(
        &mut self,
        key: K,
        value: impl FnOnce(&mut Vec<MaybeUninit<u8>>) -> Result<()>,
    ) -> Result<()> {
        if let Err(error) = value(&mut self.values) {
            // What was good before it is still written.
            self.send()?;
            return Err(self.map.partial(Op::UpdateBatch, self.done, error));
        }
        self.keys.push(key);
        let enough = self.keys.len() == WRITE_BATCH || self.values.len() >= WRITE_BYTES;
        if enough { self.send() } else { Ok(()) }
    }

    fn finish(mut self) -> Result<usize> {
        self.send()?;
        Ok(self.done)
    }

    fn send(&mut self) -> Result<()> {
        let span = self.map.shape().value_span();
        let sys = self.map.raw.sys();
        let (mut at, mut tries) = (0, 0);
        while at < self.keys.len() {
            let (keys, values) = (&self.keys[at..], &self.values[at * span..]);
            let (written, result) = if self.batches {
                sys.update_batch(bytes_of_slice(keys), values, keys.len() as u32)
            } else {
                let result = sys.update(bytes_of(&keys[0]), &values[..span], Mode::Any.flags());
                (u32::from(result.is_ok()), result)
            };
            at += written as usize;
            self.done += written as usize;
            if written > 0 {
                tries = 0;
            }
            match result {
                Ok(()) => {}
                Err(errno) if errno.is_transient() && tries < TRIES => {
                    tries += 1;
                    pause(tries);
                }
                Err(Errno::NOTSUPP | Errno::INVAL) if self.batches => self.batches = false,
                Err(errno) => {
                    let op = if self.batches { Op::UpdateBatch } else { Op::Update };
                    let source = self.map.explain(op, errno);
                    return Err(self.map.partial(op, self.done, source));
                }
            }
        }
        self.keys.clear();
        self.values.clear();
        Ok(())
    }
}
