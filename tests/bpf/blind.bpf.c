/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The same events counted by each kind of tracepoint program. */
#include "test.h"

/* Words of `control` beside those of test.h. */
enum {
	THREAD = 8, /* system calls of this thread only */
};

enum {
	RAW_TP,
	TP_BTF,
	TP,
	KINDS,
};

#define EVENTS(name)                               \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__uint(max_entries, KINDS);        \
		__type(key, __u32);                \
		__type(value, __u64);              \
	} name SEC(".maps")

EVENTS(timers);
EVENTS(calls);

static __always_inline int count(void *events, __u32 kind)
{
	__u64 *value = bpf_map_lookup_elem(events, &kind);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}

static __always_inline int call(__u32 kind)
{
	__u64 *thread = control_word(THREAD);

	if (!thread || *thread != (__u32)bpf_get_current_pid_tgid())
		return 0;
	return count(&calls, kind);
}

SEC("raw_tp/hrtimer_expire_entry") int timer_raw_tp(void *ctx)
{
	return count(&timers, RAW_TP);
}

SEC("tp_btf/hrtimer_expire_entry") int timer_tp_btf(void *ctx)
{
	return count(&timers, TP_BTF);
}

SEC("tp/timer/hrtimer_expire_entry") int timer_tp(void *ctx)
{
	return count(&timers, TP);
}

SEC("raw_tp/sys_enter") int call_raw_tp(void *ctx)
{
	return call(RAW_TP);
}

SEC("tp_btf/sys_enter") int call_tp_btf(void *ctx)
{
	return call(TP_BTF);
}

SEC("tp/raw_syscalls/sys_enter") int call_tp(void *ctx)
{
	return call(TP);
}
