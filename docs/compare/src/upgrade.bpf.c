/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One program in several versions, and the map that it keeps pinned from one to the next. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct flow {
#ifdef REORDERED
	__u64 bytes;
	__u64 packets;
#else
	__u64 packets;
	__u64 bytes;
#endif
#ifdef GREW
	__u64 dropped;
#endif
#ifdef WIDE
	__u64 sizes[512];
#endif
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

SEC("xdp") int count(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct flow *flow = bpf_map_lookup_elem(&flows, &key);

	if (flow) {
		flow->packets += 3;
		flow->bytes += 1500;
#ifdef GREW
		flow->dropped += 1;
#endif
	}
	return XDP_PASS;
}
