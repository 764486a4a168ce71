/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Names that are words of Rust's, or of the module's own. */
#include "vmlinux.h"
#include "bpf_atlas.h"

enum match {
	type,
	fn,
	c_name,
};

struct self {
	__u32 crate;
	__u32 super;
	__u32 Self;
	__u32 impl;
	enum match trait;
};

struct data {
	__u32 read;
	union {
		__u32 clone;
		__u32 set_clone;
	};
};

struct maps {
	__u64 let;
};

struct option {
	struct self some;
	struct data none;
	struct maps box;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, struct self);
	__type(value, struct option);
} loop SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct maps);
} mut SEC(".maps");

struct data read = { .read = 4 };
__u32 set_move;
__u32 move;

SEC("syscall")
int use(void *ctx)
{
	__u32 zero = 0;
	struct maps value = { .let = read.read };

	move = 8;
	set_move = 9;
	return bpf_map_update_elem(&mut, &zero, &value, 0);
}

SEC("?raw_tp/sys_enter")
int dyn(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
