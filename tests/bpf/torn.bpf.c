/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Programs that write values over and over, while user space reads them. */
#include "test.h"

#define KEYS 8

struct pair {
	__u64 first;
	__u64 second;
};

#define VALUES(name, kind, value_type)     \
	struct {                           \
		__uint(type, kind);        \
		__uint(max_entries, KEYS); \
		__type(key, __u32);        \
		__type(value, value_type); \
	} name SEC(".maps")

VALUES(words_hash, BPF_MAP_TYPE_HASH, __u64);
VALUES(words_lru, BPF_MAP_TYPE_LRU_HASH, __u64);
VALUES(words_array, BPF_MAP_TYPE_ARRAY, __u64);
VALUES(words_percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, __u64);
VALUES(words_percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, __u64);
VALUES(pairs_hash, BPF_MAP_TYPE_HASH, struct pair);
VALUES(pairs_array, BPF_MAP_TYPE_ARRAY, struct pair);
VALUES(pairs_percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, struct pair);
VALUES(pairs_percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, struct pair);

/* A value that says whose it is: replaced as a whole, never written in place. */
struct owned {
	__u64 key;
	__u64 turn;
	__u64 same[6]; /* key and turn once more, in each word */
};

VALUES(word_replaced, BPF_MAP_TYPE_HASH, __u64);
VALUES(replaced, BPF_MAP_TYPE_HASH, struct owned);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KEYS);
	__type(key, __u32);
	__type(value, struct owned);
} replaced_alloc SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64 * KEYS);
	__type(key, __u32);
	__type(value, struct owned);
} replaced_lru SEC(".maps");

/* The same number in each half of a word: a torn word shows two. */
static __always_inline __u64 halves(void)
{
	__u32 half = bpf_get_prandom_u32();

	return (__u64)half << 32 | half;
}

/* Defines the program `name`, which writes each value of `map` in place. */
#define WRITE_WORDS(name, map)                                        \
	SEC("xdp") int name(struct xdp_md *ctx)                       \
	{                                                             \
		for (__u32 key = 0; key < KEYS; key++) {              \
			__u32 k = key;                                \
			__u64 *value = bpf_map_lookup_elem(&map, &k); \
			if (!value)                                   \
				return -1;                            \
			*(volatile __u64 *)value = halves();          \
		}                                                     \
		return 0;                                             \
	}

WRITE_WORDS(write_words_hash, words_hash)
WRITE_WORDS(write_words_lru, words_lru)
WRITE_WORDS(write_words_array, words_array)
WRITE_WORDS(write_words_percpu_hash, words_percpu_hash)
WRITE_WORDS(write_words_percpu_array, words_percpu_array)

#define WRITE_PAIRS(name, map)                                              \
	SEC("xdp") int name(struct xdp_md *ctx)                             \
	{                                                                   \
		for (__u32 key = 0; key < KEYS; key++) {                    \
			__u32 k = key;                                      \
			__u64 both = halves();                              \
			struct pair *value = bpf_map_lookup_elem(&map, &k); \
			if (!value)                                         \
				return -1;                                  \
			*(volatile __u64 *)&value->first = both;            \
			*(volatile __u64 *)&value->second = both;           \
		}                                                           \
		return 0;                                                   \
	}

WRITE_PAIRS(write_pairs_hash, pairs_hash)
WRITE_PAIRS(write_pairs_array, pairs_array)
WRITE_PAIRS(write_pairs_percpu_hash, pairs_percpu_hash)
WRITE_PAIRS(write_pairs_percpu_array, pairs_percpu_array)

/* Defines the program `name`, which replaces each element of `map`. */
#define REPLACE(name, map)                                                  \
	SEC("xdp") int name(struct xdp_md *ctx)                             \
	{                                                                   \
		for (__u32 key = 0; key < KEYS; key++) {                    \
			__u32 k = key;                                      \
			__u64 turn = bpf_get_prandom_u32();                 \
			struct owned owned = { .key = key, .turn = turn };  \
			for (int i = 0; i < 6; i++)                         \
				owned.same[i] = (__u64)key << 32 | turn;    \
			if (bpf_map_update_elem(&map, &k, &owned, BPF_ANY)) \
				return -1;                                  \
		}                                                           \
		return 0;                                                   \
	}

REPLACE(replace, replaced)
REPLACE(replace_alloc, replaced_alloc)
REPLACE(replace_lru, replaced_lru)

SEC("xdp") int replace_word(struct xdp_md *ctx)
{
	for (__u32 key = 0; key < KEYS; key++) {
		__u32 k = key;
		/* The key, and a number that it divides. */
		__u64 word = (__u64)key << 32 | (bpf_get_prandom_u32() / KEYS * KEYS + key);

		if (bpf_map_update_elem(&word_replaced, &k, &word, BPF_ANY))
			return -1;
	}
	return 0;
}
