/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every sort of field and variable, each set to a value that the tests know. */
#include "vmlinux.h"
#include "bpf_atlas.h"

enum state {
	STATE_NEW,
	STATE_OLD,
	STATE_AGED = 1,
	STATE_BAD = -1,
};

enum wide {
	WIDE_HIGH = 0x100000000ULL,
	WIDE_LOW = 1,
};

typedef struct {
	__u8 a;
	__u16 b;
} unnamed_t;

typedef __u64 cookie_t;

struct peer {
	__u16 port;
	__be32 address;
};

struct packed {
	__u8 a;
	__u32 b;
	__u64 c;
} __attribute__((packed));

struct lined {
	__u64 a;
} __attribute__((aligned(64)));

struct key {
	__u32 pid;
	__u8 cpu;
	/* a byte of padding */
	__u16 device;
};

struct reference {
	__u64 packets;
	char comm[16];
	bool on;
	enum state state;
	enum wide wide;
	struct peer peers[2];
	struct {
		__u32 low;
		__s8 high;
	} inner;
	struct {
		__u16 first;
		__u16 second;
	};
	union {
		__u32 v4;
		__u8 v6[16];
		struct {
			__u32 lo, hi;
		};
	};
	union {
		__u64 word;
		__s8 byte;
	} either;
	__s32 three : 3, five : 5;
	__u32 many : 24;
	bool flag : 1;
	enum state state_bits : 2;
	struct packed packed;
	unnamed_t unnamed;
	cookie_t cookie;
	struct lined lined;
	__int128 huge;
	__u64 buckets[40];
	pid_t parent;
	char names[2][8];
	__s8 signed_bytes[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct key);
	__type(value, struct reference);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__uint(value_size, 12);
} sized SEC(".maps");

/* libbpf alone refuses a static map. */
static struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, cookie_t);
} hidden SEC(".maps");

/* Its index is signed in C. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, __u64);
} slots SEC(".maps");

struct sums {
	__u64 calls;
	__u64 last_ns;
	__u32 three : 3;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sums);
} totals SEC(".maps");

struct event {
	__u32 pid;
	char comm[16];
};

ATLAS_RING(events, 1 << 16, struct event);

/* The other way to tell a type: libbpf alone would have the kernel refuse it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
	__type(value, struct peer);
} plain_ring SEC(".maps");

const volatile __u32 wanted_pid = 7;
const volatile char label[8] = "abc";
__u64 counter;
__u16 small = 3;
bool enabled = 1;
struct peer last_peer;
struct packed shared[2];
__u64 apart SEC(".bss.apart");

SEC("syscall")
int fill(void *ctx)
{
	static struct reference init;
	static volatile __u64 runs;
	struct peer peer = {};
	struct key key;
	struct reference *r;
	struct event *e;
	struct sums *s;
	__u32 zero = 0, five = 5;
	__u32 bytes[3] = { 6, 7, 8 };
	cookie_t cookie = 99;
	__u64 value;

	atlas_zero(&key);
	key.pid = wanted_pid;
	key.cpu = 2;
	key.device = 3;
	bpf_map_update_elem(&flows, &key, &init, 0);
	r = bpf_map_lookup_elem(&flows, &key);
	if (!r)
		return 1;
	r->packets = 1;
	__builtin_memcpy(r->comm, "hello", 6);
	r->on = 1;
	r->state = STATE_BAD;
	r->wide = WIDE_HIGH;
	r->peers[1].port = 80;
	r->peers[1].address =
		bpf_map_lookup_elem(&sized, &five) ? 0 : __builtin_bswap32(0x7f000001);
	r->inner.low = 5;
	r->inner.high = -5;
	r->first = 11;
	r->second = 12;
	r->v4 = 0x01020304;
	r->either.word = 0xfe;
	r->three = -3;
	r->five = -16;
	r->many = 0xabcdef;
	r->flag = 1;
	r->state_bits = STATE_BAD;
	r->packed.a = 1;
	r->packed.b = 2;
	r->packed.c = 3;
	r->unnamed.b = 9;
	r->cookie = 10;
	r->lined.a = 64;
	r->huge = -2;
	r->buckets[39] = 39;
	r->parent = -1;
	__builtin_memcpy(r->names[1], "x", 2);
	r->signed_bytes[2] = -9;

	bpf_map_update_elem(&sized, &five, bytes, 0);
	bpf_map_update_elem(&hidden, &five, &cookie, 0);
	value = small + enabled;
	bpf_map_update_elem(&slots, &zero, &value, 0);
	s = bpf_map_lookup_elem(&totals, &zero);
	if (s) {
		s->calls++;
		s->last_ns = 5;
		s->three = 6;
	}
	e = atlas_ring_reserve(events);
	if (e) {
		atlas_zero(e);
		e->pid = wanted_pid;
		__builtin_memcpy(e->comm, (const void *)label, sizeof(label));
		atlas_ring_submit(events, e);
	}
	peer.port = 53;
	bpf_ringbuf_output(&plain_ring, &peer, sizeof(peer), 0);
	counter++;
	runs++;
	apart = 5;
	last_peer.port = 443;
	shared[1].c = 0x1122334455667788;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
