// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Every exec: who, which file, which arguments; and every exit of a process.
 *
 * A record is a struct exec_event, then filename_len bytes of file name, then
 * args_len bytes of arguments, each argument ended by a NUL; or a struct exit_event.
 *
 * Success comes from sched_process_exec, as tp_btf, raw_tp or a classic
 * tracepoint. Failure comes from the end of execve and execveat, either by the
 * classic tracepoints of these two calls (Linux 5.15), or by raw_tp sys_exit,
 * which costs every other system call about twice as much but needs no tracefs.
 * Neither sees the failed exec of a 32-bit caller on x86 or arm64.
 *
 * These programs cannot wait for a page of user memory that is not present.
 * After a success the arguments have just been written, so they are. After a
 * failure a page may be missing (a string of the program's file that nobody
 * touched yet): the record is then shorter and says so. It is never lost.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "bpf_atlas.h"

#define FILENAME_MAX 4096 /* PATH_MAX */
#define ARGS_MAX     16384
#define PIECE	     4096 /* no page is smaller */
#define ARGV_MAX     128  /* arguments of a failed exec */
#define MAX_ERRNO    4095

#if defined(__TARGET_ARCH_x86)
#define NR_EXECVE   59
#define NR_EXECVEAT 322
#elif defined(__TARGET_ARCH_s390)
#define NR_EXECVE   11
#define NR_EXECVEAT 354
#elif defined(__TARGET_ARCH_powerpc)
#define NR_EXECVE   11
#define NR_EXECVEAT 362
#else /* the generic table */
#define NR_EXECVE   221
#define NR_EXECVEAT 281
#endif

/* Set before the program is loaded. */
const volatile __u32 args_limit = 4096; /* bytes of arguments to keep, up to ARGS_MAX */
const volatile __u8 filter_uid = 0;
const volatile __u32 uid = 0;
const volatile __u8 by_live_threads = 0; /* as before 6.16, whatever the kernel can do */

enum exec_flag {
	EXEC_ARGS_CUT = 1,	      /* there were more arguments, or a longer one */
	EXEC_ARGS_UNREADABLE = 2,     /* the rest of them was not in memory */
	EXEC_FILENAME_UNREADABLE = 4, /* filename_len is 0 */
};

enum {
	EXEC = 1,
	EXIT = 2,
};

struct exec_event {
	__u32 kind; /* EXEC */
	__u32 pid;
	__u64 time_ns; /* since boot */
	__u32 ppid;
	__u32 tid; /* the thread that called */
	__u32 uid;
	__u32 gid;
	__s32 ret;	      /* 0 or -errno */
	enum exec_flag flags; /* or'ed */
	__u32 filename_len;   /* with its NUL */
	__u32 args_len;
	__u32 args_total; /* of a success: bytes of all arguments, those cut off included */
	char comm[16];	  /* after a success the new name */
};

struct exit_event {
	__u32 kind; /* EXIT */
	__u32 pid;
	__u64 time_ns;	/* since boot */
	__u64 start_ns; /* when it was forked */
	__u32 ppid;
	__u32 uid;
	__u32 gid;
	__u32 status; /* as wait(2) gives it */
	char comm[16];
};

ATLAS_RING_OF(events, 1 << 20,
	      ATLAS_EVENT(EXEC, struct exec_event) ATLAS_EVENT(EXIT, struct exit_event));

/* The tail takes the last piece, so that a bound on where it begins is enough for the verifier. */
struct scratch {
	struct exec_event event;
	char data[FILENAME_MAX + ARGS_MAX + PIECE];
};

enum scratch_of {
	SCRATCH_SUCCESS,
	SCRATCH_FAILURE,
	SCRATCHES,
};

/*
 * Where a record is put together: one for each program that can be loaded with
 * the others. The kernel runs one program once at a time on each CPU, even where
 * tracepoints can be preempted (since Linux 7.0; a second run is skipped and in
 * recursion_misses): no two runs share one. The two classic programs of a
 * failure share theirs, and classic tracepoints run with preemption off.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCHES);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* A record with all but its strings; NULL where its user is not asked for. */
