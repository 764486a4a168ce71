//! The ring buffer: events from programs to user space.

#[cfg(feature = "tokio")]
mod async_ring;
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

use crate::error::OpenError;
#[cfg(feature = "tokio")]
pub use async_ring::AsyncRingBuf;

pub use event::{Event, Unfit};
pub use iter::EventIter;
pub use pace::WakeUp;
pub use record::Record;
pub use reorder::Reorder;
pub use ring_buf::RingBuf;
pub use rings::Rings;
pub use stats::{RingStats, RingTotals};
pub use user::UserRingBuf;
pub use wait::Waker;

/// Refuses sizes that no ring can have.
fn check_size(name: &str, bytes: u32) -> Result<(), OpenError> {
    let page = crate::sys::mmap::page_size() as u32;
    if bytes.is_power_of_two() && bytes >= page {
        return Ok(());
    }
    Err(OpenError::InvalidArgument {
        what: format!(
            "ring `{name}`: {bytes} bytes; a ring's size is a power of two and a multiple of the \
             page of {page} bytes"
        ),
    })
}
