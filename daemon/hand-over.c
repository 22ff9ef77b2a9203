// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * From a worker to the supervisor: listenings, and programs that watch. Touches the socket between the two.
 * Never waits for it, and never keeps a descriptor.
 */
#include "hand-over.h"

#include <string.h>

#include "control.h"
#include "foreign.h"
#include "policy.h"
#include "socket.h"

static int pass(struct worker *worker, enum control_kind kind, const struct caller *caller,
		const struct request *request, const int *fds)
{
	struct control control;

	memset(&control, 0, sizeof(control));
	control.kind = kind;
	control.caller = *caller;
	control.request = *request;
	return control_send(worker->setup->control_fd, &control, fds);
}

int hand_over_listening(struct worker *worker, const struct caller *caller,
			const struct request *request, int fd, int connection_fd,
			struct failure *failure)
{
	const int fds[CONTROL_FDS] = {fd, connection_fd};
	struct decision decision;

	if (!foreign_is_socket(fd))
		return failure_set(
			   failure, FAILURE_REQUEST, false,
			   "The descriptor that came with the request is no socket: hand over a "
			   "listening TCP socket"),
		       -1;
	if (policy_decide(worker->setup->loaded, caller, request, &decision, failure) < 0 ||
	    socket_check_listening(fd, failure) < 0)
		return -1;
	if (pass(worker, CONTROL_LISTEN, caller, request, fds) < 0)
		return failure_set(failure, FAILURE_BUSY, true,
				   "The daemon cannot take another listening now: try again"),
		       -1;
	return 0;
}

int hand_over_tracing(struct worker *worker, const struct caller *caller,
		      const struct request *request, int connection_fd, struct failure *failure)
{
	if (policy_decide_trace(worker->setup->loaded, caller, failure) < 0)
		return -1;
	if (pass(worker, CONTROL_TRACE, caller, request, &connection_fd) < 0)
		return failure_set(failure, FAILURE_BUSY, true,
				   "The daemon cannot show handshakes now: try again"),
		       -1;
	return 0;
}
