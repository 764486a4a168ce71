//! The ring buffer: events from programs to user space.

mod lock;
mod record;
mod ring_buf;
mod totals;

pub use record::Record;
pub use ring_buf::RingBuf;
pub use totals::RingTotals;
