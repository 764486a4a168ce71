//! The one walk (guarantee G1): batches until the kernel says `ENOENT`.
//!
//! Hash kinds: the kernel's cursor is a bucket number, a key never changes its
//! bucket, and a bucket is copied under its lock. So a key that stays is seen
//! exactly once and none twice, whatever else happens to the map. Arrays: the
//! cursor is the last index.
//!
//! * A short batch (success with fewer entries than asked) means that the next
//!   bucket did not fit. It is not the end.
//! * `ENOSPC` with no entries means that not even one bucket fits: the buffers
//!   grow and the same cursor is used again.
//! * A lock that is not to be had, or a signal, comes with the entries before
//!   it: they are delivered, then the walk goes on from there.
//! * Any other error is delivered as one, after the entries before it.
//!
//! A kernel without batches for the kind (arrays before 5.13, hashes before
//! 5.6) is walked by index, or by `GET_NEXT_KEY` with repeats removed and a
//! bound on the steps.

mod fallback;

use std::collections::HashSet;
use std::mem::MaybeUninit;

use crate::error::{Error, Op};
use crate::raw::{RawMap, Shape};
use crate::sys::block::Block;
use crate::sys::commands::{BatchOp, Commands, Errno};

/// Entries of a batch where the user has not chosen. Measured: past it the
/// cost of a walk no longer falls, and the buffers leave the cache.
const DEFAULT_BATCH: usize = 4096;
/// Buffers of the default batch stay under this, unless an entry is larger.
const DEFAULT_BYTES: usize = 2 << 20;
/// And those of a user's batch size under this: a map that is nearly empty may
/// have room for more than the machine has memory.
const MOST_BYTES: usize = 256 << 20;
/// Buffers larger than this are not kept from one walk to the next.
const KEPT_BYTES: usize = 4 << 20;
/// Commands in a row that may fail for want of a lock or memory.
const MAX_RETRIES: u32 = 200;

/// The memory of a walk, reused from one to the next.
#[derive(Default)]
pub(crate) struct Buffers {
    keys: Vec<u8>,
    /// Of per-CPU kinds, parts of it may be with the user.
    values: Block,
    from: Vec<u8>,
    next: Vec<u8>,
    /// One value, where there are no batches.
    value: Vec<MaybeUninit<u8>>,
}

/// Entries as the kernel wrote them: `count` keys and as many values.
pub(crate) struct Chunk<'a> {
    pub(crate) keys: &'a [u8],
    pub(crate) values: &'a [u8],
    pub(crate) count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first command.
    Start,
    /// `from` holds the cursor of the next batch.
    Batch,
    /// No batches here: walking an array by index, from this one.
    Index(u32),
    /// No batches here: walking by key. `from` holds the last one.
    NextKey {
        steps: u64,
    },
    Done,
}

/// A walk under way over the map `M`.
pub(crate) struct Cursor<M: Commands> {
    map: M,
    op: BatchOp,
    state: State,
    asked: usize,
    buffers: Buffers,
    delivered: usize,
    retries: u32,
    /// An error that came with entries, due after them.
    pending: Option<Error>,
    seen: HashSet<Box<[u8]>>,
    explain: fn(&M, Op, Errno) -> Error,
}

impl Cursor<RawMap> {
    pub(crate) fn over(map: &RawMap, op: BatchOp) -> Self {
        let buffers = map.take_spare().unwrap_or_default();
        Self::new(map.clone(), op, map.batch(), buffers, RawMap::explain)
    }

    /// Keeps the buffers for the map's next walk.
    pub(crate) fn finish(mut self) {
        self.give_back();
    }

    pub(crate) fn give_back(&mut self) {
        self.state = State::Done;
        let mut buffers = std::mem::take(&mut self.buffers);
        if !buffers.values.reclaim() {
            buffers.values = Block::default();
        }
        if !buffers.keys.is_empty() && buffers.keys.len() + buffers.values.len() <= KEPT_BYTES {
            self.map.give_spare(buffers);
        }
    }
}

