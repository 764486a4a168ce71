//! The ring buffer: events from programs to user space.

mod lock;
mod ring_buf;

pub use ring_buf::{Record, RingBuf, RingTotals};
