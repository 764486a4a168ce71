/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the kernel was configured with. */
#include "vmlinux.h"
#include "bpf_atlas.h"

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern bool CONFIG_NO_SUCH_OPTION __kconfig __weak;
extern enum libbpf_tristate CONFIG_BPF __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[12] __kconfig;
extern unsigned long CONFIG_HZ __kconfig;
extern char CONFIG_INET __kconfig __weak;

struct seen {
	__u64 hz;
	int version;
	enum libbpf_tristate bpf;
	char hostname[12];
	char inet;
	bool syscall;
	bool no_such;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

SEC("syscall")
int look(void *ctx)
{
	__u32 zero = 0, n;
	struct seen *at = bpf_map_lookup_elem(&seen, &zero);

	if (!at)
		return 1;
	at->hz = CONFIG_HZ;
	at->version = LINUX_KERNEL_VERSION;
	at->bpf = CONFIG_BPF;
	for (n = 0; n < sizeof(at->hostname); n++)
		at->hostname[n] = CONFIG_DEFAULT_HOSTNAME[n];
	at->inet = CONFIG_INET;
	at->syscall = CONFIG_BPF_SYSCALL;
	at->no_such = CONFIG_NO_SUCH_OPTION;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
