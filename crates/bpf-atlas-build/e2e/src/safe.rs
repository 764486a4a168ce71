//! What a crate that forbids `unsafe` can take in.

#![forbid(unsafe_code)]

bpf_atlas::include_bpf!(pub without_maps);
