/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Programs that count in maps which user space reads or resets meanwhile. */
#include "test.h"

/* Keys of every map, and counts of one run. */
#define KEYS   64
#define COUNTS 16

#define TOTALS(kind)                       \
	{                                  \
		__uint(type, kind);        \
		__uint(max_entries, KEYS); \
		__type(key, __u32);        \
		__type(value, __u64);      \
	}

struct TOTALS(BPF_MAP_TYPE_HASH) hash SEC(".maps");
struct TOTALS(BPF_MAP_TYPE_PERCPU_HASH) percpu_hash SEC(".maps");
struct TOTALS(BPF_MAP_TYPE_ARRAY) array SEC(".maps");
struct TOTALS(BPF_MAP_TYPE_PERCPU_ARRAY) percpu_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KEYS);
	__type(key, __u32);
	__type(value, __u64);
} mapped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KEYS);
	__type(key, __u32);
	__type(value, __u32);
} mapped_32 SEC(".maps");

/* A map and the slot that it is counted in through. */
#define SWAPPED(name, kind)                                         \
	struct name##_inner TOTALS(kind) name##_first SEC(".maps"); \
	struct {                                                    \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);           \
		__uint(max_entries, 2);                             \
		__type(key, __u32);                                 \
		__array(values, struct name##_inner);               \
	} name SEC(".maps") = { .values = { &name##_first } }

SWAPPED(swap_hash, BPF_MAP_TYPE_HASH);
SWAPPED(swap_percpu_hash, BPF_MAP_TYPE_PERCPU_HASH);
SWAPPED(swap_array, BPF_MAP_TYPE_ARRAY);
SWAPPED(swap_percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY);

ATLAS_HEALTH(health);

/* Defines the program `name`, which counts COUNTS keys in what `find` gives. */
#define COUNT(name, find)                                         \
	SEC("xdp") int name(struct xdp_md *ctx)                   \
	{                                                         \
		for (int i = 0; i < COUNTS; i++) {                \
			__u32 key = bpf_get_prandom_u32() % KEYS; \
			void *map = find;                         \
			if (!map)                                 \
				return -1;                        \
			atlas_count(map, &key, 1, &health);       \
		}                                                 \
		return 0;                                         \
	}

COUNT(count_hash, &hash)
COUNT(count_percpu_hash, &percpu_hash)
COUNT(count_array, &array)
COUNT(count_percpu_array, &percpu_array)
COUNT(count_mapped, &mapped)

static __always_inline void *slot(void *outer)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(outer, &zero);
}

COUNT(count_swap_hash, slot(&swap_hash))
COUNT(count_swap_percpu_hash, slot(&swap_percpu_hash))
COUNT(count_swap_array, slot(&swap_array))
COUNT(count_swap_percpu_array, slot(&swap_percpu_array))

SEC("xdp") int count_mapped_32(struct xdp_md *ctx)
{
	for (int i = 0; i < COUNTS; i++) {
		__u32 key = bpf_get_prandom_u32() % KEYS;
		__u32 *value = bpf_map_lookup_elem(&mapped_32, &key);

		if (!value)
			return -1;
		__sync_fetch_and_add(value, 1);
	}
	return 0;
}

/* Finds the active map and its key 0, waits for user space to act, then counts there. */
SEC("xdp") int hold_swapped(struct xdp_md *ctx)
{
	__u32 key = 0;
	void *map = slot(&swap_array);
	__u64 *value = map ? bpf_map_lookup_elem(map, &key) : NULL;
	/* How long to wait at most. */
	__u64 *ns = PACKET(ctx, __u64);
	bool told;

	if (!value || !ns)
		return -1;
	control_add(HELD, 1);
	told = control_await(GO, 1, *ns);
	__sync_fetch_and_add(value, 1);
	return told ? 0 : -2;
}

/*
 * The same with two arrays and a word that says which of them is active: user
 * space turns the word and waits for no one.
 */
struct TOTALS(BPF_MAP_TYPE_ARRAY) even SEC(".maps");
struct TOTALS(BPF_MAP_TYPE_ARRAY) odd SEC(".maps");

#define EPOCH 8

SEC("xdp") int hold_epoch(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *epoch = control_word(EPOCH), *ns = PACKET(ctx, __u64), *value;
	bool told;

	if (!epoch || !ns)
		return -1;
	value = *epoch & 1 ? bpf_map_lookup_elem(&odd, &key) : bpf_map_lookup_elem(&even, &key);
	if (!value)
		return -1;
	control_add(HELD, 1);
	told = control_await(GO, 1, *ns);
	__sync_fetch_and_add(value, 1);
	return told ? 0 : -2;
}
