// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Counts the TCP segments that one network namespace sends again, with no ring
 * and no other filter: what a program at these tracepoints can see at all.
 */
#include "test.h"
#include <bpf/bpf_core_read.h>

/* What each word of `control` is for, also in the tests. */
enum {
	NETNS = 0, /* inode number */
	SEGS = 1,
};

#define HAS_ERR bpf_core_field_exists(struct trace_event_raw_tcp_retransmit_skb, err)

/* By plain loads, where the probe calls a helper. */
static __always_inline void count(const struct sock_common *end, __u64 segs)
{
	__u64 *netns = control_word(NETNS);

	if (netns && end->skc_net.net->ns.inum == *netns)
		control_add(SEGS, segs);
}

SEC("tp_btf/tcp_retransmit_skb")
int segments(__u64 *ctx)
{
	const struct sock *sk = (void *)ctx[0];
	const struct sk_buff *skb = (void *)ctx[1];
	const struct tcp_skb_cb *cb = (const void *)&skb->cb;

	if (!HAS_ERR || !(int)ctx[2])
		count(&sk->__sk_common, BPF_CORE_READ(cb, tcp_gso_segs));
	return 0;
}

SEC("tp_btf/tcp_retransmit_synack")
int synack(__u64 *ctx)
{
	const struct request_sock *req = (void *)ctx[1];

	count(&req->__req_common, 1);
	return 0;
}
