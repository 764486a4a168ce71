/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#include "vmlinux.h"
#include "bpf_atlas.h"

SEC("syscall")
int answer(void *ctx)
{
	return 42;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
