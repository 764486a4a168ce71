/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* System calls by process, counted in the plainest way: what a cleverer one is compared with. */
#include "vmlinux.h"
#include <bpf/bpf_tracing.h>
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct process {
	__u64 pid;
	__u64 start_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct process);
	__type(value, __u64);
} calls SEC(".maps");

ATLAS_HEALTH(health);

SEC("tp_btf/sys_enter")
int BPF_PROG(count, struct pt_regs *regs, long nr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct process process = { .pid = task->tgid };

	process.start_ns = task->group_leader->start_boottime;
	atlas_count(&calls, &process, 1, &health);
	return 0;
}
