// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Files opened: arguments kept between entry and exit, events by a plain ring. */
#include "vmlinux.h"
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

typedef __u32 uid_t_;

struct args_t {
	const char *fname;
	int flags;
};

struct event {
	__u64 ts; /* first, as user space sorts by it */
	union {
		pid_t pid;
		__u32 type;
	};
	uid_t_ uid;
	int ret;
	int flags;
	enum {
		OPENED,
		FAILED = -1
	} outcome;
	char comm[16];
	char fname[255];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct args_t);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

/* Which clang keeps in BTF only where something uses it. */
const struct event *unused_event __attribute__((unused));

SEC("syscall")
int play(void *ctx)
{
	struct args_t args = { .fname = (void *)0x1000, .flags = 0x241 };
	__u32 pid = 7;
	struct event *event;

	if (bpf_map_update_elem(&start, &pid, &args, 0))
		return 1;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 1;
	__builtin_memset(event, 0, sizeof(*event));
	event->pid = pid;
	event->uid = 1000;
	event->ret = -2;
	event->flags = args.flags;
	event->outcome = FAILED;
	__builtin_memcpy(event->comm, "cat", 4);
	__builtin_memcpy(event->fname, "/etc/none", 10);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
