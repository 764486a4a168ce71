//! [`LruPerCpuHash`].

map_kind! {
    /// A [`PerCpuHash`](crate::PerCpuHash) that forgets the least recently used
    /// keys when it is full, as approximately as [`LruHash`](crate::LruHash).
    ///
    /// Since Linux 4.10.
    ///
    /// ```no_run
    /// use bpf_atlas::{LruPerCpuHash, PerCpu};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let recent = LruPerCpuHash::<u32, u64>::create("recent", 1000)?;
    /// recent.update(7, &PerCpu::splat(1))?;
    /// println!("{:?}", recent.sum_of(7)?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "BPF_MAP_TYPE_LRU_PERCPU_HASH")]
    LruPerCpuHash<K, V>, key: K, kind: LruPerCpuHash
}

per_cpu_hash_methods!(LruPerCpuHash);
