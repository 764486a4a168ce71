/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The producers of benches/ring.rs: run by BPF_PROG_RUN, with a context that they answer in. */
#include "vmlinux.h"
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ODD 0x9e3779b97f4a7c15ULL

struct run {
	__u64 first; /* the number of the first record */
	__u64 count;
	__u64 flags; /* of the submission, where the program looks at no word */
	__u64 lost;  /* how many found no room */
	__u64 sum;   /* of the checks of those that did */
	__u64 ns;    /* how long all of it took */
};

/* Filled while nobody reads, then drained. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} records SEC(".maps");

#define FILL(words)                                                          \
	static long fill_one_##words(__u64 i, struct run *run)               \
	{                                                                    \
		__u64 *record = bpf_ringbuf_reserve(&records, (words)*8, 0); \
                                                                             \
		if (!record) {                                               \
			run->lost++;                                         \
			return 0;                                            \
		}                                                            \
		for (__u64 at = 0; at < (words); at++)                       \
			record[at] = (run->first + i) * ODD + at;            \
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);                \
		return 0;                                                    \
	}                                                                    \
                                                                             \
	SEC("syscall") int fill_##words(struct run *ctx)                     \
	{                                                                    \
		struct run run = *ctx;                                       \
                                                                             \
		bpf_loop(run.count, fill_one_##words, &run, 0);              \
		*ctx = run;                                                  \
		return 0;                                                    \
	}

FILL(3)
FILL(32)
FILL(256)

/* Read while they come. */
struct event {
	__u64 ns; /* when it was made */
	__u64 seq;
	__u64 check;
};

/* 100 ms of what one CPU can submit, so that a reader that others keep off its CPU loses nothing.
 */
ATLAS_RING(events, 1 << 22, struct event);

static __always_inline bool stamp(struct event *event, struct run *run, __u64 seq)
{
	if (!event) {
		run->lost++;
		return false;
	}
	event->ns = bpf_ktime_get_ns();
	event->seq = seq;
	event->check = seq * ODD;
	run->sum += event->check;
	return true;
}

static long plain_one(__u64 i, struct run *run)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (stamp(event, run, run->first + i))
		bpf_ringbuf_submit(event, run->flags);
	return 0;
}

static long counted_one(__u64 i, struct run *run)
{
	struct event *event = atlas_ring_reserve(events);

	if (stamp(event, run, run->first + i))
		atlas_ring_submit_flags(events, event, run->flags);
	return 0;
}

static long atlas_one(__u64 i, struct run *run)
{
	struct event *event = atlas_ring_reserve(events);

	if (stamp(event, run, run->first + i))
		atlas_ring_submit(events, event);
	return 0;
}

/* What a program does by itself; with what bpf_atlas.h counts; and with the reader's wishes. */
#define PRODUCE(name)                                             \
	SEC("syscall") int name(struct run *ctx)                  \
	{                                                         \
		__u64 start = bpf_ktime_get_ns();                 \
		struct run run = *ctx;                            \
                                                                  \
		if (run.count == 1)                               \
			name##_one(0, &run);                      \
		else                                              \
			bpf_loop(run.count, name##_one, &run, 0); \
		run.ns = bpf_ktime_get_ns() - start;              \
		*ctx = run;                                       \
		return 0;                                         \
	}

PRODUCE(plain)
PRODUCE(counted)
PRODUCE(atlas)
