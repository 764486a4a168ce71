//! [`Event`]: what a record of a ring is read as.

use crate::Pod;
use crate::layout::Layouts;
use crate::sys::pod;

/// What the records of a ring are: one type, or an `enum` of types told apart
/// by a tag.
///
/// Every [`Pod`] type is an event by itself and is read in place, as `&E`. For
/// several types in one ring derive [`Events`](macro@crate::Events) on an enum;
/// `bpf-atlas-build` writes it from `ATLAS_RING_OF`.
///
/// ```no_run
/// use bpf_atlas::{Event as _, Events, Pod, RingBuf};
///
/// #[derive(Clone, Copy, Debug, Pod)]
/// #[repr(C)]
/// struct ExecEvent { kind: u32, pid: u32, time_ns: u64 }
///
/// #[derive(Clone, Copy, Debug, Pod)]
/// #[repr(C)]
/// struct ExitEvent { kind: u32, pid: u32, code: u32 }
///
/// #[derive(Clone, Copy, Debug, Events)]
/// enum Process {
///     #[event(1)] // what `kind` is then
///     Exec(ExecEvent),
///     #[event(2)]
///     Exit(ExitEvent),
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = RingBuf::<Process>::open_pinned("/sys/fs/bpf/events")?;
/// let mut kept = Vec::new();
/// events.drain(|event| match event {
///     ProcessRef::Exec(exec) => println!("{} started", exec.pid),
///     ProcessRef::Exit(_) => kept.push(Process::copy(event)),
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// Not to be implemented by hand: the methods are for derived code and may
/// change.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event that a ring can hold",
    note = "a struct: `#[derive(Clone, Copy, bpf_atlas::Pod)]`; an enum of such structs: `#[derive(bpf_atlas::Events)]`"
)]
pub trait Event: Sized + Send + 'static {
    /// The event in the ring's own memory: `&E` of a [`Pod`] type.
    type Ref<'r>: Copy;

    /// The event at the start of `record`, and how many bytes of it are its own.
    #[doc(hidden)]
    fn view(record: &[u8]) -> Result<(Self::Ref<'_>, usize), Unfit>;

    /// What is compared with BTF when a ring is opened.
    #[doc(hidden)]
    const LAYOUTS: Layouts;

    /// A copy that does not borrow the ring.
    fn copy(event: Self::Ref<'_>) -> Self;
}

/// Why a record is no event. For derived code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is shorter than the event.
    Short { expected: usize },
    /// No event has this tag.
    Tag(u64),
}

impl<E: Pod> Event for E {
    type Ref<'r> = &'r E;

    const LAYOUTS: Layouts = Layouts::One(&E::LAYOUT);

    #[inline]
    fn view(record: &[u8]) -> Result<(&E, usize), Unfit> {
        const {
            assert!(
                align_of::<E>() <= 8,
                "records of a ring are aligned to 8 bytes: an event type must not ask for more"
            );
        }
        // Records are aligned to 8, so only the length can be wrong.
        pod::view(record)
            .map(|event| (event, size_of::<E>()))
            .ok_or(Unfit::Short { expected: size_of::<E>() })
    }

    #[inline]
    fn copy(event: &E) -> Self {
        *event
    }
}
