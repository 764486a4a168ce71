// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * TCP segments that are sent again, one event each or counted by flow.
 *
 * Two tracepoints see all that the kernel counts as TcpRetransSegs: that of
 * segments of a socket (data, SYN, FIN, loss probes), and that of SYN-ACKs,
 * which a listener sends before there is a socket.
 *
 * The first counts as many segments as the buffer holds. Since Linux 6.17 it
 * also fires where sending failed. What failed after it was handed down is in
 * TcpRetransSegs and in TCPRetransFail, what failed before in neither; so on
 * every kernel
 *
 *	segments of events without an error = TcpRetransSegs - TCPRetransFail
 *
 * It is a timer or an arriving packet that sends again, in the context of
 * whichever task it interrupted: that task's PID means nothing. Only while a
 * process is inside a system call on the socket, which then is locked by it
 * ("owned"), does the kernel leave the sending to this very process.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "bpf_atlas.h"

#define AF_INET		     2
#define AF_INET6	     10
#define ICSK_TIME_LOSS_PROBE 5
#define TCP_CA_RECOVERY	     3

/* Set before the program is loaded. */
const volatile __u32 only_family = 0; /* 4, 6, or 0 for both */
const volatile __u32 only_netns = 0;  /* 0 for all */
const volatile __u16 only_port = 0;   /* at either end; 0 for all */
const volatile __u8 with_failed = 0;
const volatile __u8 by_flow = 0; /* count in `flows` and send no events */

enum tcp_state {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_TIME_WAIT = 6,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
	TCP_NEW_SYN_RECV = 12,
};

struct tcp_flow {
	__u8 laddr[16]; /* network order; an IPv4 address in the first 4 bytes, the rest zero */
	__u8 raddr[16];
	__u16 lport;
	__u16 rport;
	__u32 family; /* 4 or 6 */
	__u32 netns;  /* inode number */
};

struct tcp_retransmit_event {
	__u64 time_ns; /* since boot */
	struct tcp_flow flow;
	enum tcp_state state;
	__u16 segs;
	__u16 loss_probe; /* 1 where it was sent to find out whether it was lost */
	__u32 bytes;	  /* of payload */
	__u32 seq;
	__s32 err; /* 0, -errno, or 1: dropped by the queue of the interface */
	__u32 pid; /* 0 where it is not known */
	__u32 uid; /* whose socket it is */
};

struct tcp_flow_stat {
	__u64 retransmits;
	__u64 segs;
	__u64 bytes;
	__u64 loss_probes; /* of the retransmits */
	__u64 failed;	   /* attempts, not in the above */
	__u64 first_ns;
	__u64 last_ns;
};

ATLAS_RING(events, 1 << 18, struct tcp_retransmit_event);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct tcp_flow);
	__type(value, struct tcp_flow_stat);
} flows SEC(".maps");

ATLAS_HEALTH(health);

static __always_inline bool is_v4_mapped(const struct sock_common *end)
{
	__be32 addr[4];

	BPF_CORE_READ_INTO(&addr, end, skc_v6_daddr.in6_u.u6_addr32);
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff);
}

/*
 * The two ends; false where there is no IP. A socket of IPv6 that talks IPv4
 * has its addresses in both forms, and counts as IPv4.
 */
static __always_inline bool flow_of(const struct sock_common *end, struct tcp_flow *flow)
{
	__u16 family = BPF_CORE_READ(end, skc_family);

	flow->lport = BPF_CORE_READ(end, skc_num);
	flow->rport = bpf_ntohs(BPF_CORE_READ(end, skc_dport));
	if (bpf_core_field_exists(end->skc_net.net))
		flow->netns = BPF_CORE_READ(end, skc_net.net, ns.inum);
	if (family == AF_INET6 && bpf_core_field_exists(end->skc_v6_daddr) && !is_v4_mapped(end)) {
		flow->family = 6;
		BPF_CORE_READ_INTO(&flow->laddr, end, skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&flow->raddr, end, skc_v6_daddr.in6_u.u6_addr8);
		return true;
	}
	flow->family = 4;
	BPF_CORE_READ_INTO((__be32 *)flow->laddr, end, skc_rcv_saddr);
	BPF_CORE_READ_INTO((__be32 *)flow->raddr, end, skc_daddr);
	return family == AF_INET || family == AF_INET6;
}

static __always_inline bool is_wanted(const struct tcp_flow *flow)
{
	if (only_family && flow->family != only_family)
		return false;
	if (only_netns && flow->netns != only_netns)
		return false;
	return !only_port || flow->lport == only_port || flow->rport == only_port;
}

/* What is sent again. `end` is the half of a socket or of a request that holds the flow. */
struct again {
	const struct sock_common *end;
	const struct sock *sk;
	__u32 seq;
	__u32 segs;
	__u32 bytes;
	int err;
	bool loss_probe;
	bool owned;
};

