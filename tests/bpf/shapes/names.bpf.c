// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Names that mean something else in Rust or in generated code. */
#include "vmlinux.h"
#include "bpf_atlas.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile char name[16] = "eth0";
const volatile __u8 type = 3;
__s64 self = 1;
static volatile __u32 hidden = 3;
__u32 counters[2][2] SEC(".data.read_mostly") = { { 1, 2 }, { 3, 4 } };
__u64 more SEC(".bss.more");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, char[16]);
	__type(value, __u64);
} a_name_that_is_longer_than_the_kernel_keeps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} open SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} object SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} fn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} crate SEC(".maps");

SEC("syscall")
int match(void *ctx)
{
	self += type + hidden + counters[1][0] + name[0];
	more = 1;
	return 0;
}

SEC("syscall")
int libbpf(void *ctx)
{
	self += more;
	return 0;
}

SEC("syscall")
int progs(void *ctx)
{
	return 0;
}
