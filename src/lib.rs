//! Typed, exact and fast eBPF maps.
//!
//! ```text
//!   kernel      programs ──▶ maps
//!                              │ bpf(2), mmap
//!   sys         bytes          ▼            the only folder with `unsafe`
//!   cursor      batches: one reused buffer, until the kernel says it is the end
//!   typed       entries: types proved once, when a map is opened
//!   map, ring   Hash · LruHash · PerCpuHash · LruPerCpuHash · Array · PerCpuArray · RingBuf
//!   above       Snapshot · Rates · Swap · agent · probes
//! ```
//!
//! Data flows down, and modules know only those above them in this picture.
//!
//! # Promises
//! * **Types** A map whose kind, sizes or fields are not those of the Rust types
//!   is refused when it is opened, with a table of all differences.
//! * **Complete or an error** A walk yields every key that is there throughout
//!   exactly once and none twice, or says why it cannot. No error is taken for
//!   an end or an absence.
//! * **Nothing lost in silence** Full maps and lost events are errors or
//!   counts, in user space and, with `bpf_atlas.h`, in the kernel.
//!
//! # Start
//! ```no_run
//! use bpf_atlas::Hash;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let counts = Hash::<u32, u64>::open_pinned("/sys/fs/bpf/counts")?;
//! for entry in &counts {
//!     let (pid, calls) = entry?;
//!     println!("{pid}: {calls}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Features `probes` (ready probes) and `gather` (`Gatherer`), both default, need clang
//! at build time; the library without them does not. `tokio` adds `AsyncRingBuf`,
//! `serde` serialises generated types. Feature `serde` lets types with [`CharArray`],
//! [`Bool`], [`Be32`] and its like, and [`PerCpu`] derive `Serialize` and `Deserialize`.

// So that the derives, which name the crate by its name, work in here too.
extern crate self as bpf_atlas;

mod accumulate;
pub mod agent;
mod batch;
mod bits;
mod caps;
mod chars;
mod cursor;
mod declared;
mod error;
mod explain;
mod flags;
#[cfg(feature = "gather")]
mod gather;
mod global;
mod info;
mod kind;
mod layout;
mod map;
pub mod object;
mod op;
mod per_cpu;
mod pod;
#[cfg(feature = "probes")]
pub mod probes;
mod proof;
#[cfg(test)]
#[path = "../tests/support/random.rs"]
mod random;
mod rates;
mod raw;
mod ring;
mod same;
#[cfg(feature = "serde")]
mod serialize;
mod shape;
mod signals;
mod snapshot;
mod source;
mod swap;
mod sys;
mod typed;
pub mod walk;

pub use accumulate::Accumulate;
pub use caps::Capability;
pub use chars::{Bool, CharArray};
pub use error::{Errno, Error, Op, OpenError, ReadOnlyBecause, Result};
pub use flags::CreateFlags;
#[cfg(feature = "gather")]
#[doc(hidden)]
pub use gather::GatherWay;
#[cfg(feature = "gather")]
pub use gather::{GatherMode, Gatherable, Gathered, Gatherer, Steady};
pub use global::Global;
pub use info::MapInfo;
pub use kind::{MapKind, MapName};
pub use layout::{Field, Layout, LayoutKind};
pub use map::{Array, Hash, LruHash, LruPerCpuHash, MappedArray, PerCpuArray, PerCpuHash};
pub use object::ObjectError;
pub use per_cpu::PerCpu;
pub use pod::{AssumePlain, Be16, Be32, Be64, Pod};
pub use proof::{Mismatch, Proof, Unproved};
pub use rates::{Rate, Rates, Tick, Totals};
pub use raw::RawMap;
#[cfg(feature = "tokio")]
pub use ring::AsyncRingBuf;
pub use ring::{
    Event, EventIter, Record, Reorder, RingBuf, RingKey, RingStats, RingTotals, Rings, UserRingBuf,
    WakeUp, Waker,
};
pub use snapshot::Snapshot;
pub use source::MapSource;
pub use swap::{Swap, Swappable};
pub use sys::atomic::Atomic;

pub use bpf_atlas_derive::{Accumulate, Events, Pod};

/// For the code that the derives and bpf-atlas-build write. Not public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::accumulate::{FieldRule, Rules, first, max, min};
    pub use crate::bits::{bits, set_bits, signed_bits};
    pub use crate::layout::Layouts;
    pub use crate::ring::Unfit;
    pub use crate::same::{has_field, has_only};
    #[cfg(feature = "serde")]
    pub use crate::serialize::{Each, Leaf};
    pub use crate::sys::pod::{view, zeroed};
    pub use crate::sys::tag::{Tag, same_tag, tag};
    pub use crate::sys::words::{get, set};
    pub use libbpf_rs;
    pub use plain;
}

/// The module that bpf-atlas-build wrote for `src/bpf/flows.bpf.c`, under the
/// name `flows`.
///
/// ```ignore
/// bpf_atlas::include_bpf!(flows); // or `pub flows`
///
/// let handle = flows::open()?.load()?.attach()?;
/// ```
#[macro_export]
macro_rules! include_bpf {
    ($vis:vis $name:ident) => {
        #[doc = concat!("Types, maps and programs of `", stringify!($name), ".bpf.c`.")]
        $vis mod $name {
            ::core::include!(::core::concat!(
                ::core::env!("OUT_DIR"),
                "/",
                ::core::stringify!($name),
                ".rs"
            ));
        }
    };
}
