// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Drops TCP segments at an interface, as many as the test says, and counts them. */
#include "test.h"
#include <bpf/bpf_endian.h>

#define ETH_HEADER 14
#define IPV4	   0x0800
#define IPV6	   0x86dd
#define TCP	   6
#define FIN	   1
#define SYN	   2

/* What each word of `control` is for, also in the tests. */
enum {
	PORT = 0,    /* only what is sent to this port */
	WHAT = 1,    /* SEGMENTS or SYNS */
	AFTER = 2,   /* let so many pass first */
	ONE_IN = 3,  /* then drop one in so many, beginning with the next */
	LIMIT = 4,   /* until so many are dropped */
	SEEN = 5,    /* so many came */
	DROPPED = 6, /* so many were dropped */
	FOR_NS = 7,  /* nor later than so long after the first; 0: whenever */
	FIRST = 8,   /* when that was */
};

enum {
	SEGMENTS = 0, /* with payload or FIN */
	SYNS = 1,
};

static __always_inline bool load(struct xdp_md *ctx, __u32 at, void *to, __u32 len)
{
	void *from = (void *)(long)ctx->data + at;

	if (at > 256 || from + len > (void *)(long)ctx->data_end)
		return false;
	__builtin_memcpy(to, from, len);
	return true;
}

static __always_inline __u64 word(__u32 index)
{
	__u64 *word = control_word(index);

	return word ? *(volatile __u64 *)word : 0;
}

/* Whether the segment is one of those that the test is about. */
static __always_inline bool is_meant(struct xdp_md *ctx)
{
	__u32 at = ETH_HEADER, len;
	__u8 first, protocol, tcp[14];
	__be16 type, size;

	if (!load(ctx, ETH_HEADER - 2, &type, sizeof(type)) || !load(ctx, at, &first, 1))
		return false;
	if (type == bpf_htons(IPV4)) {
		if (!load(ctx, at + 2, &size, 2) || !load(ctx, at + 9, &protocol, 1))
			return false;
		len = bpf_ntohs(size) - 4 * (first & 0xf);
		at += 4 * (first & 0xf);
	} else if (type == bpf_htons(IPV6)) {
		if (!load(ctx, at + 4, &size, 2) || !load(ctx, at + 6, &protocol, 1))
			return false;
		len = bpf_ntohs(size);
		at += 40;
	} else {
		return false;
	}
	if (protocol != TCP || !load(ctx, at, tcp, sizeof(tcp)))
		return false;
	if ((tcp[2] << 8 | tcp[3]) != word(PORT))
		return false;
	if (word(WHAT) == SYNS)
		return tcp[13] & SYN;
	return !(tcp[13] & SYN) && (len > 4 * (tcp[12] >> 4) || tcp[13] & FIN);
}

SEC("xdp")
int drop_tcp(struct xdp_md *ctx)
{
	__u64 *seen = control_word(SEEN), *dropped = control_word(DROPPED);
	__u64 one_in = word(ONE_IN), after = word(AFTER), number;

	if (!seen || !dropped || !is_meant(ctx))
		return XDP_PASS;
	number = __sync_fetch_and_add(seen, 1);
	if (!one_in || number < after || (number - after) % one_in || *dropped >= word(LIMIT))
		return XDP_PASS;
	if (word(FOR_NS)) {
		__u64 now = bpf_ktime_get_ns(), *first = control_word(FIRST);

		if (!first)
			return XDP_PASS;
		if (!*first)
			*first = now;
		if (now - *first > word(FOR_NS))
			return XDP_PASS;
	}
	__sync_fetch_and_add(dropped, 1);
	return XDP_DROP;
}
