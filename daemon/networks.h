/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network namespaces whose consumers are served: the daemon's own, those that the configuration names, and
 * with "namespaces = all" each that has a name; joined as they appear, let go of as they disappear. */
#ifndef NETWORKS_H
#define NETWORKS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "config.h"
#include "network-tally.h"
#include "network.h"

struct network {
	TAILQ_ENTRY(network) entry;
	char *name; /* as configured or in NETWORK_DIRECTORY; NULL: the daemon's own */
	struct network_identity identity;
	struct upcall *
	    upcall; /* NULL: it could not be joined for good: it is not tried again while it is there */
	int line; /* in the tally, or -1 */
	struct network_numbers
	    numbers;       /* under_way keeps it until all are answered; networks_note() */
	bool more;         /* the kernel may have requests */
	bool leaving;      /* its name is gone: nothing is taken any more */
	bool seen;         /* by the present look */
	bool told_failing; /* that requests cannot be taken */
	unsigned failures; /* to take one, in a row */
};

TAILQ_HEAD(network_list, network);

struct networks;

enum { NETWORKS_POLLED = 3 };

/* Joins the daemon's own. 0 and a new object, or -errno with a sentence. */
int networks_new(struct networks **ret_networks, struct problem *problem);
/* NULL is fine. */
void networks_free(struct networks *networks);
/* Lent until the next call. NULL: none is served, not even the daemon's own, until there is one again. What
 * cannot be joined is told by the log. */
void networks_configure(struct networks *networks, const struct config_kernel *config);

/* Nothing is joined or let go of any more, and the configuration is not used: what waits is for the next
 * agent. */
void networks_stop(struct networks *networks);

/* In any order, which the caller may change. */
struct network_list *networks_list(struct networks *networks);
/* How many are served. */
unsigned networks_count(const struct networks *networks);
const struct network_tally *networks_tally(const struct networks *networks);
/* To be called when its numbers have changed. */
void networks_note(struct networks *networks, const struct network *network);

/* Fills what poll() should watch: NETWORKS_POLLED of them. */
void networks_poll(const struct networks *networks, struct pollfd *ret_polled);
/* Takes what they say: "more" is set where requests may wait. */
void networks_polled(struct networks *networks, const struct pollfd *polled);
/* Joins and lets go. Returns the time of the next thing to do, or INT64_MAX. */
int64_t networks_tend(struct networks *networks, int64_t now);

#endif