static __always_inline struct scratch *begin(__u32 slot, __u32 tid, int ret)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 uid_gid = bpf_get_current_uid_gid();
	struct exec_event *e;
	struct scratch *s;

	if (filter_uid && (__u32)uid_gid != uid)
		return NULL;
	s = bpf_map_lookup_elem(&scratch, &slot);
	if (!s)
		return NULL;
	e = &s->event;
	e->time_ns = bpf_ktime_get_boot_ns();
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->ppid = BPF_CORE_READ(task, real_parent, tgid);
	e->tid = tid;
	e->uid = uid_gid;
	e->gid = uid_gid >> 32;
	e->ret = ret;
	e->flags = 0;
	e->filename_len = 0;
	e->args_len = 0;
	e->args_total = 0;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	return s;
}

/* Take in the result of reading the file name. */
static __always_inline void set_filename(struct scratch *s, long len)
{
	if (len > 0 && len <= FILENAME_MAX)
		s->event.filename_len = len;
	else
		s->event.flags |= EXEC_FILENAME_UNREADABLE;
}

/* A string and its NUL. Older kernels (6.1 among them) answer 0 for an empty one. */
static __always_inline long read_user_str(char *to, __u32 size, const char *from)
{
	long len = bpf_probe_read_user_str(to, size, from);

	if (len)
		return len;
	*to = 0;
	return 1;
}

static __always_inline __u64 args_room(void)
{
	return args_limit < ARGS_MAX ? args_limit : ARGS_MAX;
}

/* `len` bytes of user memory to the end of the strings, as many as are present. */
static __always_inline void copy_args(struct scratch *s, unsigned long from, __u64 len)
{
	__u64 at = s->event.filename_len;
	__u64 got = 0;

	barrier_var(at); /* keep the checks: the compiler knows more than the verifier */
	barrier_var(len);
	if (at > FILENAME_MAX || len > ARGS_MAX)
		return;
	if (!bpf_probe_read_user(s->data + at, len, (void *)from)) {
		s->event.args_len = len;
		return;
	}
	/* A page is missing: take the ones before it. */
	for (int i = 0; i <= ARGS_MAX / PIECE; i++) {
		__u64 piece = PIECE - ((from + got) & (PIECE - 1));

		if (got >= len || got > ARGS_MAX)
			break;
		if (piece > len - got)
			piece = len - got;
		barrier_var(piece);
		if (piece > PIECE ||
		    bpf_probe_read_user(s->data + at + got, piece, (void *)from + got))
			break;
		got += piece;
	}
	s->event.args_len = got;
	s->event.flags |= EXEC_ARGS_UNREADABLE;
}

static __always_inline int submit(struct scratch *s)
{
	__u64 size = sizeof(s->event) + s->event.filename_len + s->event.args_len;

	barrier_var(size);
	if (size <= sizeof(*s))
		atlas_event_output(events, EXEC, s, size);
	return 0;
}

static __always_inline int on_success(__u32 tid, const char *filename)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct scratch *s = begin(SCRATCH_SUCCESS, tid, 0);
	__u64 room = args_room();
	unsigned long start, end;

	if (!s)
		return 0;
	set_filename(s, bpf_probe_read_kernel_str(s->data, FILENAME_MAX, filename));
	start = BPF_CORE_READ(task, mm, arg_start);
	end = BPF_CORE_READ(task, mm, arg_end);
	if (end > start)
		s->event.args_total = end - start;
	if (s->event.args_total > room)
		s->event.flags |= EXEC_ARGS_CUT;
	else
		room = s->event.args_total;
	copy_args(s, start, room);
	return submit(s);
}

