//! The typed maps, one file a kind.

#[macro_use]
mod common;
#[macro_use]
mod hash_family;
#[macro_use]
mod per_cpu_hash_family;
#[macro_use]
mod array_family;

mod array;
mod hash;
mod lru_hash;
mod lru_per_cpu_hash;
mod mapped_array;
mod per_cpu_array;
mod per_cpu_hash;

pub use array::Array;
pub use hash::Hash;
pub use lru_hash::LruHash;
pub use lru_per_cpu_hash::LruPerCpuHash;
pub use mapped_array::MappedArray;
pub use per_cpu_array::PerCpuArray;
pub use per_cpu_hash::PerCpuHash;
