/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Programs that write the slot of the CPU they run on. */
#include "test.h"

/* The largest value that a test gives the maps; it sets the true size. */
#define MOST 64

#define SLOTS(name, kind, entries)            \
	struct {                              \
		__uint(type, kind);           \
		__uint(max_entries, entries); \
		__uint(key_size, 4);          \
		__uint(value_size, MOST);     \
	} name SEC(".maps")

SLOTS(hash, BPF_MAP_TYPE_PERCPU_HASH, 128);
SLOTS(lru, BPF_MAP_TYPE_LRU_PERCPU_HASH, 1024);
SLOTS(array, BPF_MAP_TYPE_PERCPU_ARRAY, 4);

struct args {
	__u64 cpu; /* where the program is meant to run */
	__u64 key;
	__u64 seed; /* byte i of the value is seed + i */
};

/* Defines the program `name`; -1 where it runs on another CPU, else what the map said. */
#define WRITE(name, map)                                                \
	SEC("syscall") int name(struct args *args)                      \
	{                                                               \
		__u8 value[MOST];                                       \
		__u32 key = args->key;                                  \
		if (bpf_get_smp_processor_id() != args->cpu)            \
			return -1;                                      \
		for (int i = 0; i < MOST; i++)                          \
			value[i] = args->seed + i;                      \
		return bpf_map_update_elem(&map, &key, value, BPF_ANY); \
	}

WRITE(write_hash, hash)
WRITE(write_lru, lru)
WRITE(write_array, array)

/* A counter, added to in place. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

ATLAS_HEALTH(health);

SEC("syscall") int add(struct args *args)
{
	__u32 key = args->key;

	if (bpf_get_smp_processor_id() != args->cpu)
		return -1;
	if (atlas_count_percpu(&counter, &key, args->seed, &health))
		return -2;
	return atlas_count_percpu(&counters, &key, args->seed, &health);
}
