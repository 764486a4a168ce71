/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The reference type of the proof: a field of every sort. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

enum state {
	STATE_NEW,
	STATE_OLD,
};

struct peer {
	__u16 port;
	/* two bytes of padding */
	__be32 address;
};

struct key {
	__u32 pid;
	__u32 device;
};

struct reference {
	__u64 packets;
	__s64 balance;
	__u32 bytes;
	__s32 delta;
	__u16 small;
	__s8 tiny;
	bool on;
	enum state state;
	char comm[16];
	__u32 slots[4];
	struct peer peers[2];
	struct peer one;
	union {
		__u32 v4;
		__u8 v6[16];
	} source;
	__u32 low : 3, high : 5;
	/* three bytes of padding, and four more */
	__u64 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct key);
	__type(value, struct reference);
} flows SEC(".maps");

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("syscall")
int use_flows(void *ctx)
{
	struct key key = {};

	bpf_map_delete_elem(&flows, &key);
	return 0;
}
