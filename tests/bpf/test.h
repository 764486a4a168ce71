/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the programs of the tests share. The license of each is declared here. */
#ifndef __TEST_H
#define __TEST_H

#include "vmlinux.h"
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Words that a program and its test talk through: the test maps them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} control SEC(".maps");

/* What each word is for, also in the tests. */
enum {
	ARRIVED = 0, /* how often programs came to a meeting */
	HELD = 1,    /* a program holds what the test is about */
	GO = 2,	     /* the program may go on */
};

static __always_inline __u64 *control_word(__u32 index)
{
	return bpf_map_lookup_elem(&control, &index);
}

static __always_inline void control_add(__u32 index, __u64 n)
{
	__u64 *word = control_word(index);

	if (word)
		__sync_fetch_and_add(word, n);
}

struct awaiting {
	__u64 value;
	__u64 deadline;
	__u32 index;
	__u32 reached;
};

static long await_once(__u64 i, struct awaiting *awaiting)
{
	__u64 *word = control_word(awaiting->index);

	if (word && *(volatile __u64 *)word >= awaiting->value) {
		awaiting->reached = 1;
		return 1;
	}
	return bpf_ktime_get_ns() > awaiting->deadline;
}

/* Spins until the word is `value` or more, for `ns` at most; whether it came to be. */
static __always_inline bool control_await(__u32 index, __u64 value, __u64 ns)
{
	struct awaiting awaiting = { value, bpf_ktime_get_ns() + ns, index, 0 };

	/* A bpf_loop runs 8 million times at most: some 0.2 seconds. */
	for (int i = 0; i < 32 && !awaiting.reached; i++) {
		bpf_loop(1 << 23, await_once, &awaiting, 0);
		if (bpf_ktime_get_ns() > awaiting.deadline)
			break;
	}
	return awaiting.reached;
}

/* Both CPUs leave the meeting together, unless one is late: then without it. */
static __always_inline void meet(__u64 meeting)
{
	control_add(ARRIVED, 1);
	control_await(ARRIVED, 2 * (meeting + 1), 50000);
}

/* An XDP program's arguments, in its packet; NULL never, but the verifier asks. */
#define PACKET(ctx, type)                                                                 \
	({                                                                                \
		type *__packet = (void *)(long)(ctx)->data;                               \
		(void *)(__packet + 1) > (void *)(long)(ctx)->data_end ? NULL : __packet; \
	})

#endif /* __TEST_H */
