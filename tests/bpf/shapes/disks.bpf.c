// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Latency by disk and operation, and maps of maps: one of counters a cgroup. */
#include "vmlinux.h"
#include "bpf_atlas.h"
#include "maps.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum op {
	OP_READ,
	OP_WRITE,
	OP_FLUSH = 255
} __attribute__((packed));

struct hist_key {
	__u32 dev;
	enum op op;
	__u8 type; /* a keyword in Rust */
	__u16 : 16;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct hist_key);
	__type(value, struct hist);
} hists SEC(".maps");

struct by_cgroup {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct hist_key);
} first SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 8);
	__type(key, __u64);
	__array(values, struct by_cgroup);
} cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct by_cgroup);
} slots SEC(".maps") = {
	.values = { &first },
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC */
	__uint(max_entries, 8);
	__type(
		key, struct {
			__u32 bits;
			__be32 addr;
		});
	__type(value, __u64);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, struct hist_key);
} waiting SEC(".maps");

int depth[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };

SEC("syscall")
int play(void *ctx)
{
	struct hist_key key = { .dev = 8 << 20 | 1, .op = OP_FLUSH, .type = 3 };
	static struct hist hist;
	__u32 zero = 0;
	void *inner;

	hist.slots[log2_slot(1 << 12)] = 9;
	depth[1][2] = -6;
	if (bpf_map_update_elem(&hists, &key, &hist, 0))
		return 1;
	inner = bpf_map_lookup_elem(&slots, &zero);
	return !inner || bpf_map_update_elem(inner, &zero, &key, 0);
}
