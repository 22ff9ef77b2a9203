/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The listenings that programs have asked for, and who watches handshakes: kept by the supervisor over
 * reloads and the deaths of workers, until the program's connection ends. */
#ifndef REGISTRY_H
#define REGISTRY_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "counters.h"
#include "request.h"

enum {
	REGISTRY_MAX = 1024,
	REGISTRY_PER_USER = 256,
};

struct registration {
	TAILQ_ENTRY(registration) entry;
	uint64_t number; /* grows: who has been told of one has been told of all before it */
	struct caller caller;
	struct request request;
	int listening_fd; /* -1: it watches (request.operation is REQUEST_TRACE) */
	int connection_fd;
};

struct registry {
	TAILQ_HEAD(registration_list, registration) list; /* by number */
	uint64_t last_number;
	unsigned count;
	struct counters *counters; /* lent: PLACE_CLIENT and COUNTER_LISTENINGS */
};

void registry_init(struct registry *registry, struct counters *counters);
/* Ends all. */
void registry_done(struct registry *registry);
/* Checks the descriptors (a worker that was taken over may have sent anything), registers, and tells the
 * program that it listens, or why not. Takes the descriptors. 0 or -1. */
int registry_add(struct registry *registry, const struct caller *caller,
		 const struct request *request, int listening_fd, int connection_fd,
		 unsigned clients_per_user, unsigned clients_total);
/* The first with a number above this one, or NULL. */
const struct registration *registry_after(const struct registry *registry, uint64_t number);
/* Fills what poll() should watch, registry->count of them. */
void registry_poll(const struct registry *registry, struct pollfd *ret_polled);
/* Ends those whose program has gone, by what poll() found in the same array. */
void registry_polled(struct registry *registry, const struct pollfd *polled, size_t count);

#endif
