//! Nothing but a build script, which looks for what a build of
//! [`bpf-atlas`](https://docs.rs/bpf-atlas) needs and names the packages of
//! what is missing in one sentence. Without it the same gaps show as pages of
//! compiler output from a dependency.
//!
//! With feature `libbpf` it looks for `make`, `pkg-config`, a C compiler and
//! the headers of libelf, since libbpf is compiled from source; with feature
//! `clang` for a clang that compiles for BPF: `$CLANG`, or `clang` on the
//! `PATH`.
//!
//! It refuses only what must fail. When it cannot tell, for a cross build or
//! where libbpf-sys may have been asked to build libelf itself, it stays out of
//! the way, and `BPF_ATLAS_SKIP_PREFLIGHT=1` turns it off altogether.
//!
//! # Speaking first
//!
//! The first build script to fail ends a build, and cargo starts those first
//! that most others wait for, which would be libbpf-sys. So the other crates of
//! `bpf-atlas` have build scripts too, with this crate as their dependency and
//! nothing to do but wait for it: that makes it the heavier one. Two such crates
//! outweigh libbpf-rs, libbpf-cargo and the build script of a crate that uses
//! them beside `bpf-atlas`.
