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
#include "frame.h"

#define IPV4_HEADER 20
#define IPV4_SOURCE 12
#define IPV6_HEADER 40
#define IPV6_SOURCE 8

struct peer {
	__u32 family;  /* 4 or 6 */
	__u8 addr[16]; /* network order; an IPv4 address in the first 4 bytes, the rest zero */
};

struct peer_stat {
	__u64 packets;
	__u64 bytes;
	__u64 first_ns; /* since boot, as of a tick */
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

/* To read a clock costs as much as all the rest: each CPU does it once a tick. */
struct clock {
	__u64 jiffies; /* of the reading */
	__u64 now_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock);
} clock SEC(".maps");

/* Why `peers` refused. */
ATLAS_HEALTH(health);

/*
 * As peek(), of an address. Byte by byte, as clang copies what may lie anywhere, it is
 * slow to be read again in words. Network headers are aligned to 4 bytes, behind tags too.
 */
static __always_inline bool peek_address(const struct frame *f, __u32 skip, __u8 *to, __u32 len)
{
	void *from = (void *)(long)f->ctx->data + f->at + skip;

	if (from + len <= (void *)(long)f->ctx->data_end) {
		__builtin_memcpy(__builtin_assume_aligned(to, 4), __builtin_assume_aligned(from, 4),
				 len);
		return true;
	}
	return f->frags && !bpf_xdp_load_bytes(f->ctx, f->at + skip, to, len);
}

/* Since boot, as of this tick: early by 10 ms at most, by 1 to 4 mostly. */
static __always_inline __u64 now_ns(void)
{
	__u32 zero = 0;
	struct clock *read = bpf_map_lookup_elem(&clock, &zero);
	__u64 jiffies = bpf_jiffies64();

	if (!read || preemptible)
		return bpf_ktime_get_boot_ns();
	if (read->jiffies != jiffies) {
		read->now_ns = bpf_ktime_get_boot_ns();
		read->jiffies = jiffies;
	}
	return read->now_ns;
}

/* The source address; false where the frame has none, or not all of its IP header. */
static __always_inline bool source_of(struct frame *f, struct peer *peer)
{
	__u8 version;
	__be16 type;

	if (!open_frame(f, &type) || !peek(f, 0, &version, 1))
		return false;
	version >>= 4;
	peer->family = version;
	if (type == bpf_htons(ETHERTYPE_IPV4) && version == 4 && f->at + IPV4_HEADER <= f->len)
		return peek_address(f, IPV4_SOURCE, peer->addr, 4);
	if (type == bpf_htons(ETHERTYPE_IPV6) && version == 6 && f->at + IPV6_HEADER <= f->len)
		return peek_address(f, IPV6_SOURCE, peer->addr, 16);
	return false;
}

static __always_inline int on_frame(struct xdp_md *ctx, __u32 len, bool frags)
{
	struct frame frame = { .ctx = ctx, .len = len, .frags = frags };
	struct peer peer = {};
	struct peer_stat init = {}, *stat;
	struct peer_totals *total;
	__u32 zero = 0;

	total = bpf_map_lookup_elem(&totals, &zero);
	if (!total)
		return XDP_PASS;
	if (!source_of(&frame, &peer)) {
		add(&total->other_packets, 1);
		add(&total->other_bytes, len);
		return XDP_PASS;
	}
	add(&total->packets, 1);
	add(&total->bytes, len);

	init.first_ns = init.last_ns = now_ns();
	stat = atlas_lookup_or_init(&peers, &peer, &init, &health);
	if (!stat) {
		add(&total->refused_packets, 1);
		add(&total->refused_bytes, len);
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
