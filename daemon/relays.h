/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay processes, seen by the supervisor. Their sockets stay when one dies: its successor finds the
 * requests that waited. */
#ifndef RELAYS_H
#define RELAYS_H

#include <stdbool.h>

#include "children.h"
#include "config.h"
#include "counters.h"

struct relay_child {
	struct child child;
	int worker_end; /* what workers inherit */
	int relay_end;
	bool told; /* that its socket is shut */
};

struct relays {
	struct relays *next;
	struct relay_child *list;
	unsigned count;
	unsigned users; /* generations of workers that hand connections to them */
	unsigned total, per_user;
	uid_t uid;
	gid_t gid;
	enum config_log_level log_level;
};

/* Starts config->relays of them. NULL with a problem. */
struct relays *relays_new(const struct config *config, struct counters *counters,
			  struct problem *problem);
/* Whether the running ones are what config asks for, and take connections. */
bool relays_fit(const struct relays *relays, const struct config *config);
/* The socket for a worker, -1: there is no relay. */
int relays_socket(const struct relays *relays, unsigned worker);
/* Starts those that are due. Returns the time of the next one, or INT64_MAX. */
int64_t relays_tend(struct relays *relays, struct counters *counters, int64_t now);
/* Whether the socket of one is shut, so that neither it nor a successor takes anything more and all must be
 * made anew: a relay does it that is told to stop, and a worker could. Says so once, and again when one has
 * died since. */
bool relays_spoiled(struct relays *relays);
/* Takes note of a death. false: it is none of these. */
bool relays_died(struct relays *relays, struct counters *counters, pid_t pid, int status);
/* Closes the sockets: each relay ends with its last connection. */
void relays_retire(struct relays *relays);
/* Whether it is retired and all have ended. */
bool relays_gone(const struct relays *relays);
void relays_free(struct relays *relays);

#endif
