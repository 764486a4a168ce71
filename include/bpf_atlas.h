/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bpf_atlas.h: the kernel half of bpf-atlas, for programs of your own.
 *
 *	ATLAS_HEALTH(health);                            what maps refused, per CPU
 *	atlas_count(&map, &key, n, &health)              add n to a __u64, exactly
 *	atlas_count_percpu(&map, &key, n, &health)       the same for a per-CPU map
 *	atlas_lookup_or_init(&map, &key, &init, &health) a pointer to the value, whoever races
 *
 *	ATLAS_RING(events, 1 << 20, struct event);       a ring buffer that counts its losses
 *	ATLAS_RING_OF(events, 1 << 20, ATLAS_EVENT(...)) the same, for several types of event
 *	atlas_ring_reserve(events)                       a record, or NULL and counted as lost
 *	atlas_event_reserve(events, TAG)                 the same, in a ring of several
 *	atlas_ring_submit(events, record)                submit it, counted
 *	atlas_ring_discard(record)                       give it up: neither submitted nor lost
 *	atlas_ring_output(events, data, size)            a record of any length, counted
 *	atlas_event_output(events, TAG, data, size)      the same, in a ring of several
 *
 *	atlas_zero(&key)                                 clear a struct, padding and all
 *	atlas_syscall_nr(regs)                           system call number from saved registers
 *	atlas_syscall_is_compat()                        whether its number is of a 32-bit table
 *
 * Include after vmlinux.h (the small one beside this file, or one that bpftool
 * generated) or <linux/bpf.h>. Uses no system header. clang 14 or later.
 *
 * Keys: the kernel compares every byte of a key, padding included. Clear a key
 * that has padding with atlas_zero() before its fields are set; better, give
 * the padding a name, which is what #[derive(Pod)] asks for on the other side.
 */
#ifndef __BPF_ATLAS_H
#define __BPF_ATLAS_H

#include <bpf/bpf_helpers.h>

#define atlas_zero(ptr) __builtin_memset((ptr), 0, sizeof(*(ptr)))

/*
 * Health: how many calls a map refused, by reason.
 *
 * One element a CPU, so a total is the sum over all possible CPUs. The totals
 * only grow and nothing resets them: take differences in user space.
 */
struct atlas_health {
	__u64 full;	 /* no room: raise max_entries */
	__u64 no_memory; /* the allocator had nothing at hand */
	__u64 busy;	 /* a lock was held by what this program interrupted */
	__u64 missed;	 /* every other reason: keys deleted faster than inserted, a frozen map */
};

#define ATLAS_HEALTH(name)                               \
	struct {                                         \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); \
		__uint(max_entries, 1);                  \
		__type(key, __u32);                      \
		__type(value, struct atlas_health);      \
	} name SEC(".maps")

/* How often an insertion is tried while others delete or replace the same key. */
#define ATLAS_TRIES 3

/* Kernel error numbers; a program has no <errno.h>. */
enum {
	__ATLAS_ENOENT = 2,
	__ATLAS_E2BIG = 7,
	__ATLAS_ENOMEM = 12,
	__ATLAS_EBUSY = 16,
	__ATLAS_EEXIST = 17,
	__ATLAS_ENOSPC = 28,
	__ATLAS_EDEADLK = 35,
	__ATLAS_ETIMEDOUT = 110,
};

static __always_inline void __atlas_refused(void *health, int err)
{
	__u32 zero = 0;
	struct atlas_health *h = bpf_map_lookup_elem(health, &zero);

	if (!h)
		return;
	/* Atomic: an interrupt on this CPU may run a program that shares the slot. */
	if (err == -__ATLAS_E2BIG || err == -__ATLAS_ENOSPC) /* ENOSPC: a full LPM trie */
		__sync_fetch_and_add(&h->full, 1);
	else if (err == -__ATLAS_ENOMEM)
		__sync_fetch_and_add(&h->no_memory, 1);
	else if (err == -__ATLAS_EBUSY || err == -__ATLAS_EDEADLK || err == -__ATLAS_ETIMEDOUT)
		__sync_fetch_and_add(&h->busy, 1);
	else
		__sync_fetch_and_add(&h->missed, 1);
}

