/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A value of 100 fields. */
#include "vmlinux.h"
#include "bpf_atlas.h"

struct part {
	__u16 port;
	__u16 flags;
	__be32 address;
};

#define TEN(n)               \
	__u64 a##n;          \
	__s64 b##n;          \
	__u32 c##n;          \
	__s32 d##n;          \
	__u16 e##n[4];       \
	char f##n[16];       \
	struct part g##n;    \
	struct part h##n[2]; \
	__u8 i##n[8];        \
	__u64 j##n;

struct wide {
	TEN(0)
	TEN(1)
	TEN(2)
	TEN(3)
	TEN(4)
	TEN(5)
	TEN(6)
	TEN(7)
	TEN(8)
	TEN(9)
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct wide);
} wide SEC(".maps");

char LICENSE[] SEC("license") = "Dual BSD/GPL";
