/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A map that libbpf makes of a variable. */
#include "vmlinux.h"
#include "bpf_atlas.h"

struct tcp_congestion_ops {
	__u32 (*ssthresh)(void *sk);
	__u32 (*undo_cwnd)(void *sk);
	void (*cong_avoid)(void *sk, __u32 ack, __u32 acked);
	char name[16];
} __attribute__((preserve_access_index));

SEC("struct_ops")
__u32 threshold(void *ctx)
{
	return 2;
}

SEC("struct_ops")
__u32 undo(void *ctx)
{
	return 2;
}

SEC("struct_ops")
void avoid(void *ctx)
{
}

SEC(".struct_ops.link")
struct tcp_congestion_ops calm = {
	.ssthresh = (void *)threshold,
	.undo_cwnd = (void *)undo,
	.cong_avoid = (void *)avoid,
	.name = "atlas_calm",
};

char LICENSE[] SEC("license") = "Dual BSD/GPL";
