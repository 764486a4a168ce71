//! [`PerCpuHash`].

map_kind! {
    /// A hash table whose keys have a value of their own on each CPU, so that
    /// programs count without sharing a cache line.
    ///
    /// Since Linux 4.6. A value takes its size, rounded up to 8, for every CPU
    /// that the kernel may ever have.
    ///
    /// ```no_run
    /// use bpf_atlas::{PerCpu, PerCpuHash};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let counts = PerCpuHash::<u32, u64>::create("counts", 10_240)?;
    /// counts.update(7, &PerCpu::on_cpu(0, 5))?;
    /// assert_eq!(counts.sum_of(7)?, Some(5));
    ///
    /// for entry in counts.sums() {
    ///     let (pid, calls) = entry?;
    ///     println!("{pid}: {calls}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "BPF_MAP_TYPE_PERCPU_HASH")]
    PerCpuHash<K, V>, key: K, kind: PerCpuHash
}

per_cpu_hash_methods!(PerCpuHash);
