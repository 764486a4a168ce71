// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Packets and bytes received by an Ethernet interface, by protocol.
 *
 * Every frame lands in exactly one slot of `protocols`:
 *
 *	  0..255	IPv4, by protocol
 *	256..511	IPv6, by the protocol that its extension headers lead to
 *	512		no IP: ARP, LLDP, 802.3, ...
 *	513		malformed: cut off inside a header, wrong version or header
 *			length, more than 8 extension headers or 2 VLAN tags
 *
 * VLAN tags are stepped over. Each fragment counts under the protocol of its
 * datagram; a later fragment of IPv6 names the first header of the fragmented
 * part, which may be an extension header. Bytes are whole frames, Ethernet
 * header included. Every frame is passed on, whatever it holds.
 *
 * `packets` attaches anywhere; `packets_frags` to devices whose frames span
 * several buffers as well (jumbo MTU; Linux 5.18). Load one of them.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "bpf_atlas.h"
#include "frame.h"

#define IPV4_HEADER	20
#define IPV6_HEADER	40
#define IPV6_EXTENSIONS 8

enum extension {
	EXT_HOP_BY_HOP = 0,
	EXT_ROUTING = 43,
	EXT_FRAGMENT = 44,
	EXT_AUTHENTICATION = 51,
	EXT_DESTINATION = 60,
	EXT_MOBILITY = 135,
	EXT_HIP = 139,
	EXT_SHIM6 = 140,
};

enum slot {
	SLOT_IPV4 = 0,
	SLOT_IPV6 = 256,
	SLOT_OTHER = 512,
	SLOT_MALFORMED = 513,
	SLOTS = 514,
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct traffic);
} protocols SEC(".maps");

static __always_inline __u32 ipv4_slot(struct frame *f)
{
	__u8 version_and_words, protocol;
	__u32 len;

	if (!peek(f, 0, &version_and_words, 1) || !peek(f, 9, &protocol, 1))
		return SLOT_MALFORMED;
	len = (version_and_words & 0xf) * 4;
	if (version_and_words >> 4 != 4 || len < IPV4_HEADER || f->at + len > f->len)
		return SLOT_MALFORMED;
	return SLOT_IPV4 + protocol;
}

static __always_inline __u32 ipv6_slot(struct frame *f)
{
	struct {
		__u8 next;
		__u8 units;
		__be16 offset;
	} ext;
	__u8 version, next;

	if (!peek(f, 0, &version, 1) || !peek(f, 6, &next, 1) || version >> 4 != 6)
		return SLOT_MALFORMED;
	f->at += IPV6_HEADER;
	if (f->at > f->len)
		return SLOT_MALFORMED;

	for (int i = 0; i <= IPV6_EXTENSIONS; i++) {
		__u32 unit = 8, extra = 1;

		switch (next) {
		case EXT_HOP_BY_HOP:
		case EXT_ROUTING:
		case EXT_DESTINATION:
		case EXT_MOBILITY:
		case EXT_HIP:
		case EXT_SHIM6:
		case EXT_FRAGMENT:
			break;
		case EXT_AUTHENTICATION:
			unit = 4;
			extra = 2;
			break;
		default:
			return SLOT_IPV6 + next;
		}
		if (!peek(f, 0, &ext, sizeof(ext)))
			return SLOT_MALFORMED;
		if (next == EXT_FRAGMENT) {
			f->at += 8;
			if (ext.offset & bpf_htons(0xfff8))
				return f->at > f->len ? SLOT_MALFORMED : SLOT_IPV6 + ext.next;
		} else {
			f->at += (ext.units + extra) * unit;
		}
		if (f->at > f->len)
			return SLOT_MALFORMED;
		next = ext.next;
	}
	return SLOT_MALFORMED;
}

static __always_inline __u32 slot_of(struct frame *f)
{
	__be16 type;

	if (!open_frame(f, &type))
		return SLOT_MALFORMED;
	if (type == bpf_htons(ETHERTYPE_IPV4))
		return ipv4_slot(f);
	if (type == bpf_htons(ETHERTYPE_IPV6))
		return ipv6_slot(f);
	return is_vlan(type) ? SLOT_MALFORMED : SLOT_OTHER;
}

static __always_inline int on_frame(struct xdp_md *ctx, __u32 len, bool frags)
{
	struct frame frame = { .ctx = ctx, .len = len, .frags = frags };
	__u32 slot = slot_of(&frame);
	struct traffic *traffic = bpf_map_lookup_elem(&protocols, &slot);

	if (traffic) {
		add(&traffic->packets, 1);
		add(&traffic->bytes, len);
	}
	return XDP_PASS;
}

SEC("xdp")
int packets(struct xdp_md *ctx)
{
	return on_frame(ctx, ctx->data_end - ctx->data, false);
}

SEC("xdp.frags")
int packets_frags(struct xdp_md *ctx)
{
	return on_frame(ctx, bpf_xdp_get_buff_len(ctx), true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
