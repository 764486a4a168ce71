/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Producers of records of many sizes, each with a number and every byte determined by it. */
#include "test.h"

#define WORDS 64

struct mixed {
	__u32 producer;
	__u32 seq;
	__u64 check;
};

ATLAS_RING(events, 1 << 16, struct mixed);

struct scratch {
	struct mixed event;
	__u64 words[WORDS];
};

/* One for each producer, of which no two run at once. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* What a reader that may be killed has seen; the test maps it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << 20);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct args {
	__u64 producer;
	__u64 first;
	__u64 count;
	__u64 lost;
};

static __always_inline __u64 mix(__u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static long produce_one(__u64 i, struct args *args)
{
	__u32 producer = args->producer, seq = args->first + i;
	__u64 number = mix((__u64)producer << 32 | seq);
	__u32 words = number % WORDS;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &producer);
	__u64 size;

	if (!scratch)
		return 1;
	/* Most records are small. */
	if (number >> 62)
		words %= 8;
	scratch->event.producer = producer;
	scratch->event.seq = seq;
	scratch->event.check = number;
	for (__u32 at = 0; at < WORDS; at++) {
		if (at >= words)
			break;
		scratch->words[at] = number + at;
	}
	/* The last one is cut: lengths that are no multiple of 8 as well. */
	size = sizeof(scratch->event) + words * 8;
	if (words)
		size -= seq % 8;
	if (size <= sizeof(*scratch) && atlas_ring_output(events, scratch, size))
		args->lost++;
	return 0;
}

SEC("syscall") int produce(struct args *ctx)
{
	struct args args = *ctx;

	args.lost = 0;
	bpf_loop(args.count, produce_one, &args, 0);
	ctx->lost = args.lost;
	return 0;
}
