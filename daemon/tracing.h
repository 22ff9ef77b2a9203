/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which handshakes of a worker are traced, and where their traces go: to the program that asked for its
 * own, and to the administrators' programs that watch (operation "trace"). */
#ifndef TRACING_H
#define TRACING_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "loaded.h"
#include "outcome.h"
#include "policy.h"
#include "request.h"
#include "trace.h"

enum { TRACES_UNDER_WAY_MAX = 1024 }; /* in one worker; further ones are not traced, and counted */

struct watcher;

struct tracing {
	struct event_base *base;
	const struct loaded *loaded;
	LIST_HEAD(watcher_list, watcher) watchers;
	unsigned under_way;
};

void tracing_init(struct tracing *tracing, struct event_base *base, const struct loaded *loaded);
/* Ends all watching here; the programs' connections live on in other workers. */
void tracing_done(struct tracing *tracing);
/* Somebody watches from now on. Takes connection_fd. Where the policy does not allow it (any more), ends
 * that connection for all workers. */
void tracing_watch(struct tracing *tracing, const struct caller *caller,
		   const struct request *request, int connection_fd);

/* A handshake begins on fd: its trace, or NULL where nobody wants one. tracing NULL: nobody watches. */
struct trace *tracing_begin(struct tracing *tracing, const struct decision *decision, uid_t uid,
			    int fd);
/* It has ended: whoever watches gets the trace, the outcome too where the program itself asked for it.
 * Frees the trace (NULL is fine). */
void tracing_end(struct tracing *tracing, struct trace *trace, const struct decision *decision,
		 struct outcome *outcome);

#endif
