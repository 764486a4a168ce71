/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Producers of ring buffer records, each with a number and a checksum. */
#include "test.h"

struct numbered {
	__u32 producer;
	__u32 seq;
	__u64 number;
	__u64 check;
};

ATLAS_RING(events, 1 << 16, struct numbered);

struct args {
	__u64 producer;
	__u64 first; /* the sequence number of the first record */
	__u64 count;
	__u64 flags; /* of the submission */
	__u64 lost;  /* how many found no room */
};

static __always_inline void number(struct numbered *record, __u32 producer, __u32 seq)
{
	__u64 number = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();

	record->producer = producer;
	record->seq = seq;
	record->number = number;
	record->check = (number ^ ((__u64)producer << 32 | seq)) * 0x9e3779b97f4a7c15ULL;
}

static long produce_one(__u64 i, struct args *args)
{
	struct numbered *record = atlas_ring_reserve(events);

	if (!record) {
		args->lost++;
		return 0;
	}
	number(record, args->producer, args->first + i);
	atlas_ring_submit_flags(events, record, args->flags);
	return 0;
}

SEC("syscall") int produce(struct args *ctx)
{
	struct args args = *ctx;

	bpf_loop(args.count, produce_one, &args, 0);
	ctx->lost = args.lost;
	return 0;
}

/* Submits one record of three, gives the others up. */
static long discard_one(__u64 i, struct args *args)
{
	struct numbered *record = atlas_ring_reserve(events);

	if (!record) {
		args->lost++;
		return 0;
	}
	number(record, args->producer, args->first + i);
	if (i % 3 == 1)
		atlas_ring_submit(events, record);
	else
		atlas_ring_discard(record);
	return 0;
}

SEC("syscall") int discard(struct args *ctx)
{
	struct args args = *ctx;

	bpf_loop(args.count, discard_one, &args, 0);
	ctx->lost = args.lost;
	return 0;
}

#define MOST_TAIL 100

/* `size` bytes, which are a numbered record and a tail of bytes that tell its number. */
struct sized {
	__u64 producer;
	__u64 seq;
	__u64 size;
};

SEC("syscall") int produce_sized(struct sized *args)
{
	struct {
		struct numbered record;
		__u8 tail[MOST_TAIL];
	} event;
	__u64 size = args->size;

	number(&event.record, args->producer, args->seq);
	for (int i = 0; i < MOST_TAIL; i++)
		event.tail[i] = args->seq + i;
	if (size > sizeof(event))
		return -1;
	return atlas_ring_output(events, &event, size);
}

struct hold {
	__u64 producer;
	__u64 seq;
	__u64 ns;      /* how long to wait for `GO` at most */
	__u64 discard; /* whether to give the record up in the end */
};

/* Reserves a record and keeps it busy until user space says. */
SEC("syscall") int hold(struct hold *args)
{
	struct numbered *record = atlas_ring_reserve(events);
	bool told;

	if (!record)
		return -1;
	number(record, args->producer, args->seq);
	control_add(HELD, 1);
	told = control_await(GO, 1, args->ns);
	if (args->discard)
		atlas_ring_discard(record);
	else
		atlas_ring_submit(events, record);
	return told ? 0 : -2;
}
