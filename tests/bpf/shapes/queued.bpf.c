// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* How long tasks wait for a CPU: histograms by process, filtered by cgroup. */
#include "vmlinux.h"
#include "bpf_atlas.h"
#include "maps.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile bool filter_cg = false;
const volatile bool by_process = false;
const volatile pid_t target = 0;
const volatile struct {
	__u64 min_ns;
	char unit[4];
} limits = { .unit = "us" };

static struct hist empty;
__u64 ignored;

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} cgroup_map SEC(".maps");

static struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct hist);
} hists SEC(".maps");

static __always_inline int waited(__u32 pid, __u64 ns)
{
	__u32 key = by_process ? pid : -1;
	struct hist *hist;

	if (ns < limits.min_ns || (target && target != pid)) {
		__sync_fetch_and_add(&ignored, 1);
		return 0;
	}
	hist = bpf_map_lookup_elem(&hists, &key);
	if (!hist) {
		bpf_map_update_elem(&hists, &key, &empty, BPF_NOEXIST);
		hist = bpf_map_lookup_elem(&hists, &key);
		if (!hist)
			return 1;
		bpf_get_current_comm(hist->comm, sizeof(hist->comm));
	}
	__sync_fetch_and_add(&hist->slots[log2_slot(ns / 1000)], 1);
	return 0;
}

SEC("raw_tp/sched_switch")
int on_switch(void *ctx)
{
	return waited(bpf_get_current_pid_tgid() >> 32, 1);
}

SEC("syscall")
int play(void *ctx)
{
	return waited(7, 999) + waited(7, 5000) + waited(7, 5000) + waited(8, 1000000);
}
