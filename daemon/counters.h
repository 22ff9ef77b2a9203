/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon counts: memory that the supervisor shares with each worker and relay (a memfd).
 * Relaxed atomics, nobody takes a lock to count. Also holds the bounds that go over all workers. */
#ifndef COUNTERS_H
#define COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "outcome.h"

enum counter {
	COUNTER_HANDSHAKES_STARTED,
	COUNTER_HANDSHAKES_ESTABLISHED,
	COUNTER_HANDSHAKES_FAILED,
	COUNTER_FAILED_REQUEST, /* by class, in the order of enum failure_class */
	COUNTER_FAILED_DENIED,
	COUNTER_FAILED_BUSY,
	COUNTER_FAILED_UNSUPPORTED,
	COUNTER_FAILED_TIMEOUT,
	COUNTER_FAILED_CANCELLED,
	COUNTER_FAILED_CLOSED,
	COUNTER_FAILED_ALERT,
	COUNTER_FAILED_NEGOTIATION,
	COUNTER_FAILED_VERIFICATION,
	COUNTER_FAILED_PROTOCOL,
	COUNTER_FAILED_INTERNAL,
	COUNTER_TLS13,
	COUNTER_TLS12,
	COUNTER_KERNEL_RECORDS,
	COUNTER_RELAY_RECORDS,
	COUNTER_NIC_TRANSMIT, /* of those with the kernel's: a NIC makes the records */
	COUNTER_NIC_RECEIVE,
	COUNTER_ZERO_COPY,
	COUNTER_HANDSHAKE_MICROSECONDS, /* sum over the established */
	COUNTER_CONNECTIONS_ACCEPTED,   /* on listenings */
	COUNTER_KEY_UPDATES_RECEIVED,   /* that a program had followed */
	COUNTER_KEY_UPDATES_SENT,
	COUNTER_KEY_UPDATES_FAILED,
	COUNTER_EARLY_DATA_ACCEPTED, /* by servers */
	COUNTER_EARLY_DATA_REJECTED,
	COUNTER_EARLY_DATA_REPLAYED, /* of the rejected: seen before */
	COUNTER_RELAY_BYTES_IN,
	COUNTER_RELAY_BYTES_OUT,
	/* Sessions that clients offered to take up again, and that were, by this side's role: */
	COUNTER_OFFERED_SERVER,
	COUNTER_RESUMED_SERVER,
	COUNTER_OFFERED_CLIENT,
	COUNTER_RESUMED_CLIENT,
	COUNTER_TICKETS_SENT,     /* TLS 1.3 */
	COUNTER_TICKETS_TAKEN,    /* behind a hand-over */
	COUNTER_SESSIONS_STORED,  /* of both roles */
	COUNTER_SESSIONS_EVICTED, /* before their time */
	COUNTER_WORKERS_DIED,
	COUNTER_RELAYS_DIED,
	COUNTER_SIGNERS_DIED,
	COUNTER_KERNEL_REQUESTS, /* of the kernel's own consumers */
	COUNTER_KERNEL_ESTABLISHED,
	COUNTER_KERNEL_FAILED,
	COUNTER_RELOADS,
	COUNTER_RELOADS_REFUSED,
	/* Gauges: */
	COUNTER_CLIENTS,
	COUNTER_LISTENINGS,
	COUNTER_HANDSHAKES_UNDER_WAY,
	COUNTER_KERNEL_UNDER_WAY,
	COUNTER_RELAYED,
	COUNTER_PARKED, /* clients' sessions that wait for tickets */
	COUNTERS,
};

struct counters; /* the shared memory */

/* Makes the shared memory. NULL with errno. */
struct counters *counters_new(void);
/* Maps the memory of a descriptor that counters_fd() gave; for a process that was executed anew. */
struct counters *counters_map(int fd);
/* Unmaps the memory and closes its descriptor. */
void counters_free(struct counters *counters);
int counters_fd(const struct counters *counters);
/* What a process has added to a gauge goes away with it: counters_forget_process(). */
void counters_add(struct counters *counters, enum counter counter, int64_t amount);
uint64_t counters_get(const struct counters *counters, enum counter counter);
/* "handshakes-started", … */
const char *counter_word(enum counter counter);
/* Counts one outcome: established or failed, class, version, record path, time. */
void counters_outcome(struct counters *counters, const struct outcome *outcome);

/* Places under a bound that all workers share, in total and per user. A place that a process held when
 * it died is given back by counters_forget_process(). */
enum place {
	PLACE_HANDSHAKE,
	PLACE_RELAYED,
	PLACE_CLIENT,
	/* Taken by a worker for a handshake whose records will be relayed; counts against the same bound
	 * as PLACE_RELAYED, which it becomes: counters_inherit_relay(). */
	PLACE_RELAY_EXPECTED,
	PLACES,
};
/* true and counted, or false: the bound for the user or in total is reached. 0 as a bound: none. Two
 * processes never take the same last place. */
bool counters_take_place(struct counters *counters, enum place place, uid_t uid, unsigned per_user,
			 unsigned total);
/* A PLACE_RELAY_EXPECTED of that process becomes a PLACE_RELAYED of this one: at no moment is it free for
 * another. false: that process holds none for this user, or is dead. */
bool counters_inherit_relay(struct counters *counters, pid_t holder, uid_t uid);
void counters_give_place(struct counters *counters, enum place place, uid_t uid);

/* Takes the socket with this cookie for this process, among all workers. false: another has it, or one
 * that falls on the same place; in a moment it may succeed. What a dead process had is free again with
 * counters_forget_process(). */
bool counters_claim_socket(struct counters *counters, uint64_t cookie);
void counters_release_socket(struct counters *counters, uint64_t cookie);

void counters_forget_process(struct counters *counters, pid_t pid);

#endif
