/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Takes what user space sends. */
#include "test.h"

struct rule {
	__u64 seq;
	__u64 check;
};

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 1 << 16);
} rules SEC(".maps");

struct args {
	__u64 next; /* the number that is expected */
	__u64 taken;
	__u64 wrong;	  /* out of order, or not whole */
	__u64 tail_bytes; /* behind the rules, all of the value of their number's low byte */
	__u64 most;	  /* how many to take; 0: all */
	__u64 result;
};

static long take(struct bpf_dynptr *sample, struct args *args)
{
	struct rule rule = {};
	__u32 at = sizeof(rule);
	__u8 byte;

	if (bpf_dynptr_read(&rule, sizeof(rule), sample, 0, 0)) {
		args->wrong++;
		return 0;
	}
	if (rule.seq != args->next || rule.check != rule.seq * 0x9e3779b97f4a7c15ULL)
		args->wrong++;
	args->next = rule.seq + 1;
	args->taken++;
	for (int i = 0; i < 600; i++) {
		if (bpf_dynptr_read(&byte, 1, sample, at + i, 0))
			break;
		if (byte != (__u8)rule.seq)
			args->wrong++;
		args->tail_bytes++;
	}
	return args->most && args->taken >= args->most;
}

SEC("syscall") int take_all(struct args *ctx)
{
	struct args args = *ctx;

	args.taken = 0;
	args.result = bpf_user_ringbuf_drain(&rules, take, &args, 0);
	*ctx = args;
	return 0;
}
