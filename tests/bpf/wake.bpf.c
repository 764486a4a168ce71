/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Streams of records whose reader says when to wake it. */
#include "test.h"

struct timed {
	__u64 time_ns; /* of CLOCK_MONOTONIC, before the submission */
	__u32 producer;
	__u32 seq;
};

ATLAS_RING(events, 1 << 16, struct timed);

struct args {
	__u64 producer;
	__u64 first;
	__u64 count;
	__u64 gap_ns; /* between two records */
	__u64 lost;
	__u64 by_output; /* by atlas_ring_output, without a reservation */
	__u64 woken;	 /* how often this program was to wake the reader */
	__u64 until;	 /* of bpf_ktime_get_ns, of a producer that goes on and on */
};

static long pause_once(__u64 i, __u64 *until)
{
	return bpf_ktime_get_ns() >= *until;
}

static long stream_one(__u64 i, struct args *args)
{
	__u64 until = bpf_ktime_get_ns() + args->gap_ns;
	struct timed local = {};
	struct timed *record;

	if (args->by_output) {
		local.time_ns = bpf_ktime_get_ns();
		local.producer = args->producer;
		local.seq = args->first + i;
		if (atlas_ring_output(events, &local, sizeof(local)))
			args->lost++;
	} else {
		record = atlas_ring_reserve(events);
		if (record) {
			__u64 flags;

			record->producer = args->producer;
			record->seq = args->first + i;
			record->time_ns = bpf_ktime_get_ns();
			/* As atlas_ring_submit does, but counted. */
			flags = __atlas_ring_wake(&events, &events_wake);
			if (flags == BPF_RB_FORCE_WAKEUP)
				args->woken++;
			atlas_ring_submit_flags(events, record, flags);
		} else {
			args->lost++;
		}
	}
	if (args->gap_ns && i + 1 < args->count)
		bpf_loop(1 << 20, pause_once, &until, 0);
	return 0;
}

SEC("syscall") int stream(struct args *ctx)
{
	struct args args = *ctx;

	bpf_loop(args.count, stream_one, &args, 0);
	ctx->lost = args.lost;
	ctx->woken = args.woken;
	return 0;
}
