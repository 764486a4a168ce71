/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What examples/pid_syscalls.rs does at its shortest, as one writes it in C over libbpf: the
 * same programs of the same object, a batch walk, the CPUs added up, the top 20 printed.
 *
 * Counts that a CPU has not yet handed on (`seats`) are left out.
 *
 *	pid_syscalls OBJECT MILLISECONDS
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 4096
#define TOP   20

struct tally {
	__u64 start_ns;
	__u64 calls;
};

struct count {
	__u32 pid;
	__u64 calls;
};

struct task {
	__u64 start_ns;
	char comm[16];
};

static const char *const wanted[] = { "enter_btf", "fork_raw", "rename_raw" };

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

int main(int argc, char **argv)
{
	int cpus = libbpf_num_possible_cpus(), err, counts, tasks, n = 0;
	struct bpf_program *prog;
	struct bpf_object *object;
	struct count *all;
	struct tally *values;
	__u32 *keys, count, cursor, *from = NULL;

	if (argc != 3 || cpus < 1)
		return die("usage", -EINVAL);
	object = bpf_object__open_file(argv[1], NULL);
	if (!object)
		return die("open", -errno);
	bpf_object__for_each_program(prog, object)
	{
		int is_wanted = 0;

		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			is_wanted |= !strcmp(bpf_program__name(prog), wanted[i]);
		bpf_program__set_autoload(prog, is_wanted);
	}
	err = bpf_object__load(object);
	if (err)
		return die("load", err);
	bpf_object__for_each_program(
		prog, object) if (bpf_program__autoload(prog) &&
				  !bpf_program__attach(prog)) return die("attach", -errno);
	counts = bpf_object__find_map_fd_by_name(object, "counts");
	tasks = bpf_object__find_map_fd_by_name(object, "tasks");
	keys = calloc(BATCH, sizeof(*keys));
	values = calloc(BATCH, sizeof(*values) * cpus);
	all = calloc(10240, sizeof(*all));
	if (counts < 0 || tasks < 0 || !keys || !values || !all)
		return die("maps", -ENOMEM);

	usleep(atoi(argv[2]) * 1000);

	do {
		count = BATCH;
		err = bpf_map_lookup_batch(counts, from, &cursor, keys, values, &count, NULL);
		if (err && err != -ENOENT)
			return die("walk", err);
		for (__u32 i = 0; i < count && n < 10240; i++, n++) {
			all[n].pid = keys[i];
			for (int cpu = 0; cpu < cpus; cpu++)
				all[n].calls += values[(size_t)i * cpus + cpu].calls;
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
