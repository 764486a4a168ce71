// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The addresses that sent to an Ethernet interface of late, with packets, bytes,
 * first and last seen.
 *
 * `peers` is an LRU map: full, it makes room by dropping peers not heard of for
 * long, and not exactly the longest. `totals` counts what every frame brought,
 * so the loss is known: evicted = totals - refused (health) - held by `peers`.
 *
 * An IPv6 peer is the source address of the fixed header; VLAN tags are stepped
 * over; bytes are whole frames, Ethernet header included. Every frame is passed
 * on. `recent_ips` attaches anywhere; `recent_ips_frags` to devices whose frames
 * span several buffers as well (jumbo MTU; Linux 5.18). Load one of them.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "bpf_atlas.h"

#define ETH_HEADER  14
#define VLAN_TAG    4
#define VLAN_TAGS   2
#define IPV4_HEADER 20
#define IPV4_SOURCE 12
#define IPV6_HEADER 40
#define IPV6_SOURCE 8

enum ethertype {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_8021Q = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_8021AD = 0x88a8,
};

struct peer {
	__u32 family;  /* 4 or 6 */
	__u8 addr[16]; /* network order; an IPv4 address in the first 4 bytes, the rest zero */
};

struct peer_stat {
	__u64 packets;
	__u64 bytes;
	__u64 first_ns; /* since boot */
	__u64 last_ns;
};

/* Per-CPU totals that only grow. */
struct peer_totals {
	__u64 packets; /* that had a source address */
	__u64 bytes;
	__u64 other_packets; /* no IP, or cut off */
	__u64 other_bytes;
	__u64 refused_packets; /* had an address, but `peers` took no element for it */
	__u64 refused_bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10240);
	__type(key, struct peer);
	__type(value, struct peer_stat);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct peer_totals);
} totals SEC(".maps");

/* Why `peers` refused. */
ATLAS_HEALTH(health);

/* `len` bytes, a constant, at `at`; false where the frame ends first. */
static __always_inline bool peek(struct xdp_md *ctx, __u32 at, void *to, __u32 len, bool frags)
{
	void *from = (void *)(long)ctx->data + at;

	if (from + len <= (void *)(long)ctx->data_end) {
		__builtin_memcpy(to, from, len);
		return true;
	}
	/* A driver may leave a header to the second buffer. */
	return frags && !bpf_xdp_load_bytes(ctx, at, to, len);
}

/* The source address; false where the frame has none, or not all of its IP header. */
static __always_inline bool source_of(struct xdp_md *ctx, __u32 len, bool frags, struct peer *peer)
{
	__u32 at = ETH_HEADER;
	__u8 version;
	__be16 type;

	if (!peek(ctx, at - sizeof(type), &type, sizeof(type), frags))
		return false;
	for (int i = 0; i < VLAN_TAGS; i++) {
		if (type != bpf_htons(ETHERTYPE_8021Q) && type != bpf_htons(ETHERTYPE_8021AD))
			break;
		at += VLAN_TAG;
		if (!peek(ctx, at - sizeof(type), &type, sizeof(type), frags))
			return false;
	}
	if (!peek(ctx, at, &version, 1, frags))
		return false;
	version >>= 4;
	peer->family = version;
	if (type == bpf_htons(ETHERTYPE_IPV4) && version == 4 && at + IPV4_HEADER <= len)
		return peek(ctx, at + IPV4_SOURCE, peer->addr, 4, frags);
	if (type == bpf_htons(ETHERTYPE_IPV6) && version == 6 && at + IPV6_HEADER <= len)
		return peek(ctx, at + IPV6_SOURCE, peer->addr, 16, frags);
	return false;
}

static __always_inline int on_frame(struct xdp_md *ctx, __u32 len, bool frags)
{
	struct peer peer = {};
	struct peer_stat init = {}, *stat;
	struct peer_totals *total;
	__u32 zero = 0;

	total = bpf_map_lookup_elem(&totals, &zero);
	if (!total)
		return XDP_PASS;
	if (!source_of(ctx, len, frags, &peer)) {
		__sync_fetch_and_add(&total->other_packets, 1);
		__sync_fetch_and_add(&total->other_bytes, len);
		return XDP_PASS;
	}
	__sync_fetch_and_add(&total->packets, 1);
	__sync_fetch_and_add(&total->bytes, len);

	init.first_ns = init.last_ns = bpf_ktime_get_boot_ns();
	stat = atlas_lookup_or_init(&peers, &peer, &init, &health);
	if (!stat) {
		__sync_fetch_and_add(&total->refused_packets, 1);
		__sync_fetch_and_add(&total->refused_bytes, len);
		return XDP_PASS;
	}
	__sync_fetch_and_add(&stat->packets, 1);
	__sync_fetch_and_add(&stat->bytes, len);
	/* Two CPUs may race here by the time of a packet, but never below the first. */
	if (stat->last_ns < init.last_ns)
		stat->last_ns = init.last_ns;
	return XDP_PASS;
}

SEC("xdp")
int recent_ips(struct xdp_md *ctx)
{
	return on_frame(ctx, ctx->data_end - ctx->data, false);
}

SEC("xdp.frags")
int recent_ips_frags(struct xdp_md *ctx)
{
	return on_frame(ctx, bpf_xdp_get_buff_len(ctx), true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
