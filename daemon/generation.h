/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All workers of one configuration: started together, replaced one by one, retired together. */
#ifndef GENERATION_H
#define GENERATION_H

#include <poll.h>
#include <stdbool.h>

#include "children.h"
#include "counters.h"
#include "key-log.h"
#include "loaded.h"
#include "offload-kernel.h"
#include "pulse.h"
#include "registry.h"
#include "relays.h"
#include "secrets.h"
#include "source-netlink.h"
#include "unix-socket.h"

struct worker_child {
	struct child child;
	struct pulse pulse;
	int control; /* the supervisor's end, -1 */
	bool ready;
	bool finish_due; /* CONTROL_FINISH is still to be sent */
	bool signer_due; /* likewise, which signer there is now */
	bool lagging;    /* its queue is full: it is told more when it has read */
	uint64_t told;   /* the number of the last listening that it was told of */
};

struct generation {
	struct generation *next;
	unsigned number;                 /* from 1 */
	struct loaded *loaded;           /* owned */
	struct unix_socket *unix_socket; /* lent */
	struct relays *relays;           /* lent */
	const struct kernel_tls *kernel;
	struct counters *counters;
	struct secrets *secrets;                   /* lent */
	struct source_netlink *netlink;            /* lent; NULL: the kernel is not served */
	const char *store_directory;               /* lent */
	const struct early_data_guard *early_data; /* lent */
	int64_t daemon_started_ms;
	struct key_log key_log;
	struct worker_child *workers;
	unsigned worker_count;
	bool retired;
	uint32_t finish_ms;
	bool hand_over;
	unsigned next_worker; /* who gets the next program or request that is passed on */
};

/* Makes one without any process. Takes loaded. NULL: no memory. */
struct generation *generation_new(struct loaded *loaded, unsigned number);
/* Starts all workers and waits until they are ready. -1 with a problem: then none is left. */
int generation_start(struct generation *generation, struct problem *problem);
/* Starts those that are due, tells each of the listenings it does not know, keeps to deadlines. Returns
 * the time of the next thing to do, or INT64_MAX. */
int64_t generation_tend(struct generation *generation, const struct registry *registry,
			int64_t now);
/* Fills what poll() should watch, worker_count of them. */
void generation_poll(const struct generation *generation, struct pollfd *ret_polled);
/* Hears what the workers say; listenings go to the registry, programs of a retired generation to the
 * current one. */
void generation_polled(struct generation *generation, const struct pollfd *polled,
		       struct registry *registry, struct generation *current);
/* Takes note of a death. false: it is none of these. */
bool generation_died(struct generation *generation, pid_t pid, int status,
		     struct registry *registry, struct generation *current);
/* Gives a kernel consumer's request to a worker: its process id, 0: none can take it now. Borrows fds: its
 * socket, and its keys if it has any. */
pid_t generation_give(struct generation *generation, const struct kernel_request *request,
		      const int fds[2]);
/* Lets the workers finish within this time; they are not replaced any more. hand_over: a generation
 * follows, and takes their programs. May be said again. */
void generation_retire(struct generation *generation, uint32_t milliseconds, bool hand_over);
bool generation_gone(const struct generation *generation);
/* Ends at once what still runs. NULL is fine. */
void generation_free(struct generation *generation);

#endif
