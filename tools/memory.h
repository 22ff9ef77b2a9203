/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that is let go where its scope ends; errno stays as it was. */
#ifndef MEMORY_H
#define MEMORY_H

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"

static inline void memory_release(void *pointer)
{
	int saved = errno;

	free(*(void **)pointer);
	errno = saved;
}

#define _cleanup_memory_ _cleanup_(memory_release)

#endif
