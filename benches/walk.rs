//! Maps read and written: this crate, libbpf in C, bpf_iter and libbpf-rs.
//!
//! `cargo bench --bench walk` prints Markdown tables: medians, minima, and the medians of
//! the ratios within a round, since the machine is shared and a bare time says little.
//! Every sum is checked; a wrong one prints WRONG and the bench fails. `-- --quick` runs
//! few rounds of the small sizes, `-- walks`, `sparse`, `batch`, `single` or `mapped` a
//! part; `--kind Hash` and `--entries 100000` the walks of one kind and size; `--rounds N` so
//! many rounds; `--out FOLDER` writes Markdown, JSON and SVG there.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench walk` runs the same with
//! aya, which the workspace does not depend on.

// The peers in C are called as C would.
#![allow(unsafe_code)]

#[path = "walk/bench.rs"]
mod bench;

/// No other peers.
struct NoOthers;

impl bench::Others for NoOthers {
    const ABSENT: &str = "aya is not among the peers: the workspace does not depend on it. With \
        it: `make bench`";
}

fn main() -> Result<(), bench::Error> {
    bench::main::<NoOthers>()
}
