// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A gather that looks the values of a key up, CPU by CPU: nothing in it needs the
 * kernel's types. A hash takes the key's hash anew for each.
 */
#include "gather.h"

struct of_key {
	const void *key;
	void *sum;
	bool is_gone;
};

static __always_inline long add_cpu(__u32 cpu, struct of_key *of)
{
	const void *value = bpf_map_lookup_percpu_elem(&source, of->key, cpu);

	if (value)
		add_up(of->sum, value);
	else if (!cpu)
		of->is_gone = true;
	return of->is_gone;
}

static long add_next(__u32 cpu, struct of_key *of)
{
	return add_cpu(cpu, of);
}

static long each(void *map, const void *key, void *value, struct gather_args *args)
{
	void *record = next_record(args);
	struct of_key of = { .key = key };

	if (!record)
		return 0;
	copy(record, key, key_size);
	if (!cpus) {
		copy(record + value_at, value, value_size);
	} else {
		of.sum = record + value_at;
		/* From nothing, as in user space. */
		clear(of.sum, value_size);
		if (loops)
			bpf_loop(cpus, add_next, &of, 0);
		else
			for (__u32 cpu = 0; cpu < cpus && !add_cpu(cpu, &of); cpu++)
				;
		/* Deleted meanwhile, in a hash: it has come to nothing. */
		if (of.is_gone)
			return 0;
	}
	keep(record, args);
	return 0;
}

SEC("syscall") int gather(struct gather_args *ctx)
{
	/* The counters begin with what was handed in, 0: the verifier would count along. */
	struct gather_args args = *ctx;

	bpf_for_each_map_elem(&source, each, &args, 0);
	*ctx = args;
	return 0;
}
