//! Compiles the kernel half: each `src/bpf/<probe>.bpf.c` becomes
//! `$OUT_DIR/<probe>.rs`, with a Rust type for everything that its maps hold.
//! Does nothing without the feature `probes`.

fn main() {
    // Some path must be named, or every change in the package reruns this script.
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "probes")]
    probes::build();
}

#[cfg(feature = "probes")]
mod probes {
    use bpf_atlas_build::Builder;

    /// What the derive of that name makes of the totals.
    const ACCUMULATE: &str = "::bpf_atlas::Accumulate";

    pub fn build() {
        pid_syscalls().build_or_exit();
        packets().build_or_exit();
        exec_events().build_or_exit();
        recent_ips().build_or_exit();
    }

    fn probe(name: &str) -> Builder {
        let mut builder = Builder::new(format!("src/bpf/{name}.bpf.c"));
        builder.skeleton(false);
        builder
    }

    fn pid_syscalls() -> Builder {
        let mut builder = probe("pid_syscalls");
        builder
            .derive("atlas_health", ACCUMULATE)
            .doc("task", "A process, as it was when its first call was counted.")
            .doc(
                "task.start_ns",
                "When it began, in nanoseconds since boot: tells it from an earlier process with \
                 the same PID.",
            )
            .doc(
                "task.comm",
                "Its name, kept current. A reader may see half of an old and half of a new one at \
                 the moment of a change.",
            )
            .derive("pid_reuse", ACCUMULATE)
            .attribute("pid_reuse", "non_exhaustive")
            .doc("pid_reuse", "What became of processes whose PID was given out again. Totals.")
            .doc(
                "pid_reuse.recycled",
                "Finished processes that were forgotten because a new one got their PID.",
            )
            .doc(
                "pid_reuse.merged",
                "New processes that are counted on top of a finished one, which could not be \
                 forgotten.",
            )
            .doc(
                "pid_reuse.unnamed",
                "Processes that are counted, but whose name and start found no room.",
            );
        builder
    }

    fn packets() -> Builder {
        let mut builder = probe("packets");
        builder
            .derive("traffic", ACCUMULATE)
            .doc("traffic", "Packets and bytes.")
            .doc("traffic.packets", "Frames.")
            .doc("traffic.bytes", "Their bytes, Ethernet header included.");
        builder
    }

    fn exec_events() -> Builder {
        let mut builder = probe("exec_events");
        builder
            .doc("exec_event", "The fixed part of a record; its strings follow.")
            .doc("exec_event.time_ns", "When, in nanoseconds since boot (`CLOCK_BOOTTIME`).")
            .doc(
                "exec_event.pid",
                "The process (thread group), as the initial PID namespace numbers it.",
            )
            .doc("exec_event.ppid", "Its parent.")
            .doc("exec_event.tid", "The thread that called.")
            .doc("exec_event.uid", "The user, as the initial user namespace numbers it.")
            .doc("exec_event.gid", "The group.")
            .doc("exec_event.ret", "0, or the negative error number.")
            .doc("exec_event.flags", "What is missing: several of them, or'ed.")
            .doc("exec_event.filename_len", "Bytes of the file name, its NUL included.")
            .doc("exec_event.args_len", "Bytes of the arguments that are here.")
            .doc(
                "exec_event.args_total",
                "Bytes of all arguments, each ended by a NUL, with those that were cut off. Of a \
                 failed exec only what was read.",
            )
            .doc(
                "exec_event.comm",
                "The name of the task; after a success that of the new program.",
            )
            .doc("exec_flag", "What is missing of a record.");
        builder
    }

    fn recent_ips() -> Builder {
        let mut builder = probe("recent_ips");
        builder
            .derive("atlas_health", ACCUMULATE)
            .doc("peer", "A sender. Made of an `IpAddr`, and gives it back.")
            .doc("peer.family", "4 or 6.")
            .doc("peer.addr", "In network order; an IPv4 address in the first 4 bytes.")
            .derive("peer_stat", ACCUMULATE)
            .attribute("peer_stat.first_ns", "accumulate(min)")
            .attribute("peer_stat.last_ns", "accumulate(max)")
            .doc("peer_stat", "What a sender sent.")
            .doc("peer_stat.packets", "Frames.")
            .doc("peer_stat.bytes", "Their bytes, Ethernet header included.")
            .doc("peer_stat.first_ns", "The first, in nanoseconds since boot (`CLOCK_BOOTTIME`).")
            .doc("peer_stat.last_ns", "The last.")
            .derive("peer_totals", ACCUMULATE)
            .doc("peer_totals", "What came in since the program was attached.")
            .doc("peer_totals.packets", "Frames with the address of a sender.")
            .doc("peer_totals.bytes", "Their bytes.")
            .doc("peer_totals.other_packets", "Frames without one: no IP, or cut off.")
            .doc("peer_totals.other_bytes", "Their bytes.")
            .doc(
                "peer_totals.refused_packets",
                "Of those with an address, frames that the map took no element for.",
            )
            .doc("peer_totals.refused_bytes", "Their bytes.");
        builder
    }
}
