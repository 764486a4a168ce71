// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * System calls by process, and by system call number.
 *
 * What counts has three programs with one body: tp_btf, raw_tp and a classic
 * tracepoint. User space loads one flavour, the best that the kernel offers. The
 * other hooks have two: a raw tracepoint does, where there is one, and to load it as
 * tp_btf takes the kernel and libbpf a walk each through all types of the kernel. A
 * classic tracepoint program is skipped on a CPU whose task is inside a map
 * system call; recursion_misses of the program says how often.
 *
 *	enter or exit	count every call when it begins, or failed calls when they end
 *	fork		forget the process that had this PID before
 *	rename		keep the name current (exec and prctl change it)
 *
 * counted + refused (health) + recursion_misses is all calls, exactly.
 *
 * A hash is too slow to be asked at every call. So each CPU has a few seats, and
 * a call is counted in the seat of its process. A process without one takes it
 * from another: the total of the one goes to `counts`, that of the other comes
 * from there. What a seat holds is a total, no difference, and the totals of a
 * process on a CPU only grow; so whoever reads the seats first and `counts` then,
 * and takes the larger, misses nothing and counts nothing twice, whatever changed
 * seats in between.
 *
 * A CPU's seats and values are written by the program that counts, on that CPU,
 * which does not interrupt itself: no system call begins within its tracepoint,
 * and where the tracepoint lets others run (since Linux 7.0) the kernel skips
 * theirs and says so in recursion_misses. So a plain addition is exact.
 *
 * Every total tells the process by its start too. A seat, or a value, that a
 * finished process left behind is nobody's when its PID is another's.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "bpf_atlas.h"

#define SYSCALL_SLOTS 1024
#define MAX_ERRNO     4095
#define SEATS	      32 /* of a CPU: a power of two */

/* Set before the program is loaded; what is off is not even in the program. */
const volatile __u8 count_by_pid = 1;
const volatile __u8 count_by_syscall = 1;
const volatile __u8 filter_pids = 0;

/* A process, as it was when its first call was counted; its name is kept current. */
struct task {
	__u64 start_ns; /* since boot: tells a process from an earlier one with its PID */
	char comm[16];	/* of the thread group's leader, zero to the end */
};

/* A process on one CPU, as `counts` has it: what it had counted when it last gave up its seat. */
struct tally {
	__u64 start_ns; /* of the process; 0 before it has been on this CPU */
	__u64 calls;
};

/*
 * A process on one CPU, where it counts. One that takes the seat changes the last
 * word first and the first word last: a reader that goes from first to last and
 * finds them the same has read of one process.
 */
struct seat {
	__u64 taken; /* so often */
	__u64 mark;  /* start_ns + forgotten, by which the process is told */
	__u64 calls;
	__u64 start_ns;
	__u32 tgid;
	__u32 unused;
	__u64 taking;
};

/* What became of PIDs. Per-CPU totals that only grow. */
struct pid_reuse {
	__u64 recycled; /* finished processes forgotten because their PID was given out again */
	__u64 merged;	/* new ones with the name of a finished one that could not be forgotten */
	__u64 unnamed;	/* counted, but without an entry in `tasks` */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, struct tally);
} counts SEC(".maps");

/* By the last bits of the PID. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SEATS);
	__type(key, __u32);
	__type(value, struct seat);
} seats SEC(".maps");

/* User space adds 1 when it took a process out of `counts`: no seat is valid any more. */
volatile __u64 forgotten = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, struct task);
} tasks SEC(".maps");

/*
 * By number. The last slot takes what the table of this architecture does not
 * name: numbers beyond it, and those of 32-bit and x32 callers.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SYSCALL_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} by_syscall SEC(".maps");

/* The PIDs to count, where filter_pids is set. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u8);
} pids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pid_reuse);
} pid_reuse SEC(".maps");

/* Calls that `counts` refused. */
ATLAS_HEALTH(health);

static __always_inline struct pid_reuse *reuse_totals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pid_reuse, &zero);
}

static __always_inline struct task_struct *current_task(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return bpf_get_current_task_btf();
	return (void *)bpf_get_current_task();
}

static __always_inline __u32 tgid_of(struct task_struct *task)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return task->tgid;
	return bpf_get_current_pid_tgid() >> 32;
}

