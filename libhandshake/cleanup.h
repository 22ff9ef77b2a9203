/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors and objects that are let go where their scope ends; errno stays as it was. */
#ifndef CLEANUP_H
#define CLEANUP_H

#include <errno.h>
#include <unistd.h>

static inline void cleanup_close(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

#define _cleanup_(function) __attribute__((cleanup(function)))
#define _cleanup_close_     _cleanup_(cleanup_close)

/* Hands the descriptor on: the variable gives it up and closes nothing. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* The same for an object: gives the pointer's value and leaves NULL. */
#define pointer_take(pointer)                           \
	({                                              \
		__typeof__(pointer) taken_ = (pointer); \
		(pointer) = NULL;                       \
		taken_;                                 \
	})

#endif
