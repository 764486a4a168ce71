/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The part of exec_events that sees exits.
 *
 * An exit is that of a process, when its last thread goes, by sched_process_exit.
 * Since Linux 6.16 the tracepoint says which one is the last. Before, the count of
 * live threads is 0 for all that went at the same moment, and the first to come
 * here reports.
 */
#define EEXIST		  17
#define PF_KTHREAD	  0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004

/* Processes that were reported, where several of their threads may take themselves for the last. */
struct reported {
	__u64 start_ns;
	__u32 pid;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct reported);
	__type(value, __u8);
} reported SEC(".maps");

/* A load where the verifier knows the type, which it does of the arguments of tp_btf. */
#define READ(from, field) (direct ? (from)->field : BPF_CORE_READ(from, field))

/* Whether this thread is the first of its process to come here. */
static __always_inline bool is_first(__u32 pid, __u64 start_ns)
{
	struct reported key = { .start_ns = start_ns, .pid = pid };
	__u8 yes = 1;

	return (int)bpf_map_update_elem(&reported, &key, &yes, BPF_NOEXIST) != -EEXIST;
}

static __always_inline int on_last_exit(struct task_struct *task, const bool direct, bool surely)
{
	struct task_struct *leader = READ(task, group_leader);
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 uid_gid = bpf_get_current_uid_gid();
	struct task_struct *parent;
	struct signal_struct *signal;
	struct exit_event *e;

	if ((filter_uid && (__u32)uid_gid != uid) || (READ(task, flags) & PF_KTHREAD))
		return 0;
	if (!surely && !is_first(pid, READ(leader, start_boottime)))
		return 0;
	e = atlas_event_reserve(events, EXIT);
	if (!e)
		return 0;
	e->pid = pid;
	e->time_ns = bpf_ktime_get_boot_ns();
	e->start_ns = READ(leader, start_boottime);
	parent = READ(leader, real_parent);
	e->ppid = READ(parent, tgid);
	e->uid = uid_gid;
	e->gid = uid_gid >> 32;
	/* As wait_task_zombie does; since 5.17 the flag is set once all threads have gone. */
	signal = READ(task, signal);
	if (READ(signal, flags) & SIGNAL_GROUP_EXIT)
		e->status = READ(signal, group_exit_code);
	else
		e->status = READ(leader, exit_code);
	bpf_probe_read_kernel(e->comm, sizeof(e->comm), leader->comm);
	atlas_ring_submit(events, e);
	return 0;
}

/* Constant once the program is loaded. The kernel has the field and the argument alike. */
static __always_inline bool is_told(void)
{
	return !by_live_threads &&
	       bpf_core_field_exists(struct trace_event_raw_sched_process_exit, group_dead);
}

static __always_inline int on_exit(struct task_struct *task, const bool direct)
{
	struct signal_struct *signal = READ(task, signal);

	return READ(signal, live.counter) ? 0 : on_last_exit(task, direct, false);
}

/* Not BPF_PROG: before 6.16 there is no second argument, and only to name it is refused. */
SEC("tp_btf/sched_process_exit")
int exit_btf(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (!is_told())
		return on_exit(task, true);
	return ctx[1] & 1 ? on_last_exit(task, true, true) : 0;
}

SEC("raw_tp/sched_process_exit")
int exit_raw(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (!is_told())
		return on_exit(task, false);
	return ctx[1] & 1 ? on_last_exit(task, false, true) : 0;
}

SEC("tp/sched/sched_process_exit")
int exit_tp(struct trace_event_raw_sched_process_exit *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (!is_told())
		return on_exit(task, false);
	return ctx->group_dead ? on_last_exit(task, false, true) : 0;
}
