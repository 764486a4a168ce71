/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What examples/pid_syscalls.rs does at its shortest, as a careful programmer writes it in C
 * over libbpf: the same programs and maps of the same object, which is part of the program,
 * a batch walk of the seats and then one of the counts, the CPUs added up, the top 20 printed.
 *
 * Left out: which processes are over, what was lost, rates, and any look at whether the types
 * here are those of the maps.
 *
 *	pid_syscalls MILLISECONDS
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 4096
#define MOST  10240
#define SEATS 32
#define TOP   20

struct tally {
	__u64 start_ns;
	__u64 calls;
};

struct seat {
	__u64 taken;
	__u64 mark;
	__u64 calls;
	__u64 start_ns;
	__u32 tgid;
	__u32 unused;
	__u64 taking;
};

struct task {
	__u64 start_ns;
	char comm[16];
};

struct count {
	__u32 pid;
	__u64 calls;
};

struct constants {
	__u8 count_by_pid, count_by_syscall, filter_pids;
};

/* The object: OBJECT is its path while this is compiled. */
extern const char object_begin[], object_end[];
__asm__(".pushsection .rodata\n"
	".balign 16\n"
	"object_begin: .incbin \"" OBJECT "\"\n"
	"object_end: .popsection\n");

/* What counts comes last. */
static const char *const wanted[] = { "fork_raw", "rename_raw", "enter_btf" };
#define WANTED (sizeof(wanted) / sizeof(wanted[0]))

static int cpus;

static int by_calls(const void *a, const void *b)
{
	__u64 x = ((const struct count *)a)->calls, y = ((const struct count *)b)->calls;

	return (x < y) - (x > y);
}

static int die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	return 1;
}

static struct bpf_object *load(void)
{
	const struct constants constants = { .count_by_pid = 1 };
	struct bpf_object *object;
	struct bpf_program *prog;
	struct bpf_map *map;
	size_t i;

	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "pid_syscalls");
	object = bpf_object__open_mem(object_begin, object_end - object_begin, &opts);
	if (!object)
		return NULL;
	bpf_object__for_each_program(prog, object) bpf_program__set_autoload(prog, false);
	for (i = 0; i < WANTED; i++) {
		prog = bpf_object__find_program_by_name(object, wanted[i]);
		if (!prog)
			return NULL;
		bpf_program__set_autoload(prog, true);
	}
	map = bpf_object__find_map_by_name(object, ".rodata");
	if (!map || bpf_map__set_initial_value(map, &constants, sizeof(constants)))
		return NULL;
	/* No filter, and not by number. */
	map = bpf_object__find_map_by_name(object, "pids");
	if (!map || bpf_map__set_max_entries(map, 1))
		return NULL;
	map = bpf_object__find_map_by_name(object, "by_syscall");
	if (!map || bpf_map__set_max_entries(map, 1))
		return NULL;
	if (bpf_object__load(object))
		return NULL;
	for (i = 0; i < WANTED; i++) {
		prog = bpf_object__find_program_by_name(object, wanted[i]);
		if (!bpf_program__attach(prog))
			return NULL;
	}
	return object;
}

/* Every CPU's seats, one after another; each read of one process. */
static int read_seats(int fd, struct seat *seats)
{
	__u32 keys[SEATS], cursor, count = SEATS;
	int err = bpf_map_lookup_batch(fd, NULL, &cursor, keys, seats, &count, NULL);

	if (err && err != -ENOENT)
		return err;
	for (__u32 at = 0; at < SEATS; at++) {
		struct seat *row = seats + (size_t)at * cpus;

		for (int cpu = 0; cpu < cpus;) {
			if (row[cpu].taken == row[cpu].taking) {
				cpu++;
				continue;
			}
			err = bpf_map_lookup_elem(fd, &at, row);
			if (err)
				return err;
			cpu = 0;
		}
	}
	return 0;
}

/* A process on all CPUs: on each, what its seat there has, or else what it left. */
static __u64 total(__u32 pid, const struct tally *tallies, const struct seat *seats)
{
	const struct seat *row = seats + (size_t)(pid % SEATS) * cpus;
	__u64 start = 0, calls = 0;
	int cpu;

	for (cpu = 0; cpu < cpus; cpu++)
		if (tallies[cpu].start_ns > start)
			start = tallies[cpu].start_ns;
	for (cpu = 0; start && cpu < cpus; cpu++) {
		__u64 here = tallies[cpu].calls;

		if (tallies[cpu].start_ns != start)
			continue;
		if (row[cpu].tgid == pid && row[cpu].start_ns == start && row[cpu].calls > here)
			here = row[cpu].calls;
		calls += here;
	}
	return calls;
}

int main(int argc, char **argv)
{
	int err, counts, tasks, seats_fd, n = 0;
	struct bpf_object *object;
	struct tally *values;
	struct count *all;
	struct seat *seats;
	__u32 *keys, count, cursor, *from = NULL;

	cpus = libbpf_num_possible_cpus();
	if (argc != 2 || cpus < 1)
		return die("usage", -EINVAL);
	object = load();
	if (!object)
		return die("load", -errno);
	counts = bpf_object__find_map_fd_by_name(object, "counts");
	tasks = bpf_object__find_map_fd_by_name(object, "tasks");
	seats_fd = bpf_object__find_map_fd_by_name(object, "seats");
	keys = calloc(BATCH, sizeof(*keys));
	values = calloc(BATCH, sizeof(*values) * cpus);
	seats = calloc(SEATS, sizeof(*seats) * cpus);
	all = calloc(MOST, sizeof(*all));
	if (counts < 0 || tasks < 0 || seats_fd < 0 || !keys || !values || !seats || !all)
		return die("maps", -ENOMEM);

	usleep(atoi(argv[1]) * 1000);

	err = read_seats(seats_fd, seats);
	if (err)
		return die("seats", err);
	do {
		count = BATCH;
		err = bpf_map_lookup_batch(counts, from, &cursor, keys, values, &count, NULL);
		if (err && err != -ENOENT)
			return die("walk", err);
		for (__u32 i = 0; i < count && n < MOST; i++, n++) {
			all[n].pid = keys[i];
			all[n].calls = total(keys[i], values + (size_t)i * cpus, seats);
		}
		from = &cursor;
	} while (!err);
	qsort(all, n, sizeof(*all), by_calls);
	for (int i = 0; i < n && i < TOP; i++) {
		struct task task = {};

		bpf_map_lookup_elem(tasks, &all[i].pid, &task);
		printf("%7u %12llu %.16s\n", all[i].pid, all[i].calls, task.comm);
	}
	fflush(stdout);
	bpf_object__close(object);
	return 0;
}
