//! [`EventIter`].

use super::{Event, RingBuf};
use crate::error::Result;

/// The events of a ring as an iterator that waits for them: copies, since an
/// iterator cannot lend. Made by [`RingBuf::events`].
#[derive(Debug)]
pub struct EventIter<'r, E: Event> {
    ring: &'r mut RingBuf<E>,
}

impl<E: Event> RingBuf<E> {
    /// The events as they come, copied out of the ring. Waits while there is none;
    /// ends when a [`Waker`](super::Waker) says so and everything was read. A
    /// `ppoll` a sleep, as [`wait`](Self::wait).
    ///
    /// ```no_run
    /// # fn read(mut ring: bpf_atlas::RingBuf<u64>) -> Result<(), bpf_atlas::Error> {
    /// for event in ring.events() {
    ///     println!("{}", event?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Each item may be an error of [`next`](Self::next) or [`wait`](Self::wait);
    /// the iterator goes on behind it.
    pub fn events(&mut self) -> EventIter<'_, E> {
        EventIter { ring: self }
    }
}

impl<E: Event> Iterator for EventIter<'_, E> {
    type Item = Result<E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.ring.next() {
                Ok(Some(record)) => return Some(Ok(E::copy(record.event()))),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
            match self.ring.wait(None) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