/* When its process began. A thread that execs takes over the start of the leader it replaces. */
static __always_inline __u64 start_of(struct task_struct *task)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return task->group_leader->start_boottime;
	return BPF_CORE_READ(task, group_leader, start_boottime);
}

/* Start time and name of the process at hand, once. */
static __always_inline void remember(struct task_struct *current, __u32 tgid, __u64 start_ns)
{
	struct task_struct *leader = BPF_CORE_READ(current, group_leader);
	struct task task = { .start_ns = start_ns };
	struct pid_reuse *totals;
	int err;

	BPF_CORE_READ_STR_INTO(&task.comm, leader, comm);
	err = (int)bpf_map_update_elem(&tasks, &tgid, &task, BPF_NOEXIST);
	if (!err || err == -__ATLAS_EEXIST)
		return;
	totals = reuse_totals();
	if (totals)
		__sync_fetch_and_add(&totals->unnamed, 1);
}

/* What the process at hand has counted on this CPU; NULL where there is no room. */
static __always_inline struct tally *tally_of(struct task_struct *task, __u32 tgid, __u64 start_ns)
{
	struct tally *tally = bpf_map_lookup_elem(&counts, &tgid);
	struct tally init = { .start_ns = start_ns };

	if (!tally) {
		tally = atlas_lookup_or_init(&counts, &tgid, &init, &health);
		if (!tally)
			return NULL;
		remember(task, tgid, start_ns);
	}
	if (tally->start_ns == start_ns)
		return tally;
	tally->calls = 0;
	barrier();
	tally->start_ns = start_ns;
	/* User space may have forgotten the process meanwhile: then it is another's. */
	if (bpf_map_lookup_elem(&counts, &tgid) == tally)
		return tally;
	tally->start_ns = 0;
	return NULL;
}

/* Stores the total of who has the seat, unless it was forgotten. */
static __always_inline void give_up(const struct seat *seat)
{
	__u32 tgid = seat->tgid;
	struct tally *tally = bpf_map_lookup_elem(&counts, &tgid);

	/*
	 * If it is forgotten from here on, and the element is another's by the
	 * time of the write: that one was not on this CPU yet, so it has no
	 * start_ns here, and without it `calls` are nobody's.
	 */
	if (tally && tally->start_ns == seat->start_ns)
		tally->calls = seat->calls;
}

static __always_inline bool selected(__u32 tgid)
{
	return !filter_pids || bpf_map_lookup_elem(&pids, &tgid);
}

/* Counts a call of a process without a seat, and seats it. False if it was not chosen. */
static __noinline bool take_seat(struct seat *seat, __u32 tgid)
{
	struct task_struct *task = current_task();
	__u64 start_ns = start_of(task);
	/* Read before the map, so that a seat taken in vain is not valid. */
	__u64 mark = start_ns + forgotten;
	struct tally *tally;

	if (!selected(tgid))
		return false;
	barrier();
	/* First, or what was forgotten of this same process would come back. */
	if (seat->start_ns)
		give_up(seat);
	tally = tally_of(task, tgid, start_ns);
	if (!tally)
		return true;
	seat->taking += 1;
	barrier();
	seat->tgid = tgid;
	seat->start_ns = start_ns;
	seat->mark = mark;
	seat->calls = tally->calls + 1;
	barrier();
	seat->taken = seat->taking;
	return true;
}

/* False if the process was not chosen. */
static __always_inline bool count_process(void)
{
	struct task_struct *task = current_task();
	__u32 tgid = tgid_of(task), at = tgid % SEATS;
	struct seat *seat = bpf_map_lookup_elem(&seats, &at);

	if (!seat)
		return false;
	if (seat->tgid != tgid || seat->mark != start_of(task) + forgotten)
		return take_seat(seat, tgid);
	seat->calls += 1;
	return true;
}

static __always_inline void count_number(long nr)
{
	__u32 slot = SYSCALL_SLOTS - 1;
	__u64 *count;

	if ((unsigned long)nr < SYSCALL_SLOTS - 1 && !atlas_syscall_is_compat())
		slot = nr;
	count = bpf_map_lookup_elem(&by_syscall, &slot);
	if (count)
		*count += 1;
}

static __always_inline int on_enter(long nr)
{
	/* Who has a seat was chosen. */
	if (count_by_pid ? count_process() : selected(bpf_get_current_pid_tgid() >> 32))
		if (count_by_syscall)
			count_number(nr);
	return 0;
}

