/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What benches/probe_cost.rs compares the probes with: empty programs, and other ways to count. */
#include "vmlinux.h"
#include <bpf/bpf_tracing.h>
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PROCESSES 10240
#define CREATE	  1 /* BPF_LOCAL_STORAGE_GET_F_CREATE */

#define COUNTS(name, kind, entries)           \
	struct {                              \
		__uint(type, kind);           \
		__uint(max_entries, entries); \
		__type(key, __u32);           \
		__type(value, __u64);         \
	} name SEC(".maps")

COUNTS(shared, BPF_MAP_TYPE_HASH, PROCESSES);
COUNTS(per_cpu, BPF_MAP_TYPE_PERCPU_HASH, PROCESSES);
COUNTS(by_pid, BPF_MAP_TYPE_PERCPU_ARRAY, 65536);

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

ATLAS_HEALTH(health);

static __always_inline __u32 tgid_by_helper(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

static __always_inline __u32 tgid_by_load(void)
{
	return bpf_get_current_task_btf()->tgid;
}

/* Nothing, in each way to attach. */
SEC("tp_btf/sys_enter") int BPF_PROG(empty_btf, struct pt_regs *regs, long nr)
{
	return 0;
}

SEC("raw_tp/sys_enter") int BPF_PROG(empty_raw, struct pt_regs *regs, long nr)
{
	return 0;
}

SEC("tp/raw_syscalls/sys_enter") int empty_tp(struct trace_event_raw_sys_enter *ctx)
{
	return 0;
}

/* The least that counts: no key is compared, and PIDs beyond 65535 share. */
SEC("tp_btf/sys_enter") int BPF_PROG(array_btf, struct pt_regs *regs, long nr)
{
	__u32 at = tgid_by_load() & 65535;
	__u64 *count = bpf_map_lookup_elem(&by_pid, &at);

	if (count)
		*count += 1;
	return 0;
}

static __always_inline int add_shared(__u32 tgid)
{
	atlas_count(&shared, &tgid, 1, &health);
	return 0;
}

SEC("tp/raw_syscalls/sys_enter") int hash_tp(struct trace_event_raw_sys_enter *ctx)
{
	return add_shared(tgid_by_helper());
}

SEC("tp_btf/sys_enter") int BPF_PROG(hash_btf, struct pt_regs *regs, long nr)
{
	return add_shared(tgid_by_helper());
}

SEC("tp_btf/sys_enter") int BPF_PROG(per_cpu_btf, struct pt_regs *regs, long nr)
{
	__u32 tgid = tgid_by_helper();

	atlas_count_percpu(&per_cpu, &tgid, 1, &health);
	return 0;
}

SEC("tp_btf/sys_enter") int BPF_PROG(plain_btf, struct pt_regs *regs, long nr)
{
	__u32 tgid = tgid_by_load();
	__u64 zero = 0, *count;

	count = atlas_lookup_or_init(&per_cpu, &tgid, &zero, &health);
	if (count)
		*count += 1;
	return 0;
}

SEC("tp_btf/sys_enter") int BPF_PROG(storage_btf, struct pt_regs *regs, long nr)
{
	__u64 *count = bpf_task_storage_get(&storage, bpf_get_current_task_btf(), 0, CREATE);

	if (count)
		*count += 1;
	return 0;
}

SEC("xdp") int empty_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}
