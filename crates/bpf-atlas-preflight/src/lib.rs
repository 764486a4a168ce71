//! Nothing but a build script, which looks for what a build of
//! [`bpf-atlas`](https://docs.rs/bpf-atlas) needs and names the packages of
//! what is missing in one sentence. Without it the same gaps show as pages of
//! compiler output from a dependency.
//!
//! Looked for are `make`, `pkg-config`, a C compiler and the headers of libelf
//! (libbpf is compiled from source), and with feature `clang` a clang that can
//! compile for the BPF target: `$CLANG`, or `clang` on the `PATH`.
//!
//! It refuses only what must fail. When it cannot tell, for a cross build or
//! where libbpf-sys may have been asked to build libelf itself, it stays out of
//! the way, and `BPF_ATLAS_SKIP_PREFLIGHT=1` turns it off altogether.
