// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Counts one system call of the threads of one name. */
#include "vmlinux.h"
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 nr = 0;
const volatile __u64 name = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

ATLAS_HEALTH(health);

SEC("raw_tp/sys_enter")
int count(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 comm[2] = {};
	__u32 key = nr;

	bpf_get_current_comm(comm, sizeof(comm));
	if (ctx->args[1] == nr && comm[0] == name)
		atlas_count(&calls, &key, 1, &health);
	return 0;
}
