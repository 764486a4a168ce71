//! `#[derive(Pod)]`, `#[derive(Accumulate)]` and `#[derive(Events)]` for
//! [bpf-atlas], which re-exports them. Depend on `bpf-atlas`, not on this crate.
//!
//! [bpf-atlas]: https://docs.rs/bpf-atlas

mod accumulate;
mod events;
mod input;
mod pod;
mod refuse;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Proves at compile time that a struct is plain data, and implements `Pod`.
///
/// Plain data may be read from and written to a BPF map byte for byte. The
/// struct must be
///
/// - `#[repr(C)]`, with `align(N)`, `packed` or `packed(N)` if need be, or
///   `#[repr(transparent)]` around one field;
/// - of fields that are all `Pod` themselves, so that any bytes are a value;
/// - **without implicit padding**: between fields and at the end;
/// - not generic, and not empty.
///
/// What is refused, is refused with a sentence that says what to write
/// instead. A gap of four bytes before the field `bytes` reads
///
/// ```text
/// padding in `Stat`: 4 bytes before field `bytes`; add `_pad: [u8; 4]` there so that no byte is undefined
/// ```
///
/// `Pod` needs `Copy`, so write `#[derive(Clone, Copy, Pod)]`. The derived code
/// is accepted under `#![forbid(unsafe_code)]`: its `unsafe impl` is this
/// macro's, and what it vouches for has been checked.
///
/// ```ignore
/// use bpf_atlas::Pod;
///
/// #[derive(Clone, Copy, Pod)]
/// #[repr(C)]
/// struct Stat {
///     packets: u32,
///     _pad: [u8; 4],
///     bytes: u64,
/// }
///
/// assert_eq!(Stat::LAYOUT.size, 16);
/// ```
///
/// # `#[pod(crate = "path")]`
///
/// The derived code names the library `::bpf_atlas`. A crate that re-exports
/// it says where, on the struct: `#[pod(crate = "my_agent::bpf_atlas")]`. The
/// path is given as it is written at the struct, and holds for
/// `#[derive(Accumulate)]` too.
///
/// # `#[pod(name = "self")]` on a field
///
/// What C calls the field, where Rust cannot: the name that `LAYOUT` gives.
/// Raw identifiers need none: `r#type` is `type`.
///
/// # `#[pod(union)]`
///
/// On a `#[repr(transparent)]` struct around one array of unsigned integers:
/// it holds the bytes of a C union, and stands for no struct of that size.
#[proc_macro_derive(Pod, attributes(pod))]
pub fn derive_pod(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    pod::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `Accumulate` field by field: what `sum` means for a struct.
///
/// | on a field | added over CPUs and keys | difference of two readings |
/// |---|---|---|
/// | nothing, or `#[accumulate(sum)]` | the sum, wrapping | later − earlier |
/// | `#[accumulate(max)]` | the greatest | the later one |
/// | `#[accumulate(min)]` | the least that is set: all-zero bytes are "not set" | the later one |
/// | `#[accumulate(first)]` | the first that is set | the later one |
///
/// Explicit padding, a field named `_pad` or `__pad` with anything behind it,
/// counts nothing: it is `first` unless it says otherwise, so that bytes which
/// mean nothing cannot make a difference fail.
///
/// A field that is summed must be `Accumulate`; the others `Pod`, and
/// `PartialOrd` for `max` and `min`, `PartialEq` for `first`. The struct itself
/// must be `Pod`. Packed structs are fine.
///
/// ```ignore
/// use bpf_atlas::{Accumulate, Pod};
///
/// #[derive(Clone, Copy, Pod, Accumulate)]
/// #[repr(C)]
/// struct Latency {
///     calls: u64,
///     total_ns: u64,
///     #[accumulate(max)]
///     worst_ns: u64,
///     #[accumulate(min)]
///     first_seen_ns: u64,
/// }
/// ```
///
/// `#[pod(crate = "path")]` on the struct says where the library is, as for
/// `#[derive(Pod)]`.
#[proc_macro_derive(Accumulate, attributes(accumulate, pod))]
pub fn derive_accumulate(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    accumulate::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an enum of several types of event what a ring holds: `RingBuf<Event>`.
///
/// Each record says by a tag which event it is: a field that all of the structs
/// have at the same offset and of the same type. It is `kind`, or what
/// `#[events(tag = …)]` names; `header.kind` is a field of a field. Each variant
/// holds one struct that is `Pod`, and `#[event(…)]` gives its tag: any constant
/// expression of that type.
///
/// ```ignore
/// use bpf_atlas::{Events, Pod, RingBuf};
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
/// enum Event {
///     #[event(1)]
///     Exec(ExecEvent),
///     #[event(2)]
///     Exit(ExitEvent),
/// }
///
/// let mut events = RingBuf::<Event>::open(&map)?;
/// events.drain(|event| match event {
///     EventRef::Exec(exec) => println!("{} started", exec.pid),
///     EventRef::Exit(exit) => println!("{} ended: {}", exit.pid, exit.code),
/// })?;
/// ```
///
/// The derive writes `EventRef<'r>`, `Copy`, with the same variants: references
/// into the ring's memory, so that nothing is copied; `Debug` where all events
/// are. `#[events(reference = Name)]` names it otherwise. `Event::copy` makes the
/// enum itself of one, `EventRef::from(&event)` the reference of the enum.
///
/// A record with another tag is `Error::RecordKind`, one that is too short for
/// its event `Error::RecordSize`; both are passed over and counted, and the next
/// call goes on behind them.
///
/// Refused while compiling: a tag at different offsets or of different types,
/// two events with one tag, an event that is not `Pod` or aligned to more than
/// 8 bytes. The derived code is accepted under `#![forbid(unsafe_code)]`.
///
/// `#[events(crate = "path")]` says where the library is, as `#[pod(crate)]`
/// does for `#[derive(Pod)]`.
#[proc_macro_derive(Events, attributes(events, event))]
pub fn derive_events(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    events::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
