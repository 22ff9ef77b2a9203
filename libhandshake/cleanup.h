/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors and memory that are let go where their scope ends; errno stays as it was. */
#ifndef CLEANUP_H
#define CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void cleanup_free(void *pointer)
{
	int saved = errno;

	free(*(void **)pointer);
	errno = saved;
}

#define _cleanup_(function) __attribute__((cleanup(function)))
#define _cleanup_close_ _cleanup_(cleanup_close)
#define _cleanup_free_ _cleanup_(cleanup_free)

/* Hands the descriptor on: the variable gives it up and closes nothing. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