/*
 * The value of `key`, created as `init` where absent; NULL and *err on refusal.
 *
 * BPF_NOEXIST, then look up again: when CPUs race on a new key one of them
 * inserts and all of them get its element. BPF_ANY would replace the element
 * of the winner, and with it all that had been counted there.
 */
static __always_inline void *__atlas_find(void *map, const void *key, const void *init,
					  void *health, int *err)
{
	void *value = bpf_map_lookup_elem(map, key);
	int i;

	if (value)
		return value;
	for (i = 0; i < ATLAS_TRIES; i++) {
		/* int: up to Linux 6.3 the upper half of a helper's error is not its sign. */
		*err = (int)bpf_map_update_elem(map, key, init, BPF_NOEXIST);
		if (*err && *err != -__ATLAS_EEXIST)
			break;
		value = bpf_map_lookup_elem(map, key);
		if (value)
			return value;
		*err = -__ATLAS_ENOENT;
	}
	__atlas_refused(health, *err);
	return NULL;
}

static __always_inline int __atlas_count(void *map, const void *key, __u64 n, void *health)
{
	int err = 0;
	__u64 zero = 0;
	__u64 *value = __atlas_find(map, key, &zero, health, &err);

	if (!value)
		return err;
	__sync_fetch_and_add(value, n);
	return 0;
}

/*
 * Add n to the __u64 under *key, which is created where absent. 0, or -errno
 * when the map refused, counted in `health`. Nothing is lost to a race between
 * CPUs: counted plus refused calls is all calls.
 *
 * For BPF_MAP_TYPE_HASH and LRU_HASH. No header can help against two things: an
 * element that user space deletes, or that an LRU map evicts, between the lookup
 * and the addition takes that addition with it, to the next key that reuses the
 * memory. So never delete a live counter (take differences instead), and call
 * an LRU count what it is: approximate.
 */
#define atlas_count(map, key, n, health) __atlas_count((map), (key), (n), (health))

/*
 * The same for a per-CPU map: PERCPU_HASH, LRU_PERCPU_HASH, PERCPU_ARRAY.
 *
 * The addition is atomic here too, since another run may write the same slot: a
 * program that interrupted this one, or, where programs can be preempted (the
 * sleepable ones; those of tracepoints since Linux 7.0), one that another task
 * runs on this CPU. On the CPU's own cache line that costs a nanosecond or two.
 * A plain `*value += n` is enough only where one program alone writes the slot
 * and the kernel runs it once at a time on each CPU.
 */
#define atlas_count_percpu(map, key, n, health) __atlas_count((map), (key), (n), (health))

/*
 * A pointer to the value of *key, created as *init where absent, or NULL,
 * counted in `health`. Add to the fields with __sync_fetch_and_add(). Of CPUs
 * that race on a new key one stores its init; the others find that one's.
 */
#define atlas_lookup_or_init(map, key, init, health)                                           \
	({                                                                                     \
		int __atlas_err = 0;                                                           \
		(typeof(*(init)) *)__atlas_find((map), (key), (init), (health), &__atlas_err); \
	})

/*
 * Ring buffer with its loss counter and its wake-ups.
 *
 * ATLAS_RING(name, bytes, type) declares three maps: the ring `name`;
 * `name_lost`, a per-CPU array of one element with the totals of each CPU, which
 * only grow; and `name_wake`, two words by which the reader says when it wants to
 * be woken. Once producers rest: delivered + lost = produced, where produced is
 * submitted + lost.
 *
 * ATLAS_RING_OF(name, bytes, ATLAS_EVENT(TAG, type) ATLAS_EVENT(TAG, type) ...)
 * is a ring of several types of event. TAG is an enumerator or a macro, its value
 * a constant, and each type begins with a member `kind` of 32 bits that holds it:
 *
 *	enum { EXEC = 1, EXIT = 2 };
 *	ATLAS_RING_OF(events, 1 << 20,
 *		      ATLAS_EVENT(EXEC, struct exec_event) ATLAS_EVENT(EXIT, struct exit_event));
 *	...
 *	struct exit_event *e = atlas_event_reserve(events, EXIT);
 *
 * The members behind the totals have no bytes. They put the types in the BTF of
 * the object and tie them to the ring, which cannot carry a type itself.
 */
