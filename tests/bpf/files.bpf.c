/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A ring of two types of event. */
#include "test.h"

enum {
	OPENED = 1,
	CLOSED = 7
};

struct opened {
	__u32 kind;
	__s32 fd;
};

struct closed {
	__u32 kind;
	__s32 fd;
	__u64 took_ns;
};

ATLAS_RING_OF(events, 4096, ATLAS_EVENT(OPENED, struct opened) ATLAS_EVENT(CLOSED, struct closed));

SEC("syscall") int open_and_close(__u64 *fd)
{
	struct opened *opened = atlas_event_reserve(events, OPENED);
	struct closed *closed;

	if (opened) {
		opened->fd = *fd;
		atlas_ring_submit(events, opened);
	}
	closed = atlas_event_reserve(events, CLOSED);
	if (closed) {
		closed->fd = *fd;
		closed->took_ns = bpf_ktime_get_ns();
		atlas_ring_submit(events, closed);
	}
	return 0;
}
