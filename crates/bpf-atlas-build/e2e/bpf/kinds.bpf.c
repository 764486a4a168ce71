/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A map of every kind that a program can declare by itself. */
#include "vmlinux.h"
#include "bpf_atlas.h"

/* Kinds that vmlinux.h need not name. */
#define KIND(number) __uint(type, number)

struct value {
	__u32 a;
	__u32 b;
};

struct prefix {
	__u32 len;
	__u8 address[4];
};

#define TYPED(name, number)                  \
	struct {                             \
		KIND(number);                \
		__uint(max_entries, 4);      \
		__type(key, __u32);          \
		__type(value, struct value); \
	} name SEC(".maps")

TYPED(hash, 1);
TYPED(array, 2);
TYPED(percpu_hash, 5);
TYPED(percpu_array, 6);
TYPED(lru_hash, 9);
TYPED(lru_percpu_hash, 10);

#define SIZED(name, number, key, value)    \
	struct {                           \
		KIND(number);              \
		__uint(max_entries, 4);    \
		__uint(key_size, key);     \
		__uint(value_size, value); \
	} name SEC(".maps")

SIZED(prog_array, 3, 4, 4);
SIZED(perf_event_array, 4, 4, 4);
SIZED(stack_trace, 7, 4, 1016);
SIZED(cgroup_array, 8, 4, 4);
SIZED(devmap, 14, 4, 8);
SIZED(sockmap, 15, 4, 8);
SIZED(cpumap, 16, 4, 8);
SIZED(xskmap, 17, 4, 4);
SIZED(sockhash, 18, 4, 8);
SIZED(reuseport, 20, 4, 8);
SIZED(queue, 22, 0, 8);
SIZED(stack, 23, 0, 8);
SIZED(devmap_hash, 25, 4, 8);
SIZED(bloom, 30, 0, 8);

struct {
	KIND(11);
	__uint(max_entries, 4);
	__uint(map_flags, 1);
	__type(key, struct prefix);
	__type(value, struct value);
} lpm_trie SEC(".maps");

#define STORAGE(name, number)                \
	struct {                             \
		KIND(number);                \
		__uint(map_flags, 1);        \
		__type(key, int);            \
		__type(value, struct value); \
	} name SEC(".maps")

STORAGE(sk_storage, 24);
STORAGE(inode_storage, 28);
STORAGE(task_storage, 29);
STORAGE(cgrp_storage, 32);

struct inner {
	KIND(1);
	__uint(max_entries, 4);
	__type(key, struct value);
	__type(value, __u64);
} first SEC(".maps");

struct {
	KIND(12);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} array_of_maps SEC(".maps") = { .values = { &first } };

struct {
	KIND(13);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(
		values, struct {
			KIND(2);
			__uint(max_entries, 4);
			__type(key, __u32);
			__type(value, struct value);
		});
} hash_of_maps SEC(".maps");

struct {
	KIND(27);
	__uint(max_entries, 4096);
} untyped_ring SEC(".maps");

struct {
	KIND(31);
	__uint(max_entries, 4096);
} user_ring SEC(".maps");

SEC("syscall")
int run(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
