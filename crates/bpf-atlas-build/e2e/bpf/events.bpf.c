/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Rings of several types of event, and what else may lie in them. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "bpf_atlas.h"

#define BIG 0xfffffffe /* a macro is a tag as well */

enum {
	SMALL = 1,
	NAMED = 2,
	UNKNOWN = 99,
};

struct small {
	__u32 kind;
	__u32 seq;
};

/* `len` bytes of name follow. */
struct named {
	__u32 kind;
	__u32 seq;
	__u64 time_ns;
	__u16 len;
};

struct big {
	struct {
		__u32 kind;
		__u32 seq;
	};
	__u64 words[20];
};

ATLAS_RING_OF(events, 1 << 16,
	      ATLAS_EVENT(SMALL, struct small) ATLAS_EVENT(NAMED, struct named)
		      ATLAS_EVENT(BIG, struct big));

enum link_kind {
	LINK_UP = 0,
	LINK_DOWN = 7,
};

struct link_up {
	enum link_kind kind;
	float speed;
};

typedef struct {
	enum link_kind kind;
	char reason[12];
} link_down;

ATLAS_RING_OF(link_changes, 4096,
	      ATLAS_EVENT(LINK_UP, struct link_up) ATLAS_EVENT(LINK_DOWN, link_down));

__u32 seq;
bool odd; /* unknown tags and short records among them */

struct record {
	struct named event;
	char name[32];
};

static __always_inline void one(__u32 n)
{
	struct record named = {};
	__u32 bad[4] = { UNKNOWN, n, n, n };
	struct small *small;
	struct big *big;

	switch (n % 6) {
	case 0:
	case 1:
		small = atlas_event_reserve(events, SMALL);
		if (!small)
			return;
		small->seq = n;
		atlas_ring_submit(events, small);
		return;
	case 2:
		named.event.seq = n;
		named.event.time_ns = (__u64)n << 32;
		named.event.len = n & 31;
		for (int i = 0; i < 32; i++)
			named.name[i] = 'a' + i % 26;
		atlas_event_output(events, NAMED, &named, sizeof(named.event) + (n & 31));
		return;
	case 3:
		big = atlas_event_reserve(events, BIG);
		if (!big)
			return;
		big->seq = n;
		for (int i = 0; i < 20; i++)
			big->words[i] = n * 100ULL + i;
		atlas_ring_submit(events, big);
		return;
	case 4:
		if (odd) /* no event has the tag */
			atlas_ring_output(events, bad, n % 12 == 4 ? sizeof(bad) : 4);
		return;
	default:
		bad[0] = NAMED;
		if (odd) /* shorter than its event, or than any tag */
			atlas_ring_output(events, bad, n % 12 == 5 ? sizeof(bad) : 3);
		return;
	}
}

SEC("syscall")
int produce(void *ctx)
{
	one(seq++);
	return 0;
}

SEC("syscall")
int change(void *ctx)
{
	struct link_up *up = atlas_event_reserve(link_changes, LINK_UP);
	link_down *down;

	if (!up)
		return -1;
	up->speed = 2.5;
	atlas_ring_submit(link_changes, up);
	down = atlas_event_reserve(link_changes, LINK_DOWN);
	if (!down)
		return -1;
	__builtin_memcpy(down->reason, "unplugged\0\0", 12);
	atlas_ring_submit(link_changes, down);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
