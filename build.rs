//! Compiles the kernel half: each `src/bpf/<probe>.bpf.c` becomes
//! `$OUT_DIR/<probe>.rs`, with a Rust type for everything that its maps hold.
//! Does nothing without the features `probes` and `gather`.

fn main() {
    // Some path must be named, or every change in the package reruns this script.
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "gather")]
    for name in ["gather", "gather_cpus"] {
        bpf_atlas_build::Builder::new(format!("src/bpf/{name}.bpf.c"))
            .skeleton(false)
            .export("struct gather_args")
            .build_or_exit();
    }
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
        tcp_retransmits().build_or_exit();
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
            .doc("tally", "What a process counted on a CPU when it last gave up its seat there.")
            .doc("tally.start_ns", "When it began; 0 before it has been on this CPU.")
            .doc("tally.calls", "Its calls.")
            .doc("seat", "A process on a CPU, where it counts.")
            .doc("seat.taken", "How often the seat was taken: written last.")
            .doc("seat.mark", "By which the process is told.")
            .doc("seat.calls", "Its calls.")
            .doc("seat.start_ns", "When it began.")
            .doc("seat.tgid", "The process.")
            .doc("seat.taking", "How often the seat was taken: written first.")
            .derive("pid_reuse", ACCUMULATE)
            .attribute("pid_reuse", "non_exhaustive")
            .doc("pid_reuse", "What became of processes whose PID was given out again. Totals.")
            .doc(
                "pid_reuse.recycled",
                "Finished processes that were forgotten because a new one got their PID.",
            )
            .doc(
                "pid_reuse.merged",
                "New processes that go by the name of a finished one, which could not be \
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
            .rename("ring events", "ProcessRecord")
            .doc("ring events", "A record of the ring of `ExecEvents`, not decoded.")
            .doc("exec_event", "The fixed part of the record of an exec; its strings follow.")
            .doc("exec_event.kind", "[`ProcessRecord::EXEC`].")
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
            .doc("exec_flag", "What is missing of a record.")
            .doc("exit_event", "The record of the end of a process.")
            .doc("exit_event.kind", "[`ProcessRecord::EXIT`].")
            .doc(
                "exit_event.pid",
                "The process (thread group), as the initial PID namespace numbers it.",
            )
            .doc("exit_event.time_ns", "When, in nanoseconds since boot (`CLOCK_BOOTTIME`).")
            .doc("exit_event.start_ns", "When it was forked, by the same clock.")
            .doc("exit_event.ppid", "Its parent.")
            .doc(
                "exit_event.uid",
                "The user as which it ended, as the initial user namespace numbers it.",
            )
            .doc("exit_event.gid", "The group.")
            .doc("exit_event.status", "How it ended, as `wait` gives it to the parent.")
            .doc("exit_event.comm", "The name of the process: that of its first thread.");
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
            .doc(
                "peer_stat.first_ns",
                "The first, in nanoseconds since boot (`CLOCK_BOOTTIME`), as of the kernel's last \
                 tick: early by 10 ms at most.",
            )
            .doc("peer_stat.last_ns", "The last, likewise.")
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

    fn tcp_retransmits() -> Builder {
        let mut builder = probe("tcp_retransmits");
        builder
            .derive("atlas_health", ACCUMULATE)
            .doc("tcp_state", "The state of a connection, by the kernel's numbers.")
            .doc(
                "tcp_flow",
                "A connection, seen from the end that sends again. An IPv6 socket that talks IPv4 \
                 is one of IPv4.",
            )
            .doc(
                "tcp_flow.laddr",
                "The address of this end, in network order; an IPv4 address in the first 4 bytes.",
            )
            .doc("tcp_flow.raddr", "The address of the other end.")
            .doc("tcp_flow.lport", "The port of this end.")
            .doc("tcp_flow.rport", "The port of the other end.")
            .doc("tcp_flow.family", "4 or 6.")
            .doc(
                "tcp_flow.netns",
                "The network namespace: the inode number of `/proc/PID/ns/net`. 0 where the \
                 kernel has no namespaces.",
            )
            .doc("tcp_retransmit_event", "A record: what was sent again.")
            .doc(
                "tcp_retransmit_event.time_ns",
                "When, in nanoseconds since boot (`CLOCK_BOOTTIME`).",
            )
            .doc("tcp_retransmit_event.flow", "The connection.")
            .doc(
                "tcp_retransmit_event.state",
                "Its state: `TCP_SYN_SENT` for a SYN, `TCP_NEW_SYN_RECV` for a SYN-ACK.",
            )
            .doc("tcp_retransmit_event.segs", "Segments, as `TcpRetransSegs` counts them.")
            .doc(
                "tcp_retransmit_event.loss_probe",
                "1 where it was sent to find out whether it had been lost (a tail loss probe).",
            )
            .doc("tcp_retransmit_event.bytes", "Bytes of payload.")
            .doc("tcp_retransmit_event.seq", "The first sequence number, as it is on the wire.")
            .doc(
                "tcp_retransmit_event.err",
                "0; or why it was not sent: a negative error number, or 1 where the queue of the \
                 interface dropped it.",
            )
            .doc(
                "tcp_retransmit_event.pid",
                "The process inside whose system call it was sent, as the initial PID namespace \
                 numbers it; 0 where it was in none, as mostly.",
            )
            .doc(
                "tcp_retransmit_event.uid",
                "The user whose socket it is, as the initial user namespace numbers it.",
            )
            .doc("tcp_flow_stat", "What a connection sent again.")
            .doc("tcp_flow_stat.retransmits", "How often.")
            .doc("tcp_flow_stat.segs", "Segments, as `TcpRetransSegs` counts them.")
            .doc("tcp_flow_stat.bytes", "Bytes of payload.")
            .doc("tcp_flow_stat.loss_probes", "How many of them were tail loss probes.")
            .doc("tcp_flow_stat.failed", "Attempts that failed; not in the above.")
            .doc(
                "tcp_flow_stat.first_ns",
                "The first, in nanoseconds since boot (`CLOCK_BOOTTIME`).",
            )
            .doc("tcp_flow_stat.last_ns", "The last.");
        builder
    }
}
