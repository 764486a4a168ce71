/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#define ENTRIES 16
#define FIELDS         \
	__u64 packets; \
	__u64 bytes;   \
	__u32 errors;  \
	__u32 drops;
#include "pinned.h"
