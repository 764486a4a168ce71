/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Programs that count: with the header's macros, and the naive way. */
#include "test.h"

#define COUNTS(name, kind, flags)             \
	struct {                              \
		__uint(type, kind);           \
		__uint(map_flags, flags);     \
		__uint(max_entries, 1 << 16); \
		__type(key, __u32);           \
		__type(value, __u64);         \
	} name SEC(".maps")

COUNTS(hash, BPF_MAP_TYPE_HASH, 0);
COUNTS(no_prealloc, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
COUNTS(lru, BPF_MAP_TYPE_LRU_HASH, 0);
COUNTS(percpu, BPF_MAP_TYPE_PERCPU_HASH, 0);
COUNTS(percpu_alloc, BPF_MAP_TYPE_PERCPU_HASH, BPF_F_NO_PREALLOC);
COUNTS(percpu_lru, BPF_MAP_TYPE_LRU_PERCPU_HASH, 0);
COUNTS(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, 0);
COUNTS(naive, BPF_MAP_TYPE_HASH, 0);

struct prefix {
	__u32 length;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16);
	__type(key, struct prefix);
	__type(value, __u64);
} trie SEC(".maps");

struct flow {
	__u64 packets;
	__u64 bytes;
	__u64 opener;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

ATLAS_HEALTH(health);

/* Keys from `first`, `keys` of them; `n` is added to each. */
struct args {
	__u64 first;
	__u64 keys;
	__u64 n;
	__u64 in_step; /* whether both CPUs come to each key together */
};

static __always_inline __u32 next_key(__u64 i, struct args *args)
{
	if (args->in_step)
		meet(args->first + i);
	return args->first + i;
}

/* Defines the program `name`, which runs `count` for each `key`. */
#define EACH_KEY(name, count)                              \
	static long name##_one(__u64 i, struct args *args) \
	{                                                  \
		__u32 key = next_key(i, args);             \
		count;                                     \
		return 0;                                  \
	}                                                  \
	SEC("syscall") int name(struct args *ctx)          \
	{                                                  \
		struct args args = *ctx;                   \
		bpf_loop(args.keys, name##_one, &args, 0); \
		return 0;                                  \
	}

EACH_KEY(count_hash, atlas_count(&hash, &key, args->n, &health))
EACH_KEY(count_no_prealloc, atlas_count(&no_prealloc, &key, args->n, &health))
EACH_KEY(count_lru, atlas_count(&lru, &key, args->n, &health))
EACH_KEY(count_percpu, atlas_count_percpu(&percpu, &key, args->n, &health))
EACH_KEY(count_percpu_alloc, atlas_count_percpu(&percpu_alloc, &key, args->n, &health))
EACH_KEY(count_percpu_lru, atlas_count_percpu(&percpu_lru, &key, args->n, &health))
EACH_KEY(count_percpu_array, atlas_count_percpu(&percpu_array, &key, args->n, &health))

/* Tries are not for programs that sleep. */
SEC("xdp") int count_trie(struct xdp_md *ctx)
{
	struct args *args = PACKET(ctx, struct args);
	struct prefix prefix = { 32 };

	if (!args)
		return -1;
	prefix.address = args->first++;
	return atlas_count(&trie, &prefix, args->n, &health);
}

/* What everyone writes first: the loser of a race on a new key replaces the winner's element. */
static __always_inline void count_naively(__u32 key, __u64 n)
{
	__u64 *value = bpf_map_lookup_elem(&naive, &key);

	if (value)
		__sync_fetch_and_add(value, n);
	else
		bpf_map_update_elem(&naive, &key, &n, BPF_ANY);
}

EACH_KEY(count_naive, count_naively(key, args->n))

static __always_inline void count_flow(__u32 key, __u64 bytes)
{
	struct flow opened = { .opener = 1 + bpf_get_smp_processor_id() };
	struct flow *flow = atlas_lookup_or_init(&flows, &key, &opened, &health);

	if (!flow)
		return;
	__sync_fetch_and_add(&flow->packets, 1);
	__sync_fetch_and_add(&flow->bytes, bytes);
}

EACH_KEY(count_flows, count_flow(key, args->n))
