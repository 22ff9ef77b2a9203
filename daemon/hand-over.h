/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What one worker was asked for and all are to do: it goes to the supervisor, which keeps it in the
 * register. */
#ifndef HAND_OVER_H
#define HAND_OVER_H

#include "worker.h"

/* Checks that the caller may, and passes duplicates on; descriptors stay the caller's. 0, or -1 with a
 * failure: nothing has changed. */
int hand_over_listening(struct worker *worker, const struct caller *caller,
			const struct request *request, int fd, int connection_fd,
			struct failure *failure);
int hand_over_tracing(struct worker *worker, const struct caller *caller,
		      const struct request *request, int connection_fd, struct failure *failure);

#endif
