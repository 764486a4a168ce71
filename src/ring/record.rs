//! [`Record`].

use std::fmt;
use std::ops::Deref;

use super::RingBuf;
use crate::Pod;
use crate::sys::pod;

/// A record in the ring's own memory: dereferences to the event. Dropping it
/// consumes it.
pub struct Record<'r, E: Pod> {
    pub(super) ring: &'r mut RingBuf<E>,
}

impl<E: Pod> Record<'_, E> {
    fn bytes(&self) -> &[u8] {
        self.ring.reader.record(self.ring.out.unwrap_or(0))
    }

    /// The bytes behind the event, for a ring opened
    /// [`with_tail`](RingBuf::with_tail); else empty.
    pub fn tail(&self) -> &[u8] {
        &self.bytes()[size_of::<E>()..]
    }
}

impl<E: Pod> Deref for Record<'_, E> {
    type Target = E;

    fn deref(&self) -> &E {
        event(self.bytes())
    }
}

impl<E: Pod> Drop for Record<'_, E> {
    fn drop(&mut self) {
        self.ring.consume();
    }
}

impl<E: Pod + fmt::Debug> fmt::Debug for Record<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

pub(super) fn event<E: Pod>(bytes: &[u8]) -> &E {
    // Records are aligned to 8 and at least as long as an `E`: `FITS`, `peek`.
    pod::view(bytes).expect("an aligned record of the right size")
}
