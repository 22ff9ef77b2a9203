// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A point in time until which something may take. Touches the monotonic clock. Never waits itself.
 */
#include "internal.h"

#include <limits.h>
#include <time.h>

static int64_t clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct deadline deadline_in(int64_t milliseconds)
{
	return (struct deadline){.at = clock_now() + milliseconds};
}

int deadline_left(struct deadline deadline)
{
	int64_t left = deadline.at - clock_now();

	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}
