//! The ring buffer: events from programs to user space.

#[cfg(feature = "tokio")]
mod async_ring;
mod claim;
mod event;
mod iter;
mod lock;
mod pace;
mod pins;
mod record;
mod reorder;
mod ring_buf;
mod rings;
mod stats;
mod user;
mod wait;

#[cfg(feature = "tokio")]
pub use async_ring::AsyncRingBuf;

pub use event::{Event, Unfit};
pub use iter::EventIter;
pub use pace::WakeUp;
pub use record::Record;
pub use reorder::Reorder;
pub use ring_buf::RingBuf;
pub use rings::{RingKey, Rings};
pub use stats::{RingStats, RingTotals};
pub use user::UserRingBuf;
pub use wait::Waker;
