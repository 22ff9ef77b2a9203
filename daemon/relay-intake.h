/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loop of a relay process: takes connections from workers, within the bounds, until it is told to
 * stop and the last one is gone. */
#ifndef RELAY_INTAKE_H
#define RELAY_INTAKE_H

#include <event2/event.h>

#include "counters.h"

struct relay_limits {
	unsigned total;       /* relayed connections, over all relays; 0: no bound */
	unsigned per_user;    /* likewise */
	unsigned descriptors; /* that this process may have open */
};

/*
 * Serves until no more can come and none is left: socket (workers' SOCK_SEQPACKET, stays the caller's)
 * is at its end, or SIGTERM or SIGINT came; a second such signal cuts the connections that are left.
 * The two should be blocked; they are unblocked here, when they no longer kill what waits in socket.
 * foreign_start() must have been called. 0, or -errno.
 */
int relay_intake_run(struct event_base *base, int socket, struct counters *counters,
		     const struct relay_limits *limits);

#endif