static __always_inline bool failed(long ret)
{
	return (unsigned long)ret >= (unsigned long)-MAX_ERRNO;
}

/* The end of a failed call. Number -1 is rt_sigreturn: no result, but what the signal cut off. */
static __always_inline int on_failure(long nr)
{
	return nr == -1 ? 0 : on_enter(nr);
}

/*
 * A process begins whose PID may have been another's: forget that one. It is
 * over, so nobody holds its elements and no count is lost.
 */
static __always_inline int on_fork(__u32 tgid)
{
	int counts_err = (int)bpf_map_delete_elem(&counts, &tgid);
	int tasks_err = (int)bpf_map_delete_elem(&tasks, &tgid);
	struct pid_reuse *totals;

	if (counts_err == -__ATLAS_ENOENT && tasks_err == -__ATLAS_ENOENT)
		return 0;
	totals = reuse_totals();
	if (!totals)
		return 0;
	if ((!counts_err || counts_err == -__ATLAS_ENOENT) &&
	    (!tasks_err || tasks_err == -__ATLAS_ENOENT))
		__sync_fetch_and_add(&totals->recycled, 1);
	else
		__sync_fetch_and_add(&totals->merged, 1);
	return 0;
}

/* The kernel tells before it stores the new name; it keeps 15 bytes of it. */
static __always_inline int on_rename(__u32 tgid, const char *name)
{
	struct task *task = bpf_map_lookup_elem(&tasks, &tgid);
	char comm[sizeof(task->comm)] = {};

	if (!task)
		return 0;
	bpf_probe_read_kernel_str(comm, sizeof(comm), name);
	/* In place: a replaced element is one that a reader can miss. */
	__builtin_memcpy(task->comm, comm, sizeof(comm));
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(enter_btf, struct pt_regs *regs, long nr)
{
	return on_enter(nr);
}

SEC("raw_tp/sys_enter")
int BPF_PROG(enter_raw, struct pt_regs *regs, long nr)
{
	return on_enter(nr);
}

SEC("tp/raw_syscalls/sys_enter")
int enter_tp(struct trace_event_raw_sys_enter *ctx)
{
	return on_enter(ctx->id);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(exit_btf, struct pt_regs *regs, long ret)
{
	return failed(ret) ? on_failure(atlas_syscall_nr(regs)) : 0;
}

SEC("raw_tp/sys_exit")
int BPF_PROG(exit_raw, struct pt_regs *regs, long ret)
{
	return failed(ret) ? on_failure(atlas_syscall_nr(regs)) : 0;
}

SEC("tp/raw_syscalls/sys_exit")
int exit_tp(struct trace_event_raw_sys_exit *ctx)
{
	return failed(ctx->ret) ? on_failure(ctx->id) : 0;
}

static __always_inline int on_fork_task(struct task_struct *child)
{
	__u32 pid = BPF_CORE_READ(child, pid);
	__u32 tgid = BPF_CORE_READ(child, tgid);

	return pid == tgid ? on_fork(tgid) : 0; /* else a thread */
}

SEC("raw_tp/sched_process_fork")
int BPF_PROG(fork_raw, struct task_struct *parent, struct task_struct *child)
{
	return on_fork_task(child);
}

/* This one cannot tell a thread from a process. No matter: a number in use again is free of both.
 */
SEC("tp/sched/sched_process_fork")
int fork_tp(struct trace_event_raw_sched_process_fork *ctx)
{
	return on_fork(ctx->child_pid);
}

static __always_inline int on_rename_task(struct task_struct *task, const char *name)
{
	__u32 pid = BPF_CORE_READ(task, pid);
	__u32 tgid = BPF_CORE_READ(task, tgid);

	return pid == tgid ? on_rename(tgid, name) : 0; /* else a thread's own name */
}

SEC("raw_tp/task_rename")
int BPF_PROG(rename_raw, struct task_struct *task, const char *name)
{
	return on_rename_task(task, name);
}

/* `tasks` has thread group leaders alone, so the name of another thread finds no entry. */
SEC("tp/task/task_rename")
int rename_tp(struct trace_event_raw_task_rename *ctx)
{
	return on_rename(ctx->pid, ctx->newcomm);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
