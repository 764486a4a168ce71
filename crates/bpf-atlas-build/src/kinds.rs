//! The kinds of maps, and what the library has for each.

/// What a kind of map becomes in Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// `Hash<K, V>` and its like.
    Keyed(&'static str),
    /// `Array<V>` and its like.
    Indexed(&'static str),
    /// `RingBuf<E>`.
    Ring,
    /// An untyped handle, and why.
    Raw(&'static str),
}

const OF_SOCKETS: &str = "its values are kernel objects that go in as descriptors";
const OF_OBJECTS: &str = "its keys are descriptors or pointers to kernel objects";

/// The word in `BPF_MAP_TYPE_…`, and what the kind becomes.
pub(crate) fn of(kind: u32) -> (String, Face) {
    let (word, face) = match kind {
        1 => ("HASH", Face::Keyed("Hash")),
        2 => ("ARRAY", Face::Indexed("Array")),
        3 => ("PROG_ARRAY", Face::Raw("its values are programs, which go in as descriptors")),
        4 => ("PERF_EVENT_ARRAY", Face::Raw("it is read through perf buffers, one a CPU")),
        5 => ("PERCPU_HASH", Face::Keyed("PerCpuHash")),
        6 => ("PERCPU_ARRAY", Face::Indexed("PerCpuArray")),
        7 => ("STACK_TRACE", Face::Raw("its values are stacks of no fixed depth")),
        8 => ("CGROUP_ARRAY", Face::Raw("its values are cgroups, which go in as descriptors")),
        9 => ("LRU_HASH", Face::Keyed("LruHash")),
        10 => ("LRU_PERCPU_HASH", Face::Keyed("LruPerCpuHash")),
        11 => ("LPM_TRIE", Face::Raw("a lookup finds the longest prefix, not the key")),
        12 => ("ARRAY_OF_MAPS", Face::Raw("its values are maps, which go in as descriptors")),
        13 => ("HASH_OF_MAPS", Face::Raw("its values are maps, which go in as descriptors")),
        14 => ("DEVMAP", Face::Raw("its values are network devices")),
        15 => ("SOCKMAP", Face::Raw(OF_SOCKETS)),
        16 => ("CPUMAP", Face::Raw("its values are queues of CPUs")),
        17 => ("XSKMAP", Face::Raw(OF_SOCKETS)),
        18 => ("SOCKHASH", Face::Raw(OF_SOCKETS)),
        19 => ("CGROUP_STORAGE", Face::Raw(OF_OBJECTS)),
        20 => ("REUSEPORT_SOCKARRAY", Face::Raw(OF_SOCKETS)),
        21 => ("PERCPU_CGROUP_STORAGE", Face::Raw(OF_OBJECTS)),
        22 => ("QUEUE", Face::Raw("it has no keys: values are pushed and popped")),
        23 => ("STACK", Face::Raw("it has no keys: values are pushed and popped")),
        24 => ("SK_STORAGE", Face::Raw(OF_OBJECTS)),
        25 => ("DEVMAP_HASH", Face::Raw("its values are network devices")),
        26 => ("STRUCT_OPS", Face::Raw("its value is an implementation in the kernel")),
        27 => ("RINGBUF", Face::Ring),
        28 => ("INODE_STORAGE", Face::Raw(OF_OBJECTS)),
        29 => ("TASK_STORAGE", Face::Raw(OF_OBJECTS)),
        30 => ("BLOOM_FILTER", Face::Raw("it has no keys: it tells what it has never seen")),
        31 => (
            "USER_RINGBUF",
            Face::Raw("user space writes it; open it as a `UserRingBuf` of what programs take"),
        ),
        32 => ("CGRP_STORAGE", Face::Raw(OF_OBJECTS)),
        33 => ("ARENA", Face::Raw("it is memory that programs lay out themselves")),
        34 => ("INSN_ARRAY", Face::Raw("its values are instructions of programs")),
        _ => {
            return (
                format!("number {kind}"),
                Face::Raw("this version of bpf-atlas does not know the kind"),
            );
        }
    };
    (format!("BPF_MAP_TYPE_{word}"), face)
}
