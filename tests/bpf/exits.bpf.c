/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the kernel needs to run any program at the exit of a task: for comparison. */
#include "test.h"

SEC("tp_btf/sched_process_exit")
int nothing_btf(void *ctx)
{
	return 0;
}

SEC("tp/sched/sched_process_exit")
int nothing_tp(void *ctx)
{
	return 0;
}
