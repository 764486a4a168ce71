/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * An Ethernet frame as XDP programs of the probes read it, up to what its VLAN
 * tags hold. Include after vmlinux.h.
 */
#ifndef __FRAME_H
#define __FRAME_H

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define ETH_HEADER 14
#define VLAN_TAG   4
#define VLAN_TAGS  2

enum ethertype {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_8021Q = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_8021AD = 0x88a8,
};

/*
 * Whether this program can be interrupted, on its CPU, by another run of itself:
 * on a real-time kernel, where softirqs are preempted. Elsewhere no second softirq
 * begins on a CPU before the first is over, and interrupts run no XDP.
 */
const volatile __u8 preemptible = 0;

/* Adds to a total of this CPU. */
static __always_inline void add(__u64 *total, __u64 n)
{
	if (preemptible)
		__sync_fetch_and_add(total, n);
	else
		*total += n;
}

/* A frame and how far it has been read. `frags` is a constant of each program. */
struct frame {
	struct xdp_md *ctx;
	__u32 len;
	__u32 at;
	bool frags;
};

/* `len` bytes, a constant, at `f->at + skip`; false where the frame ends first. */
static __always_inline bool peek(const struct frame *f, __u32 skip, void *to, __u32 len)
{
	void *from = (void *)(long)f->ctx->data + f->at + skip;

	if (from + len <= (void *)(long)f->ctx->data_end) {
		__builtin_memcpy(to, from, len);
		return true;
	}
	/* A driver may leave a header to the second buffer. */
	return f->frags && !bpf_xdp_load_bytes(f->ctx, f->at + skip, to, len);
}

static __always_inline bool is_vlan(__be16 type)
{
	return type == bpf_htons(ETHERTYPE_8021Q) || type == bpf_htons(ETHERTYPE_8021AD);
}

/*
 * Goes on to what the frame holds, and says what that is: a VLAN tag where
 * there are more than VLAN_TAGS. False where the frame ends first.
 */
static __always_inline bool open_frame(struct frame *f, __be16 *type)
{
	if (!peek(f, ETH_HEADER - sizeof(*type), type, sizeof(*type)))
		return false;
	f->at = ETH_HEADER;
	for (int i = 0; i < VLAN_TAGS && is_vlan(*type); i++) {
		if (!peek(f, VLAN_TAG - sizeof(*type), type, sizeof(*type)))
			return false;
		f->at += VLAN_TAG;
	}
	return true;
}

#endif /* __FRAME_H */
