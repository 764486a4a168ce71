/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Types that are told to others, by serde. */
#include "vmlinux.h"
#include "bpf_atlas.h"

enum way {
	WAY_IN = 1,
	WAY_OUT,
};

union address {
	__be32 v4;
	__u8 v6[16];
};

union large {
	__u8 bytes[40];
	__u8 first;
};

struct told {
	char comm[16];
	char raw[4];
	bool on;
	__be16 port;
	__be32 seen[2];
	__be64 cookie;
	enum way way;
	__u32 low : 4, high : 12;
	union address address;
	union large large;
	union {
		__u32 code;
		__u8 parts[4];
	};
	__u64 slots[2][36];
	__u8 last;
} __attribute__((aligned(128)));

struct packed {
	char name[3];
	__u32 number;
	__u8 long_one[33];
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct told);
} all SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct packed);
} packed_map SEC(".maps");

static const volatile char comm[16] = "caf\xc3\xa9";

SEC("syscall")
int fill(void *ctx)
{
	__u32 zero = 0, n;
	struct told *told = bpf_map_lookup_elem(&all, &zero);
	struct packed packed = { .name = "ab", .number = 7 };

	if (!told)
		return 1;
	for (n = 0; n < sizeof(comm); n++)
		told->comm[n] = comm[n];
	told->raw[0] = 'a';
	told->raw[1] = '\xff';
	told->raw[3] = 'b';
	told->on = true;
	told->port = __builtin_bswap16(443);
	told->seen[1] = __builtin_bswap32(0x7f000001);
	told->cookie = __builtin_bswap64(1ULL << 40);
	told->way = WAY_OUT;
	told->low = 5;
	told->high = 0xabc;
	told->address.v4 = __builtin_bswap32(0x0a000001);
	told->large.bytes[39] = 39;
	told->code = 0x01020304;
	for (n = 0; n < 36; n++)
		told->slots[1][n] = n;
	told->last = 9;
	packed.long_one[32] = 32;
	return bpf_map_update_elem(&packed_map, &zero, &packed, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