/* The strings that argv points to, one by one. */
static __always_inline void copy_argv(struct scratch *s, const char *const *argv)
{
	__u64 at = s->event.filename_len;
	__u64 room = args_room();

	barrier_var(at);
	if (at > FILENAME_MAX || !argv)
		return;
	for (int i = 0; i <= ARGV_MAX; i++) {
		const char *arg = NULL;
		__u64 got, piece;
		char *to, last = 0;
		long len;

		if (bpf_probe_read_user(&arg, sizeof(arg), argv + i)) {
			s->event.flags |= EXEC_ARGS_UNREADABLE;
			break;
		}
		if (!arg)
			break;
		/* Read back on each round: to the verifier all rounds are then alike. */
		got = s->event.args_len;
		if (i == ARGV_MAX || got >= room || got > ARGS_MAX) {
			s->event.flags |= EXEC_ARGS_CUT;
			break;
		}
		to = s->data + at + got;
		piece = room - got < PIECE ? room - got : PIECE;
		barrier_var(piece);
		if (piece > PIECE)
			break;
		len = read_user_str(to, piece, arg);
		if (len < 0) {
			s->event.flags |= EXEC_ARGS_UNREADABLE;
			break;
		}
		s->event.args_len = got + len;
		if (len < piece)
			continue;
		/* Cut, unless it just fits. */
		bpf_probe_read_user(&last, 1, arg + len - 1);
		if (last) {
			s->event.flags |= EXEC_ARGS_CUT;
			break;
		}
	}
	s->event.args_total = s->event.args_len;
}

static __always_inline bool failed(long ret)
{
	return (unsigned long)ret >= (unsigned long)-MAX_ERRNO;
}

/*
 * The arguments are still in the registers that the call saved; those of
 * execveat have a directory before them.
 */
static __always_inline int on_failure(long ret, struct pt_regs *regs, bool at)
{
	struct scratch *s = begin(SCRATCH_FAILURE, (__u32)bpf_get_current_pid_tgid(), ret);
	unsigned long filename, argv;

	if (!s)
		return 0;
	filename = at ? PT_REGS_PARM2_CORE_SYSCALL(regs) : PT_REGS_PARM1_CORE_SYSCALL(regs);
	argv = at ? PT_REGS_PARM3_CORE_SYSCALL(regs) : PT_REGS_PARM2_CORE_SYSCALL(regs);
	set_filename(s, read_user_str(s->data, FILENAME_MAX, (void *)filename));
	copy_argv(s, (void *)argv);
	return submit(s);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_btf, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	return on_success(old_pid, BPF_CORE_READ(bprm, filename));
}

SEC("raw_tp/sched_process_exec")
int BPF_PROG(exec_raw, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	return on_success(old_pid, BPF_CORE_READ(bprm, filename));
}

SEC("tp/sched/sched_process_exec")
int exec_tp(struct trace_event_raw_sched_process_exec *ctx)
{
	/* The lower half says where in the record the string is. */
	return on_success(ctx->old_pid, (void *)ctx + (ctx->__data_loc_filename & 0xffff));
}

/* A classic tracepoint is not given the registers. */
static __always_inline struct pt_regs *saved_regs(void)
{
	return (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
}

SEC("tp/syscalls/sys_exit_execve")
int failed_execve_tp(struct trace_event_raw_sys_exit *ctx)
{
	return failed(ctx->ret) ? on_failure(ctx->ret, saved_regs(), false) : 0;
}

SEC("tp/syscalls/sys_exit_execveat")
int failed_execveat_tp(struct trace_event_raw_sys_exit *ctx)
{
	return failed(ctx->ret) ? on_failure(ctx->ret, saved_regs(), true) : 0;
}

SEC("raw_tp/sys_exit")
int BPF_PROG(failed_raw, struct pt_regs *regs, long ret)
{
	long nr;

	if (!failed(ret))
		return 0;
	nr = atlas_syscall_nr(regs);
	if ((nr != NR_EXECVE && nr != NR_EXECVEAT) || atlas_syscall_is_compat())
		return 0;
	return on_failure(ret, regs, nr == NR_EXECVEAT);
}

#include "exec_events_exit.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
