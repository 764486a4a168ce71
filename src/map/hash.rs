//! [`Hash`].

map_kind! {
    /// A hash table that programs and user space share.
    ///
    /// Since Linux 3.19. Elements are allocated when the map is created, unless
    /// it has `BPF_F_NO_PREALLOC`. The handle is `Send + Sync + 'static`;
    /// clones share the descriptor.
    ///
    /// ```no_run
    /// use bpf_atlas::Hash;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let counts = Hash::<u32, u64>::create("counts", 10_240)?;
    /// counts.update(7, 1)?;
    /// assert_eq!(counts.lookup(7)?, Some(1));
    ///
    /// for entry in &counts {
    ///     let (pid, calls) = entry?;
    ///     println!("{pid}: {calls}");
    /// }
    /// assert_eq!(counts.sum()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "BPF_MAP_TYPE_HASH")]
    Hash<K, V>, key: K, kind: Hash
}

hash_methods!(Hash);
