/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Programs whose entries user space takes away. */
#include "test.h"

#define ENTRIES(name, kind, flags)            \
	struct {                              \
		__uint(type, kind);           \
		__uint(map_flags, flags);     \
		__uint(max_entries, 1 << 14); \
		__type(key, __u64);           \
		__type(value, __u64);         \
	} name SEC(".maps")

ENTRIES(hash, BPF_MAP_TYPE_HASH, 0);
ENTRIES(no_prealloc, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
ENTRIES(lru, BPF_MAP_TYPE_LRU_HASH, 0);
ENTRIES(percpu, BPF_MAP_TYPE_PERCPU_HASH, 0);
ENTRIES(percpu_alloc, BPF_MAP_TYPE_PERCPU_HASH, BPF_F_NO_PREALLOC);

ATLAS_HEALTH(health);

/* Finished entries: each key once, with the value that belongs to it. */
struct fill {
	__u64 first;
	__u64 keys;
	__u64 inserted; /* how many were, before the map was full */
};

/* Defines the program `name`, which inserts entries until `map` is full. */
#define FILL(name, map)                                                           \
	static long name##_one(__u64 i, struct fill *fill)                        \
	{                                                                         \
		__u64 key = fill->first + i, value = key * 0x9e3779b97f4a7c15ULL; \
		if (bpf_map_update_elem(&map, &key, &value, BPF_NOEXIST))         \
			return 1;                                                 \
		fill->inserted++;                                                 \
		return 0;                                                         \
	}                                                                         \
	SEC("syscall") int name(struct fill *ctx)                                 \
	{                                                                         \
		struct fill fill = *ctx;                                          \
		bpf_loop(fill.keys, name##_one, &fill, 0);                        \
		ctx->inserted = fill.inserted;                                    \
		return 0;                                                         \
	}

FILL(fill_hash, hash)
FILL(fill_no_prealloc, no_prealloc)
FILL(fill_percpu, percpu)

/* Live counters: one of 64 keys at every run. */
SEC("xdp") int count_live(struct xdp_md *ctx)
{
	__u64 key = bpf_get_prandom_u32() % 64;

	return atlas_count(&hash, &key, 1, &health);
}

/* An increment under way. */
struct hold {
	__u64 key;
	__u64 n;
};

/*
 * Defines the program `name`: it looks up a key, as any counting program does,
 * and adds to its value; but between the two it waits for user space to act.
 */
#define HOLD(name, map)                                       \
	SEC("xdp") int name(struct xdp_md *ctx)               \
	{                                                     \
		struct hold *hold = PACKET(ctx, struct hold); \
		__u64 key, n, *value;                         \
		if (!hold)                                    \
			return -1;                            \
		key = hold->key;                              \
		n = hold->n;                                  \
		value = bpf_map_lookup_elem(&map, &key);      \
		if (!value)                                   \
			return -2;                            \
		control_add(HELD, 1);                         \
		if (!control_await(GO, 1, 5000000000ULL))     \
			return -3;                            \
		__sync_fetch_and_add(value, n);               \
		return 0;                                     \
	}

HOLD(hold_hash, hash)
HOLD(hold_no_prealloc, no_prealloc)
HOLD(hold_lru, lru)
HOLD(hold_percpu, percpu)
HOLD(hold_percpu_alloc, percpu_alloc)
