/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One relayed connection: its descriptors, its two directions, and how it ends. */
#ifndef RELAY_CONNECTION_H
#define RELAY_CONNECTION_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include <event2/event.h>

#include "counters.h"
#include "offload-relay.h"
#include "relay-buffer.h"

enum {
	/* Milliseconds. An open connection has no deadline; once nobody at the program's side holds it
	 * any more, or it has failed, there are these: */
	RELAY_STALL_MAX = 30000,    /* without the peer confirming a byte of what is left */
	RELAY_CLOSING_MAX = 300000, /* for all of the closing */
	RELAY_LINGER_MAX = 5000,    /* for the peer's FIN, when all else is done */
};

struct relay_connection;

/* What the connections of a relay process share. */
struct relay_surroundings {
	struct event_base *base;
	LIST_HEAD(relay_connections, relay_connection) connections; /* all of them */
	struct relay_pool pool;
	struct counters *counters;
};

/* Called once, when everything that the connection had is closed and freed. uid is the request's. */
typedef void relay_connection_gone(void *context, uid_t uid, bool refused);

/* Takes the descriptors (in the order of struct relay_request; the last may be -1), whatever happens. The keys stay the
 * caller's to wipe. refused: a bound forbids it; the peer gets the alert internal_error and the program
 * its end, in good order. 0, or -errno: the TCP connection was reset. gone may be called before this
 * returns. */
int relay_connection_start(struct relay_surroundings *surroundings,
			   const struct relay_request *request, const int fds[RELAY_REQUEST_FDS],
			   bool refused, relay_connection_gone *gone, void *context);

/* Cuts all that are left, at once: truncated for the program, reset for the peer. */
void relay_connection_cut_all(struct relay_surroundings *surroundings);

#endif
