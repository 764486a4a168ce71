// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Connections by address of either family, begun under the address of a socket. */
#include "vmlinux.h"
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum family {
	FAMILY_V4 = 2,
	FAMILY_V6 = 10
};

struct ipv4_key {
	__u32 saddr, daddr;
	__u16 dport;
} __attribute__((packed));

typedef struct tuple {
	enum family af : 8;
	__u32 inbound : 1;
	union {
		__be32 saddr_v4;
		__u8 saddr_v6[16];
	};
	union {
		__be32 v4;
		struct {
			__be64 high, low;
		} v6;
	} daddr;
	__be16 dport;
} tuple_t;

struct piddata {
	char comm[16];
	__u64 ts;
	__u32 tgid;
};

struct sock;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct sock *);
	__type(value, struct piddata);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, tuple_t);
	__type(value, __u64);
} latency SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 64);
	__type(key, struct ipv4_key);
	__type(value, __u64[2]);
} bytes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

SEC("syscall")
int play(void *ctx)
{
	struct sock *sk = (void *)0xffff888012345678;
	struct piddata data = { .comm = "curl", .ts = 5, .tgid = 42 };
	tuple_t four, six;
	struct ipv4_key key = { 1, 2, 443 };
	__u64 latency_ns = 1000, sent[2] = { 10, 20 };
	long err;

	__builtin_memset(&four, 0, sizeof(four));
	__builtin_memset(&six, 0, sizeof(six));
	four.af = FAMILY_V4;
	four.inbound = 1;
	four.saddr_v4 = __builtin_bswap32(0x0a000001);
	four.daddr.v4 = __builtin_bswap32(0x0a000002);
	four.dport = __builtin_bswap16(443);
	six.af = FAMILY_V6;
	six.saddr_v6[15] = 1;
	six.daddr.v6.high = __builtin_bswap64(0xfe80000000000000);
	six.daddr.v6.low = __builtin_bswap64(2);
	err = bpf_map_update_elem(&start, &sk, &data, 0);
	err |= bpf_map_update_elem(&latency, &four, &latency_ns, 0);
	latency_ns = 2000;
	err |= bpf_map_update_elem(&latency, &six, &latency_ns, 0);
	err |= bpf_map_update_elem(&bytes, &key, &sent, 0);
	return err != 0;
}