impl Commands for RawMap {
    fn shape(&self) -> &Shape {
        RawMap::shape(self)
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
        self.sys().batch(op, from, next, keys, values, count)
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        self.sys().next_key(key, next)
    }

    fn lookup<'v>(
        &self,
        key: &[MaybeUninit<u8>],
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno> {
        self.sys().lookup(key, value)
    }

    fn lookup_and_delete<'v>(
        &self,
        key: &[MaybeUninit<u8>],
        value: &'v mut [MaybeUninit<u8>],
    ) -> Result<&'v mut [u8], Errno> {
        self.sys().lookup_and_delete(key, value)
    }
}

impl<M: Commands> Cursor<M> {
    pub(crate) fn new(
        map: M,
        op: BatchOp,
        batch: Option<u32>,
        buffers: Buffers,
        explain: fn(&M, Op, Errno) -> Error,
    ) -> Self {
        let shape = map.shape();
        let entry = shape.key_size as usize + shape.value_span();
        // More than the map can hold is never returned, but for the few that a
        // map without preallocation takes beyond its limit.
        let most =
            (shape.max_entries as usize).saturating_add(64 + shape.max_entries as usize / 16);
        let wanted = match batch {
            Some(batch) => (batch as usize).min((MOST_BYTES / entry.max(1)).max(1)),
            None => DEFAULT_BATCH.min((DEFAULT_BYTES / entry.max(1)).max(16)),
        };
        Self {
            asked: wanted.min(most),
            map,
            op,
            state: State::Start,
            buffers,
            delivered: 0,
            retries: 0,
            pending: None,
            seen: HashSet::new(),
            explain,
        }
    }

    pub(crate) fn shape(&self) -> &Shape {
        self.map.shape()
    }

    pub(crate) fn map(&self) -> &M {
        &self.map
    }

    /// How many entries were delivered so far.
    pub(crate) fn delivered(&self) -> usize {
        self.delivered
    }

