/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Programs that are attached in several ways. */
#include "vmlinux.h"
#include "bpf_atlas.h"

struct event {
	__u64 calls;
	__u32 cpu;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct event);
} seen SEC(".maps");

__u64 entered;
__u64 exited;
__u64 packets;

SEC("raw_tp/sys_enter")
int on_enter(void *ctx)
{
	__u32 key = 0;
	struct event none = { .calls = 1 };

	__sync_fetch_and_add(&entered, 1);
	bpf_map_update_elem(&seen, &key, &none, BPF_NOEXIST);
	return 0;
}

SEC("raw_tp/sys_exit")
int on_exit(void *ctx)
{
	__sync_fetch_and_add(&exited, 1);
	return 0;
}

SEC("xdp")
int pass(void *ctx)
{
	__sync_fetch_and_add(&packets, 1);
	return 2; /* XDP_PASS */
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