struct atlas_ring_loss {
	__u64 submitted; /* records handed over, those still unread among them */
	__u64 lost;	 /* records that the ring refused */
	__u64 busy;	 /* of these, those with room right after: inside another's reservation */
};

/* Word 0 of `name_wake`: what the reader wants. Word 1: for ATLAS_WAKE_MARK, how many bytes. */
enum {
	ATLAS_WAKE_DEFAULT = 0, /* the kernel's rule: a record that an idle reader has come to */
	ATLAS_WAKE_NOT = 1,	/* it looks by itself */
	ATLAS_WAKE_NEXT = 2,	/* it sleeps until a record comes */
	ATLAS_WAKE_MARK = 3,	/* it sleeps for a while, or until so many bytes wait */
};

#define __ATLAS_RING_MAPS(name, bytes)                                                   \
	_Static_assert(sizeof(struct name##_totals) == sizeof(struct atlas_ring_loss),   \
		       #name ": records of a ring are aligned to 8 bytes, not to more"); \
	struct {                                                                         \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                      \
		__uint(max_entries, (bytes));                                            \
	} name SEC(".maps");                                                             \
	struct {                                                                         \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                 \
		__uint(max_entries, 1);                                                  \
		__type(key, __u32);                                                      \
		__type(value, struct name##_totals);                                     \
	} name##_lost SEC(".maps");                                                      \
	struct {                                                                         \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                        \
		__uint(map_flags, BPF_F_MMAPABLE);                                       \
		__uint(max_entries, 2);                                                  \
		__type(key, __u32);                                                      \
		__type(value, __u64);                                                    \
	} name##_wake SEC(".maps")

#define ATLAS_RING(name, bytes, type_of_event) \
	struct name##_totals {                 \
		__u64 submitted;               \
		__u64 lost;                    \
		__u64 busy;                    \
		type_of_event event[0];        \
	};                                     \
	__ATLAS_RING_MAPS(name, bytes)

/* What comes behind a comma is told of, and left out. */
#define ATLAS_RING_OF(name, bytes, events, ...)                                  \
	_Static_assert(sizeof(#__VA_ARGS__) == 1,                                \
		       #name ": no comma between one ATLAS_EVENT and the next"); \
	struct name##_totals {                                                   \
		__u64 submitted;                                                 \
		__u64 lost;                                                      \
		__u64 busy;                                                      \
		struct {                                                         \
			events                                                   \
		} events_of[0];                                                  \
	};                                                                       \
	__ATLAS_RING_MAPS(name, bytes)

/*
 * The tag's value is the length of an array, as in the definition of a map; of char, since
 * the kernel takes no BTF with an array of 4 GiB or more.
 */
#define ATLAS_EVENT(tag, type_of_event)                                                       \
	struct {                                                                              \
		char (*value)[tag];                                                           \
		type_of_event event;                                                          \
		_Static_assert(__builtin_offsetof(type_of_event, kind) == 0 &&                \
				       sizeof(((type_of_event *)0)->kind) == sizeof(__u32) && \
				       _Alignof(type_of_event) <= 8,                          \
			       #tag ": an event begins with `__u32 kind` and is aligned to "  \
				    "8 bytes at most");                                       \
	} of_##tag;

static __always_inline void __atlas_ring_submitted(void *totals)
{
	__u32 zero = 0;
	struct atlas_ring_loss *t = bpf_map_lookup_elem(totals, &zero);

	if (t)
		__sync_fetch_and_add(&t->submitted, 1);
}

static __always_inline void __atlas_ring_refused(void *ring, void *totals, __u64 size)
{
	__u32 zero = 0;
	struct atlas_ring_loss *t = bpf_map_lookup_elem(totals, &zero);

	if (!t)
		return;
	__sync_fetch_and_add(&t->lost, 1);
	/* 15: the header, and up to the next 8 bytes. */
	if (bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) + ((size + 15) & ~7ULL) <
	    bpf_ringbuf_query(ring, BPF_RB_RING_SIZE))
		__sync_fetch_and_add(&t->busy, 1);
}

/*
 * The flags to submit with: what the reader asked for, by the word that it set
 * before it went to sleep.
 *
 * No barriers: a program that looked before the reader set the word, and submits
 * after it looked at the ring, is found when the reader looks once more, which
 * it does before it sleeps for long.
 */
static __always_inline __u64 __atlas_ring_wanted(void *ring, void *wake)
{
	__u32 at = 0;
	volatile __u64 *word = bpf_map_lookup_elem(wake, &at);
	volatile __u64 *mark;
	__u64 wanted;

	if (!word)
		return 0;
	wanted = *word;
	if (wanted == ATLAS_WAKE_DEFAULT)
		return 0;
	if (wanted == ATLAS_WAKE_MARK) {
		at = 1;
		mark = bpf_map_lookup_elem(wake, &at);
		if (!mark || bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) < *mark)
			return BPF_RB_NO_WAKEUP;
	} else if (wanted != ATLAS_WAKE_NEXT) {
		return BPF_RB_NO_WAKEUP;
	}
	return BPF_RB_FORCE_WAKEUP;
}

/*
 * Of several programs that find the reader asleep the first takes the word back,
 * so that the others need not wake it as well. Only one that wakes it for sure:
 * an output that is refused wakes no one.
 */
static __always_inline void __atlas_ring_take_back(void *wake)
{
	__u32 at = 0;
	volatile __u64 *word = bpf_map_lookup_elem(wake, &at);

	if (word)
		*word = ATLAS_WAKE_NOT;
}

/* For a record that is reserved already: nothing keeps it from being submitted. */
static __always_inline __u64 __atlas_ring_wake(void *ring, void *wake)
{
	__u64 flags = __atlas_ring_wanted(ring, wake);

	if (flags == BPF_RB_FORCE_WAKEUP)
		__atlas_ring_take_back(wake);
	return flags;
}

static __always_inline void *__atlas_ring_reserve(void *ring, void *totals, __u64 size)
{
	void *record = bpf_ringbuf_reserve(ring, size, 0);

	if (!record)
		__atlas_ring_refused(ring, totals, size);
	return record;
}

static __always_inline void __atlas_ring_submit(void *totals, void *record, __u64 flags)
{
	/* Counted first, so that no reader ever holds more than was submitted. */
	__atlas_ring_submitted(totals);
	bpf_ringbuf_submit(record, flags);
}

static __always_inline int __atlas_ring_output(void *ring, void *totals, void *data, __u64 size,
					       __u64 flags)
{
	int err = (int)bpf_ringbuf_output(ring, data, size, flags);

	if (err)
		__atlas_ring_refused(ring, totals, size);
	else
		__atlas_ring_submitted(totals);
	return err;
}

/* A pointer to a record of the ring's type, or NULL. Submit or discard each one. */
#define atlas_ring_reserve(name)                                               \
	((typeof(&((struct name##_totals *)0)->event[0]))__atlas_ring_reserve( \
		&(name), &name##_lost, sizeof(((struct name##_totals *)0)->event[0])))

#define atlas_ring_submit(name, record) \
	__atlas_ring_submit(&name##_lost, (record), __atlas_ring_wake(&(name), &name##_wake))

/* With BPF_RB_NO_WAKEUP or BPF_RB_FORCE_WAKEUP, whatever the reader asked for. */
#define atlas_ring_submit_flags(name, record, flags) \
	__atlas_ring_submit(&name##_lost, (record), (flags))

#define atlas_ring_discard(record) bpf_ringbuf_discard((record), 0)

/*
 * A record of `size` bytes that begins with the ring's type. 0, or -errno, counted as lost.
 * A reader takes longer records than the type only when it is opened with_tail().
 */
#define atlas_ring_output(name, data, size)                                                        \
	({                                                                                         \
		__u64 __atlas_flags = __atlas_ring_wanted(&(name), &name##_wake);                  \
		int __atlas_err =                                                                  \
			__atlas_ring_output(&(name), &name##_lost, (data), (size), __atlas_flags); \
		if (!__atlas_err && __atlas_flags == BPF_RB_FORCE_WAKEUP)                          \
			__atlas_ring_take_back(&name##_wake);                                      \
		__atlas_err;                                                                       \
	})

#define atlas_ring_output_flags(name, data, size, flags) \
	__atlas_ring_output(&(name), &name##_lost, (data), (size), (flags))

/* The type of the event that a ring of several has under this tag. */
#define atlas_event(name, tag) typeof(((struct name##_totals *)0)->events_of[0].of_##tag.event)

/*
 * A pointer to a record of that type with its kind set, or NULL. Submit or discard
 * each one. A tag may be a macro, since it is pasted before it is expanded; so it cannot
 * come by way of another macro, and atlas_event is no use here.
 */
#define atlas_event_reserve(name, tag)                                                            \
	({                                                                                        \
		typeof(((struct name##_totals *)0)->events_of[0].of_##tag.event) *__atlas_event = \
			__atlas_ring_reserve(&(name), &name##_lost, sizeof(*__atlas_event));      \
		if (__atlas_event)                                                                \
			__atlas_event->kind = (tag);                                              \
		__atlas_event;                                                                    \
	})

/* A record of `size` bytes that begins with that type; its kind is set. 0, or -errno. */
#define atlas_event_output(name, tag, data, size)                                                 \
	({                                                                                        \
		typeof(((struct name##_totals *)0)->events_of[0].of_##tag.event) *__atlas_event = \
			(void *)(data);                                                           \
		__atlas_event->kind = (tag);                                                      \
		atlas_ring_output(name, __atlas_event, (size));                                   \
	})

/*
 * The number of the system call that saved these registers: the sys_exit
 * tracepoint is not given it. On x86 and arm64 it is -1 after rt_sigreturn,
 * which has no result. Needs <bpf/bpf_core_read.h>, as does the next.
 */
#if defined(__TARGET_ARCH_x86)
#define atlas_syscall_nr(regs) ((long)BPF_CORE_READ((regs), orig_ax))
#elif defined(__TARGET_ARCH_arm64)
#define atlas_syscall_nr(regs) ((long)BPF_CORE_READ((regs), syscallno))
#elif defined(__TARGET_ARCH_riscv)
#define atlas_syscall_nr(regs) ((long)BPF_CORE_READ((regs), a7))
#elif defined(__TARGET_ARCH_s390)
#define atlas_syscall_nr(regs) ((long)(BPF_CORE_READ((regs), int_code) & 0xffff))
#elif defined(__TARGET_ARCH_powerpc)
#define atlas_syscall_nr(regs) ((long)BPF_CORE_READ((regs), gpr[0]))
#elif defined(__TARGET_ARCH_loongarch)
#define atlas_syscall_nr(regs) ((long)BPF_CORE_READ((regs), regs[11]))
#endif

/*
 * Whether the current system call is a 32-bit one, whose number belongs to
 * another table. Known on x86 and arm64; false elsewhere. A direct load where
 * the kernel has bpf_get_current_task_btf (5.11), else five times dearer.
 */
#if defined(__TARGET_ARCH_x86)
#define __ATLAS_COMPAT_FIELD status
#define __ATLAS_COMPAT_BIT   0x2 /* TS_COMPAT */
#elif defined(__TARGET_ARCH_arm64)
#define __ATLAS_COMPAT_FIELD flags
#define __ATLAS_COMPAT_BIT   (1 << 22) /* TIF_32BIT */
#endif

#ifdef __ATLAS_COMPAT_BIT
#define atlas_syscall_is_compat()                                                                  \
	({                                                                                         \
		struct task_struct *__atlas_task;                                                  \
		unsigned long __atlas_info;                                                        \
		if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) { \
			__atlas_task = bpf_get_current_task_btf();                                 \
			__atlas_info = __atlas_task->thread_info.__ATLAS_COMPAT_FIELD;             \
		} else {                                                                           \
			__atlas_task = (void *)bpf_get_current_task();                             \
			__atlas_info =                                                             \
				BPF_CORE_READ(__atlas_task, thread_info.__ATLAS_COMPAT_FIELD);     \
		}                                                                                  \
		(__atlas_info & __ATLAS_COMPAT_BIT) != 0;                                          \
	})
#else
#define atlas_syscall_is_compat() 0
#endif

#endif /* __BPF_ATLAS_H */
