// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A gather of a per-CPU map that looks no key up. It needs the kernel's types.
 *
 * `gather` reads the other CPUs' values where they are: as far from this CPU's as
 * all per-CPU memory of theirs is (per_cpu_ptr() of the kernel is that addition). How
 * far is seen in `compass`, and of the first element it is compared with what the
 * kernel finds.
 *
 * `gather_copies` is given the values of all CPUs by the kernel, copied one behind
 * the other.
 */
#include "gather.h"
#include <bpf/bpf_core_read.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 8);
} compass SEC(".maps");

/* How far each CPU's memory is; behind it, what the verifier is to take for a number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 16);
} distances SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, sizeof(struct gather_args));
} answer SEC(".maps");

/* Any type of the kernel that begins with 8 bytes that are no pointer. */
struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
} __attribute__((preserve_access_index));

extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym __weak;

/* Reads there give 0 where there is nothing. */
static __always_inline const void *readable(__u64 address)
{
	return bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct timespec64));
}

/* A counter by itself, as most values are, is added up in a register. */
static __always_inline bool is_counter(void)
{
	return fields == 1 && field[0].rule == GATHER_SUM;
}

struct places {
	__u64 *distances;
	__u64 here; /* this CPU's value */
	void *sum;
	const void *key;
	__u64 astray;
};

/* The address that a pointer is. */
static __always_inline __u64 address_of(const void *pointer, __u64 *through)
{
	*(volatile __u64 *)through = (__u64)pointer;
	return *(volatile __u64 *)through;
}

static long measure_cpu(__u64 cpu, struct places *places)
{
	const void *there;
	__u32 zero = 0;

	if (cpu >= cpus)
		return 1;
	there = bpf_map_lookup_percpu_elem(&compass, &zero, cpu);
	if (there)
		places->distances[cpu] = address_of(there, &places->distances[cpus]) - places->here;
	return 0;
}

static long compare_cpu(__u64 cpu, struct places *places)
{
	const void *there;

	if (cpu >= cpus)
		return 1;
	there = bpf_map_lookup_percpu_elem(&source, places->key, cpu);
	if (there &&
	    address_of(there, &places->distances[cpus]) != places->here + places->distances[cpu])
		places->astray++;
	return 0;
}

static __always_inline long add_cpu(__u64 cpu, struct places *places)
{
	__u64 there;

	if (cpu >= cpus)
		return 1;
	there = places->here + places->distances[cpu];
	for (__u32 n = 0; n < FIELDS_MAX; n++) {
		if (n >= fields)
			break;
		add_field(places->sum, readable(there + field[n].offset), n);
	}
	return 0;
}

static __always_inline void count_up(const struct places *places)
{
	__u32 at = field[0].offset, size = field[0].size;
	__u64 here = places->here + at, sum = 0;

	for (__u32 cpu = 0; cpu < cpus; cpu++)
		sum += get(readable(here + places->distances[cpu]), size);
	put(places->sum + at, size, sum);
}

static long add_next(__u64 cpu, struct places *places)
{
	return add_cpu(cpu, places);
}

static long each(void *map, const void *key, void *value, struct gather_args *args)
{
	void *record = next_record(args);
	__u32 zero = 0;
	struct places places = { .key = key };

	places.distances = bpf_map_lookup_elem(&distances, &zero);
	if (!record || !places.distances)
		return 0;
	places.here = address_of(value, &places.distances[cpus]);
	if (args->visited == 1) {
		bpf_loop(cpus, compare_cpu, &places, 0);
		args->astray = places.astray;
	}
	copy(record, key, key_size);
	places.sum = record + value_at;
	/* From nothing, as in user space. */
	clear(places.sum, value_size);
	if (is_counter())
		count_up(&places);
	else if (loops)
		bpf_loop(cpus, add_next, &places, 0);
	else
		for (__u32 cpu = 0; cpu < cpus; cpu++)
			add_cpu(cpu, &places);
	keep(record, args);
	return 0;
}

SEC("syscall") int gather(struct gather_args *ctx)
{
	/* The counters begin with what was handed in, 0: the verifier would count along. */
	struct gather_args args = *ctx;
	struct places places = {};
	__u32 zero = 0;
	const void *here = bpf_map_lookup_elem(&compass, &zero);

	places.distances = bpf_map_lookup_elem(&distances, &zero);
	if (!here || !places.distances)
		return 0;
	places.here = address_of(here, &places.distances[cpus]);
	/* Anew each time: this is another CPU than the last. */
	bpf_loop(cpus, measure_cpu, &places, 0);
	bpf_for_each_map_elem(&source, each, &args, 0);
	*ctx = args;
	return 0;
}

/* What the kernel hands to such a program; each field has 8 bytes. */
struct bpf_iter__bpf_map_elem {
	void *meta;
	void *map;
	void *key;
	void *value;
};

SEC("iter/bpf_map_elem") int gather_copies(struct bpf_iter__bpf_map_elem *ctx)
{
	const void *key = ctx->key, *value = ctx->value;
	__u32 stride = (value_size + 7) & ~7;
	struct gather_args *args;
	__u32 zero = 0;
	void *record;

	args = bpf_map_lookup_elem(&answer, &zero);
	if (!key || !value || !args)
		return 0; /* the end */
	record = next_record(args);
	if (!record)
		return 0;
	copy(record, key, key_size);
	clear(record + value_at, value_size);
	if (is_counter()) {
		__u32 at = field[0].offset, size = field[0].size;
		__u64 sum = 0;

		for (__u32 cpu = 0; cpu < cpus; cpu++)
			sum += get(value + cpu * stride + at, size);
		put(record + value_at + at, size, sum);
	} else {
		for (__u32 cpu = 0; cpu < cpus; cpu++)
			add_up(record + value_at, value + cpu * stride);
	}
	keep(record, args);
	return 0;
}
