/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A program whose map is pinned by its name, in several versions. */
#include "vmlinux.h"
#include "bpf_atlas.h"

struct stat {
	FIELDS
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct stat);
} stats SEC(".maps");

SEC("syscall")
int count(void *ctx)
{
	static struct stat none;
	__u32 key = 1;
	struct stat *stat;

	bpf_map_update_elem(&stats, &key, &none, BPF_NOEXIST);
	stat = bpf_map_lookup_elem(&stats, &key);
	if (stat)
		__sync_fetch_and_add(&stat->packets, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
