//! [`Record`].

use std::fmt;
use std::ops::Deref;

use super::{Event, RingBuf};
use crate::Pod;

/// A record in the ring's own memory. Dropping it consumes it.
///
/// Of one type of event it dereferences to the event; of an enum of events,
/// [`event`](Self::event) tells which it is.
#[must_use = "dropping a record consumes it"]
pub struct Record<'r, E: Event> {
    pub(super) ring: &'r mut RingBuf<E>,
}

impl<E: Event> Record<'_, E> {
    /// The event, in place.
    #[inline]
    pub fn event(&self) -> E::Ref<'_> {
        self.view().0
    }

    /// The bytes behind the event, for a ring opened
    /// [`with_tail`](RingBuf::with_tail); else empty.
    pub fn tail(&self) -> &[u8] {
        &self.bytes()[self.view().1..]
    }

    /// The whole record, as the program wrote it.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.ring.reader.taken()
    }

    #[inline]
    fn view(&self) -> (E::Ref<'_>, usize) {
        // `RingBuf::next` has looked.
        E::view(self.bytes()).expect("a record that fits its event")
    }
}

impl<E: Pod> Deref for Record<'_, E> {
    type Target = E;

    #[inline]
    fn deref(&self) -> &E {
        self.event()
    }
}

impl<E: Event> Drop for Record<'_, E> {
    #[inline]
    fn drop(&mut self) {
        self.ring.consume();
    }
}

impl<'r, E: Event> fmt::Debug for Record<'r, E>
where
    for<'e> E::Ref<'e>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.event(), f)
    }
}
