//! Reproducible random numbers, for the tests of all crates: the others have a link to
//! this file.
#![allow(dead_code, reason = "no test uses everything")]

/// splitmix64, which takes any seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// The place of one of so many; 0 of none.
    pub fn index(&mut self, len: usize) -> usize {
        (self.next() % len.max(1) as u64) as usize
    }
}

/// The number in a variable of the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `BPF_ATLAS_FUZZ_SEED`, or this one. It is printed, so that a failure can be run again.
pub fn seed(usual: u64) -> Random {
    let seed = number("BPF_ATLAS_FUZZ_SEED").unwrap_or(usual);
    println!("BPF_ATLAS_FUZZ_SEED={seed}");
    Random(seed)
}