    /// The entries of the chunk that was delivered last, of which none was taken.
    pub(crate) fn last(&self, count: usize) -> Chunk<'_> {
        let shape = self.map.shape();
        Chunk {
            keys: &self.buffers.keys[..count * shape.key_size as usize],
            values: self.buffers.values.bytes(0, count * shape.value_span()),
            count,
        }
    }

    /// Entry `at` of that chunk: so many bytes of its key and its value.
    #[inline]
    pub(crate) fn entry(&self, at: usize, key: usize, value: usize) -> (&[u8], &[u8]) {
        let Buffers { keys, values, .. } = &self.buffers;
        (&keys[at * key..][..key], values.bytes(at * value, value))
    }

    /// So many bytes of that entry's key, and where its value may be taken from.
    #[inline]
    pub(crate) fn entry_mut(&mut self, at: usize, key: usize) -> (&[u8], &mut Block) {
        let Buffers { keys, values, .. } = &mut self.buffers;
        (&keys[at * key..][..key], values)
    }

    /// The next entries: `None` at the end, and after an error.
    pub(crate) fn next_chunk(&mut self) -> Option<Result<Chunk<'_>, Error>> {
        match self.advance() {
            Ok(0) => {
                self.state = State::Done;
                None
            }
            Ok(count) => {
                self.delivered += count;
                Some(Ok(self.last(count)))
            }
            Err(error) => {
                self.state = State::Done;
                Some(Err(error))
            }
        }
    }

    fn advance(&mut self) -> Result<usize, Error> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        loop {
            let count = match self.state {
                State::Done => return Ok(0),
                State::Start | State::Batch => self.batch()?,
                State::Index(index) => return self.by_index(index),
                State::NextKey { steps } => return self.by_key(steps),
            };
            if count > 0 {
                return Ok(count);
            }
        }
    }

    fn op(&self) -> Op {
        match self.op {
            BatchOp::Lookup => Op::LookupBatch,
            BatchOp::LookupAndDelete => Op::LookupAndDeleteBatch,
        }
    }

    fn error(&self, op: Op, errno: Errno) -> Error {
        (self.explain)(&self.map, op, errno)
    }

    fn interrupted(&self, why: &'static str) -> Error {
        Error::WalkInterrupted { map: self.shape().name, delivered: self.delivered, why }
    }

    /// One batch command; how many entries it gave.
    fn batch(&mut self) -> Result<usize, Error> {
        self.reserve()?;
        let mut count = self.asked.min(u32::MAX as usize) as u32;
        let asked = count as usize;
        let Buffers { keys, values, from, next, .. } = &mut self.buffers;
        let from = (self.state == State::Batch).then_some(&from[..]);
        let result = self.map.batch(self.op, from, next, keys, values.bytes_mut(), &mut count);
        let mut count = count as usize;
        match result {
            Ok(()) => {
                self.state = State::Batch;
                std::mem::swap(&mut self.buffers.from, &mut self.buffers.next);
                if count == 0 {
                    // No kernel does this; if one did, it must not be for ever.
                    self.retry(Errno::AGAIN)?;
                } else {
                    self.retries = 0;
                }
                Ok(count)
            }
            Err(Errno::NOENT) => {
                self.state = State::Done;
                Ok(count)
            }
            Err(Errno::NOSPC) if count == 0 || count >= asked => {
                self.grow(asked)?;
                Ok(0)
            }
            Err(Errno::NOTSUPP | Errno::OPNOTSUPP | Errno::INVAL) if self.state == State::Start => {
                self.fall_back()?;
                Ok(0)
            }
            Err(errno) if errno.is_transient() || errno == Errno::NOSPC => {
                // A kernel that never started leaves the count as it was asked.
                if count >= asked {
                    count = 0;
                }
                if count == 0 {
                    self.retry(errno)?;
                } else {
                    self.state = State::Batch;
                    std::mem::swap(&mut self.buffers.from, &mut self.buffers.next);
                    self.retries = 0;
                }
                Ok(count)
            }
            Err(errno) => Err(self.error(self.op(), errno)),
        }
    }

    /// Room for `asked` entries.
    fn reserve(&mut self) -> Result<(), Error> {
        let shape = *self.map.shape();
        let key = shape.key_size as usize;
        let too_much = |bytes: usize| Error::OutOfMemory { map: shape.name, bytes };
        let sizes = self.asked.checked_mul(key).zip(self.asked.checked_mul(shape.value_span()));
        let Some((keys, values)) = sizes else { return Err(too_much(usize::MAX)) };
        let buffers = &mut self.buffers;
        if buffers.keys.len() < keys {
            buffers.keys.clear();
            buffers.keys.try_reserve_exact(keys).map_err(|_| too_much(keys))?;
            buffers.keys.resize(keys, 0);
        }
        // Memory of which the user holds a part is the user's.
        if !buffers.values.reclaim() || buffers.values.len() < values {
            buffers.values = Block::default();
            buffers.values = Block::zeroed(values).ok_or_else(|| too_much(values))?;
        }
        for cursor in [&mut buffers.from, &mut buffers.next] {
            cursor.resize(shape.cursor_size(), 0);
        }
        Ok(())
    }

    /// The first bucket did not fit: ask for twice as many.
    fn grow(&mut self, asked: usize) -> Result<(), Error> {
        let most = (self.shape().max_entries as usize).saturating_mul(2).saturating_add(1 << 16);
        if asked >= most {
            return Err(self.error(self.op(), Errno::NOSPC));
        }
        self.asked = asked.saturating_mul(2).min(most);
        Ok(())
    }

    fn retry(&mut self, errno: Errno) -> Result<(), Error> {
        self.retries += 1;
        if self.retries > MAX_RETRIES {
            return Err(self.error(self.op(), errno));
        }
        // The lock's holder may be on this CPU.
        if self.retries > 8 {
            std::thread::sleep(std::time::Duration::from_micros(50));
        } else {
            std::thread::yield_now();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
