// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A walk inside the kernel: keys and values of one map, the CPUs of a value added
 * up, into an array that user space has mapped.
 *
 * One program serves every map: sizes and fields are constants that are set before
 * it is loaded, so the verifier sees plain copies and additions, and drops the rest.
 * `source` becomes the map in question when it is loaded. Neither
 * bpf_for_each_map_elem nor the iterator takes a bucket's lock: a hash that changes
 * meanwhile may lose or repeat a key.
 *
 * This is what the objects share; they differ in how they come by the values of the
 * other CPUs.
 */
#ifndef __GATHER_H
#define __GATHER_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "bpf_atlas.h"

#define FIELDS_MAX 64

/* What becomes of a number when values are added up. */
enum gather_rule {
	GATHER_SUM = 0,
	GATHER_MAX = 1,
	GATHER_MIN = 2,	  /* the least that is set */
	GATHER_FIRST = 3, /* the first that is set */
};

struct gather_field {
	__u16 offset; /* in the value, a multiple of the size */
	__u8 size;    /* 1, 2, 4 or 8 */
	__u8 rule;
	__u8 is_signed;
	__u8 pad[3];
};

const volatile __u32 key_size = 4;
const volatile __u32 value_size = 8;
const volatile __u32 value_at = 8; /* in a record */
const volatile __u32 cpus = 0;	   /* how many to add up; 0: the map is not per-CPU */
const volatile __u32 fields = 0;
const volatile __u8 loops = 0; /* whether the kernel loops over the CPUs, for the verifier */
const volatile __u8 is_filtered = 0;
const volatile struct gather_field threshold = {}; /* what must be `at_least` */
const volatile struct gather_field field[FIELDS_MAX] = {};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 8);
} source SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 16);
} output SEC(".maps");

struct gather_args {
	__u64 at_least;
	__u64 records; /* answer: how many were written */
	__u64 visited; /* answer: how many there were */
	__u64 no_room; /* answer: how many found no record to be written to */
	__u64 astray;  /* answer: how many addresses were not where the kernel finds them */
};

static __always_inline __u64 get(const void *at, __u32 size)
{
	switch (size) {
	case 8:
		return *(volatile const __u64 *)at;
	case 4:
		return *(volatile const __u32 *)at;
	case 2:
		return *(volatile const __u16 *)at;
	default:
		return *(volatile const __u8 *)at;
	}
}

static __always_inline __s64 get_signed(const void *at, __u32 size)
{
	switch (size) {
	case 8:
		return *(volatile const __s64 *)at;
	case 4:
		return *(volatile const __s32 *)at;
	case 2:
		return *(volatile const __s16 *)at;
	default:
		return *(volatile const __s8 *)at;
	}
}

static __always_inline void put(void *at, __u32 size, __u64 value)
{
	switch (size) {
	case 8:
		*(volatile __u64 *)at = value;
		break;
	case 4:
		*(volatile __u32 *)at = value;
		break;
	case 2:
		*(volatile __u16 *)at = value;
		break;
	default:
		*(volatile __u8 *)at = value;
	}
}

static __always_inline void copy(void *to, const void *from, __u32 size)
{
	__u32 at = 0;

	for (; at + 8 <= size; at += 8)
		put(to + at, 8, get(from + at, 8));
	if (size & 4) {
		put(to + at, 4, get(from + at, 4));
		at += 4;
	}
	if (size & 2) {
		put(to + at, 2, get(from + at, 2));
		at += 2;
	}
	if (size & 1)
		put(to + at, 1, get(from + at, 1));
}

static __always_inline void clear(void *at, __u32 size)
{
	__u32 i = 0;

	for (; i + 8 <= size; i += 8)
		put(at + i, 8, 0);
	for (; i < size; i++)
		put(at + i, 1, 0);
}

static __always_inline bool replaces(const void *old, const void *new, __u32 size, __u8 rule,
				     __u8 is_signed)
{
	bool less, more;

	if (rule == GATHER_FIRST)
		return !get(old, size);
	less = is_signed ? get_signed(new, size) < get_signed(old, size)
			 : get(new, size) < get(old, size);
	more = is_signed ? get_signed(new, size) > get_signed(old, size)
			 : get(new, size) > get(old, size);
	if (rule == GATHER_MAX)
		return more;
	return !get(old, size) || (less && get(new, size));
}

/* `from` is what the field of a value is read from. */
static __always_inline void add_field(void *sum, const void *from, __u32 n)
{
	__u32 size = field[n].size;

	sum += field[n].offset;
	if (field[n].rule == GATHER_SUM)
		put(sum, size, get(sum, size) + get(from, size));
	else if (replaces(sum, from, size, field[n].rule, field[n].is_signed))
		put(sum, size, get(from, size));
}

static __always_inline void add_up(void *sum, const void *value)
{
	for (__u32 n = 0; n < FIELDS_MAX; n++) {
		if (n >= fields)
			break;
		add_field(sum, value + field[n].offset, n);
	}
}

/* Whether the record is one that was asked for. */
static __always_inline bool passes(const void *value, __u64 at_least)
{
	if (threshold.is_signed)
		return get_signed(value + threshold.offset, threshold.size) >= (__s64)at_least;
	return get(value + threshold.offset, threshold.size) >= at_least;
}

/* The record of the next element; NULL where there is no room. */
static __always_inline void *next_record(struct gather_args *args)
{
	__u32 at = args->records;
	void *record = bpf_map_lookup_elem(&output, &at);

	args->visited++;
	if (!record)
		args->no_room++;
	return record;
}

/* Counts a record that is written, if it was asked for. */
static __always_inline void keep(const void *record, struct gather_args *args)
{
	if (!is_filtered || passes(record + value_at, args->at_least))
		args->records++;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif /* __GATHER_H */
