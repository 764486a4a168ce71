//! [`LruHash`].

map_kind! {
    /// A hash table that forgets the least recently used keys when it is full.
    ///
    /// Since Linux 4.10. Approximate: the kernel takes elements from free lists
    /// a CPU at a time, so a map can hold fewer than `max_entries` keys
    /// (measured on 2 CPUs: 976 of 1,000; on older kernels with 16 CPUs 22 of
    /// 100). A lookup or walk from user space does not count as a use; a
    /// lookup by a program or an update does. Never [`Full`](crate::Error::Full).
    ///
    /// ```no_run
    /// use bpf_atlas::LruHash;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let recent = LruHash::<u32, u64>::create("recent", 1000)?;
    /// recent.update_all((0..5000).map(|n| (n, u64::from(n))))?;
    /// assert!(recent.count()? <= 1000);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "BPF_MAP_TYPE_LRU_HASH")]
    LruHash<K, V>, key: K, kind: LruHash
}

hash_methods!(LruHash);
