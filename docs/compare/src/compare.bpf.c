/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The maps that the three libraries read, and a program that fills them. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct flow {
	__u64 packets;
	__u64 bytes;
};

struct policy_key { /* 28 bytes of fields, 4 of padding */
	__u64 cgroup;
	__u8 address[16];
	__u32 port;
};

struct setting {
	__u32 limit;
	bool enabled;
	__u8 unused[3];
};

struct result {
	__u64 runs;
	__s64 error;
};

struct event { /* user space still knows the one without `started` */
	__u32 pid;
	__u32 uid;
	__u64 started;
};

#define MAP(name, kind, entries, key_type, value_type) \
	struct {                                       \
		__uint(type, kind);                    \
		__uint(max_entries, entries);          \
		__type(key, key_type);                 \
		__type(value, value_type);             \
	} name SEC(".maps")

MAP(flows, BPF_MAP_TYPE_HASH, 16, __u32, struct flow);
MAP(policies, BPF_MAP_TYPE_HASH, 16, struct policy_key, __u32);
MAP(settings, BPF_MAP_TYPE_ARRAY, 4, __u32, struct setting);
MAP(results, BPF_MAP_TYPE_HASH, 16, __u32, struct result);
MAP(hits, BPF_MAP_TYPE_PERCPU_ARRAY, 4, __u32, __u32);
MAP(counts, BPF_MAP_TYPE_HASH, 100000, __u32, __u64);
MAP(per_cpu_flows, BPF_MAP_TYPE_PERCPU_HASH, 16, __u32, struct flow);

#ifdef GENERATED /* the same ring, and the type of its events in BTF */
#include "bpf_atlas.h"
ATLAS_RING(events, 4096, struct event);
#else
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");
#endif

SEC("xdp") int fill(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct flow flow = { .packets = 3, .bytes = 0x100000004 };
	struct policy_key policy = { .cgroup = 7, .port = 443 };
	__u32 allow = 1;
	__u32 hits_here = 5;
	struct setting setting = { .limit = 10 };
	struct result result = { .runs = 1, .error = -5 };
	struct event event = { .pid = 1, .uid = 2, .started = 3 };

	/* What nothing in C forbids: a byte that is neither 0 nor 1. */
	*(volatile __u8 *)&setting.enabled = 2;
	bpf_map_update_elem(&flows, &key, &flow, BPF_ANY);
	bpf_map_update_elem(&policies, &policy, &allow, BPF_ANY);
	bpf_map_update_elem(&settings, &key, &setting, BPF_ANY);
	bpf_map_update_elem(&results, &key, &result, BPF_ANY);
	bpf_map_update_elem(&hits, &key, &hits_here, BPF_ANY);
	bpf_map_update_elem(&per_cpu_flows, &key, &flow, BPF_ANY);
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return XDP_PASS;
}
