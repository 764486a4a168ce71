//! The ring buffer: events from programs to user space.

mod event;
mod lock;
mod pace;
mod pins;
mod record;
mod reorder;
mod ring_buf;
mod rings;
mod stats;
mod wait;

pub use event::{Event, Unfit};
pub use pace::WakeUp;
pub use record::Record;
pub use reorder::Reorder;
pub use ring_buf::RingBuf;
pub use rings::Rings;
pub use stats::{RingStats, RingTotals};
pub use wait::Waker;
