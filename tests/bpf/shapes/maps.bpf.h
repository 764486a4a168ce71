/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Maps that a header declares, for several programs. */
#ifndef __SHAPES_MAPS_H
#define __SHAPES_MAPS_H

#define MAX_SLOTS     26
#define TASK_COMM_LEN 16

typedef unsigned int slot_t;

struct hist {
	slot_t slots[MAX_SLOTS];
	char comm[TASK_COMM_LEN];
};

static __always_inline __u32 log2_slot(__u64 v)
{
	__u32 slot = 0;

	for (int i = 5; i >= 0; i--) {
		if (v >> (1 << i)) {
			v >>= 1 << i;
			slot += 1 << i;
		}
	}
	return slot < MAX_SLOTS ? slot : MAX_SLOTS - 1;
}

#endif