static __always_inline void count(const struct tcp_flow *flow, const struct again *again)
{
	struct tcp_flow_stat init = {}, *stat;

	init.first_ns = init.last_ns = bpf_ktime_get_boot_ns();
	stat = atlas_lookup_or_init(&flows, flow, &init, &health);
	if (!stat)
		return;
	if (again->err) {
		__sync_fetch_and_add(&stat->failed, 1);
	} else {
		__sync_fetch_and_add(&stat->retransmits, 1);
		__sync_fetch_and_add(&stat->segs, again->segs);
		__sync_fetch_and_add(&stat->bytes, again->bytes);
		if (again->loss_probe)
			__sync_fetch_and_add(&stat->loss_probes, 1);
	}
	/* Two CPUs may race here by the time between two segments, but never below the first. */
	if (stat->last_ns < init.last_ns)
		stat->last_ns = init.last_ns;
}

static __always_inline int on_retransmit(const struct again *again)
{
	/* By themselves: BPF_CORE_READ would take `again` for a struct of the kernel. */
	const struct sock_common *end = again->end;
	const struct sock *sk = again->sk;
	struct tcp_retransmit_event *event;
	struct tcp_flow flow = {};

	if (!flow_of(end, &flow) || !is_wanted(&flow))
		return 0;
	if (by_flow) {
		count(&flow, again);
		return 0;
	}
	event = atlas_ring_reserve(events);
	if (!event)
		return 0;
	event->time_ns = bpf_ktime_get_boot_ns();
	event->flow = flow;
	event->state = BPF_CORE_READ(end, skc_state);
	event->segs = again->segs;
	event->loss_probe = again->loss_probe;
	event->bytes = again->bytes;
	event->seq = again->seq;
	event->err = again->err;
	event->pid = again->owned ? bpf_get_current_pid_tgid() >> 32 : 0;
	event->uid = BPF_CORE_READ(sk, sk_uid.val);
	atlas_ring_submit(events, event);
	return 0;
}

/*
 * Whether a tail loss probe is being sent: its timer is still pending then. It
 * may be pending as well when a recovery begins, whose segments are no probes.
 */
static __always_inline bool is_loss_probe(const struct sock *sk)
{
	const struct inet_connection_sock *icsk = (const void *)sk;

	return BPF_CORE_READ(icsk, icsk_pending) == ICSK_TIME_LOSS_PROBE &&
	       BPF_CORE_READ_BITFIELD_PROBED(icsk, icsk_ca_state) < TCP_CA_RECOVERY;
}

static __always_inline int on_segment(const struct sock *sk, const struct sk_buff *skb, int err)
{
	const struct tcp_skb_cb *cb = (const void *)&skb->cb;
	struct again again = {};

	if (err && !with_failed)
		return 0;
	again.end = &sk->__sk_common;
	again.sk = sk;
	again.seq = BPF_CORE_READ(cb, seq);
	again.segs = BPF_CORE_READ(cb, tcp_gso_segs);
	again.bytes = BPF_CORE_READ(skb, len);
	again.err = err;
	again.loss_probe = is_loss_probe(sk);
	again.owned = BPF_CORE_READ(sk, sk_lock.owned);
	return on_retransmit(&again);
}

static __always_inline int on_synack(const struct sock *sk, const struct request_sock *req)
{
	const struct tcp_request_sock *tcp = (const void *)req;
	struct again again = {};

	again.end = &req->__req_common;
	again.sk = sk;
	again.seq = BPF_CORE_READ(tcp, snt_isn);
	again.segs = 1;
	/* `sk` is the listener: whoever may own it does not send this. */
	return on_retransmit(&again);
}

/* Whether the tracepoint tells of failures, in a third argument. */
#define HAS_ERR bpf_core_field_exists(struct trace_event_raw_tcp_retransmit_skb, err)

SEC("tp_btf/tcp_retransmit_skb")
int retransmit_btf(__u64 *ctx)
{
	return on_segment((void *)ctx[0], (void *)ctx[1], HAS_ERR ? (int)ctx[2] : 0);
}

SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(synack_btf, const struct sock *sk, const struct request_sock *req)
{
	return on_synack(sk, req);
}

SEC("raw_tp/tcp_retransmit_skb")
int retransmit_raw(__u64 *ctx)
{
	return on_segment((void *)ctx[0], (void *)ctx[1], HAS_ERR ? (int)ctx[2] : 0);
}

SEC("raw_tp/tcp_retransmit_synack")
int BPF_PROG(synack_raw, const struct sock *sk, const struct request_sock *req)
{
	return on_synack(sk, req);
}

SEC("tp/tcp/tcp_retransmit_skb")
int retransmit_tp(void *ctx)
{
	struct trace_event_raw_tcp_retransmit_skb *now = ctx;
	struct trace_event_raw_tcp_event_sk_skb *before = ctx;

	if (HAS_ERR)
		return on_segment(now->skaddr, now->skbaddr, now->err);
	return on_segment(before->skaddr, before->skbaddr, 0);
}

SEC("tp/tcp/tcp_retransmit_synack")
int synack_tp(struct trace_event_raw_tcp_retransmit_synack *ctx)
{
	return on_synack(ctx->skaddr, ctx->req);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
