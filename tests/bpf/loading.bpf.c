// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What loading and attaching is tried on: a program of its own kind each, and maps. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} present SEC(".maps"), absent SEC(".maps");

/* Which system call of which thread is counted, and how often it was made. */
struct watched {
	__u64 nr;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct watched);
} watched SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

SEC("socket")
int nothing(void *ctx)
{
	return 0;
}

SEC("raw_tp/sys_enter")
int count(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 key = 0;
	__u64 comm[2];
	struct watched *it = bpf_map_lookup_elem(&watched, &key);
	__u64 *count;

	if (!it || ctx->args[1] != it->nr || bpf_get_current_comm(comm, sizeof(comm)))
		return 0;
	if (comm[0] != *(__u64 *)it->comm || comm[1] != *(__u64 *)(it->comm + 8))
		return 0;
	count = bpf_map_lookup_elem(&calls, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
