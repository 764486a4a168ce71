//! The types of `tests/bpf/proof.bpf.c`, in Rust.
#![allow(dead_code, reason = "the fields are there to be compared")]

use bpf_atlas::{Be32, Pod};

#[derive(Clone, Copy, Pod)]
#[repr(C)]
pub struct Key {
    pid: u32,
    device: u32,
}

#[derive(Clone, Copy, Pod)]
#[repr(C)]
pub struct Peer {
    pub port: u16,
    _pad: [u8; 2],
    address: Be32,
}

/// Right but for the types and order that a test gives the first fields.
macro_rules! reference {
    ($name:ident { $($field:ident: $t:ty),* }) => {
        #[derive(Clone, Copy, Pod)]
        #[repr(C)]
        pub struct $name {
            $($field: $t,)*
            small: u16,
            tiny: i8,
            on: u8,
            state: u32,
            comm: [u8; 16],
            slots: [u32; 4],
            peers: [Peer; 2],
            one: Peer,
            source: [u8; 16],
            bits: u8,
            _pad: [u8; 7],
            last: u64,
        }
    };
}

reference!(Reference { packets: u64, balance: i64, bytes: u32, delta: i32 });
reference!(Drifted { packets: u64, balance: i64, bytes: i32, delta: i32 });
reference!(Swapped { packets: u64, balance: i64, delta: i32, bytes: u32 });
reference!(Grown { packets: u64, balance: i64, bytes: u32, delta: i32, newer: u64 });
reference!(Shrunk { packets: u64, bytes: u32, delta: i32 });
