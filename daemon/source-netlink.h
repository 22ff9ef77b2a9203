/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests of the kernel's own consumers (NFS, NVMe/TCP), in the supervisor: taken from the kernel, given to
 * workers, and answered exactly once whatever becomes of the worker. */
#ifndef SOURCE_NETLINK_H
#define SOURCE_NETLINK_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "counters.h"
#include "kernel-request.h"
#include "networks.h"
#include "problem.h"

struct source_netlink;

enum { SOURCE_NETLINK_POLLED = NETWORKS_POLLED };

/* Gives a request with its socket and its keys (-1: none) to some worker: the worker's process id, 0: none can
 * take one now. Borrows fds. */
typedef pid_t source_netlink_give(void *context, const struct kernel_request *request,
				  const int fds[2]);

/* Becomes the kernel's agent. 0 and a new object, or -errno with a sentence. */
int source_netlink_new(struct counters *counters, source_netlink_give *give, void *context,
		       struct source_netlink **ret_source, struct problem *problem);
/* Answers all that is under way with ETIMEDOUT, so that consumers try again. NULL is fine. */
void source_netlink_free(struct source_netlink *source);
/* What the requests that come from now on are served by; lent, until the next call. NULL: nobody is
 * served any more, which consumers hear at once; what is under way is brought to its end. */
void source_netlink_configure(struct source_netlink *source, const struct config_kernel *config,
			      struct signer *signer);
/* The daemon ends: nothing is taken any more, and what waits is left to the next agent. */
void source_netlink_stop(struct source_netlink *source);
/* The signer is about to end, with all keys that requests have given it. */
void source_netlink_forget_signer(struct source_netlink *source, const struct signer *signer);

/* What was served in each network namespace; lent. */
const struct network_tally *source_netlink_tally(const struct source_netlink *source);

/* Fills what poll() should watch: SOURCE_NETLINK_POLLED of them. */
void source_netlink_poll(const struct source_netlink *source, struct pollfd *ret_polled);
void source_netlink_polled(struct source_netlink *source, const struct pollfd *polled);
/* Gives out what waits, answers what took too long. Returns the time of the next thing to do, or INT64_MAX. */
int64_t source_netlink_tend(struct source_netlink *source, int64_t now);
/* A worker's word: checked against what that worker was given. peer: the peer's certificate, borrowed, or -1. */
void source_netlink_answer(struct source_netlink *source, pid_t worker,
			   const struct kernel_answer *answer, int peer);
/* A worker has died: what it had is answered. */
void source_netlink_died(struct source_netlink *source, pid_t worker);

#endif
