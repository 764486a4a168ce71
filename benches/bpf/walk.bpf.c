/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A map through a seq file, for benches/walk.rs: key and value, the CPUs added up. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* What the kernel hands to such a program; each field has 8 bytes. */
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

struct entry {
	__u64 key;
	__u64 value;
};

#define MAX_CPUS 256

const volatile __u32 cpus = 1;

static __always_inline int write_out(struct bpf_iter__bpf_map_elem *ctx, __u64 sum)
{
	struct entry entry = { *(__u32 *)ctx->key, sum };

	return bpf_seq_write(ctx->meta->seq, &entry, sizeof(entry)) ? 1 : 0;
}

SEC("iter/bpf_map_elem")
int dump(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *value = ctx->value;

	if (!ctx->key || !value)
		return 0; /* the end */
	return write_out(ctx, *value);
}

SEC("iter/bpf_map_elem")
int dump_cpus(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *value = ctx->value;
	__u64 sum = 0;

	if (!ctx->key || !value)
		return 0;
	for (__u32 cpu = 0; cpu < MAX_CPUS && cpu < cpus; cpu++)
		sum += value[cpu];
	return write_out(ctx, sum);
}
