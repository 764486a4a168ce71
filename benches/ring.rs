//! Readers of a ring buffer: this crate, libbpf in C and libbpf-rs.
//!
//! `cargo bench --bench ring` prints Markdown tables: what is read from a ring
//! that was filled before, and what comes while it is read. Times are medians,
//! ratios medians of the ratios to one peer in the same round, since the machine is
//! shared and a bare time says little. Every reader's sum is checked; a wrong one
//! prints WRONG and the bench fails. `-- --quick` runs few rounds of few events;
//! `-- fill` or `-- live` one half.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench ring` runs the same with aya,
//! which the workspace does not depend on.

// The peers in C are called as C would.
#![allow(unsafe_code)]

#[path = "ring/bench.rs"]
mod bench;

/// No other peers.
struct NoOthers;

impl bench::Others for NoOthers {
    const ABSENT: &str = "aya is not among the peers: the workspace does not depend on it. With \
        it: `cargo bench --manifest-path benches/peers/Cargo.toml`";
}

fn main() -> Result<(), bench::Error> {
    bench::main::<NoOthers>()
}
