/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A ring that is another's neighbour. */
#include "test.h"

struct numbered {
	__u32 producer;
	__u32 seq;
	__u64 number;
	__u64 check;
};

ATLAS_RING(others, 4096, struct numbered);

SEC("syscall") int nothing(void *ctx)
{
	return 0;
}
