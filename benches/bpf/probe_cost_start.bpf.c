/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The plainest program that counts by process: how soon can one start? */
#include "vmlinux.h"
#include <bpf/bpf_tracing.h>
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

ATLAS_HEALTH(health);

SEC("tp_btf/sys_enter") int BPF_PROG(hash_tp_btf, struct pt_regs *regs, long nr)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	atlas_count(&shared, &tgid, 1, &health);
	return 0;
}
