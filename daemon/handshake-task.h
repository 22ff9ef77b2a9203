/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One handshake under way in a worker: from a decision and a socket to an outcome, within its deadline.
 * Knows nothing of who asked. */
#ifndef HANDSHAKE_TASK_H
#define HANDSHAKE_TASK_H

#include <event2/event.h>

#include "counters.h"
#include "early-data.h"
#include "offload-kernel.h"
#include "offload-nic.h"
#include "outcome.h"
#include "policy.h"
#include "secrets.h"
#include "shared-store.h"

struct key_log;
struct tracing;

struct parking;

/* What all handshakes of a worker share. */
struct handshake_surroundings {
	struct event_base *base;
	const struct kernel_tls *kernel;
	const struct offload_nic *nic;       /* where it is seen whether a NIC makes the records */
	int relay_socket;                    /* -1: there is no relay */
	struct signing *signing;             /* the way to the private keys; NULL: there is none */
	const struct secrets *secrets;       /* that all workers share; NULL: no tokens are made */
	struct shared_store *store;          /* what they remember together */
	struct early_data_guard *early_data; /* NULL: servers take none */
	struct tracing *tracing;             /* NULL: nobody watches */
	const struct key_log *key_log;       /* NULL: there is none */
	struct counters *counters;
	struct parking *parking; /* NULL: no client's session waits for tickets */
};

struct handshake_task;

/* Called once, from the event loop (never from within handshake_task_start). The outcome is lent until
 * the call returns; the callee may take descriptors and strings out of it (setting -1, NULL). The socket is
 * watched no more and may be closed; the task is gone when the call returns. */
typedef void handshake_task_done(void *context, struct outcome *outcome);

/* Begins. Borrows fd until done is called or cancel returns (it is this process's duplicate of the caller's
 * socket; the file is shared with the caller: its flags and options are left alone). uid is charged for a
 * relayed connection. NULL with errno ENOMEM: done is not called, the socket is untouched. */
struct handshake_task *handshake_task_start(const struct handshake_surroundings *surroundings,
					    const struct decision *decision, uid_t uid, int fd,
					    handshake_task_done *done, void *context);
/* Before the event loop turns: what a client is to send early. Takes what the offer has. */
void handshake_task_offer(struct handshake_task *task, struct early_data_offer *offer);
/* Gives up at once: sends user_canceled/close_notify if bytes moved and it can be sent without waiting,
 * frees. done is not called. Returns the state the socket was left in. */
enum outcome_state handshake_task_cancel(struct handshake_task *task);

#endif
