/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One program's listening TCP socket in one worker: accept, handshake, deliver. */
#ifndef LISTENING_H
#define LISTENING_H

#include "request.h"
#include "worker.h"

enum {
	LISTENING_WAITING_MAX = 16
}; /* established connections that the program has not taken yet */

/* Begins, if the policy still allows it; otherwise tells the program and ends the listening for all
 * workers. Takes both descriptors. */
void listening_begin(struct worker *worker, const struct caller *caller,
		     const struct request *request, int listening_fd, int connection_fd);
/* All of the worker's: accept no more, deliver what is under way, end. */
void listening_finish_all(struct worker *worker);
/* End at once in this worker. */
void listening_end_all(struct worker *worker);

#endif
