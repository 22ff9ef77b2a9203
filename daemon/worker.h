/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process that meets programs and their peers: takes requests, runs handshakes, answers. */
#ifndef WORKER_H
#define WORKER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "counters.h"
#include "handshake-task.h"
#include "key-log.h"
#include "loaded.h"
#include "network-tally.h"
#include "tracing.h"

/* What a worker is born with. */
struct worker_setup {
	unsigned index; /* from 1 */
	unsigned workers;
	unsigned generation;
	int64_t daemon_started_ms; /* CLOCK_MONOTONIC */
	pid_t daemon_pid;
	const struct loaded *loaded;
	const struct kernel_tls *kernel;
	struct counters *counters;
	int listening_fd; /* the daemon's Unix socket */
	int control_fd;   /* toward the supervisor */
	int relay_socket; /* -1: there is no relay */
	int signer_fd;    /* -1: it is not there, or not needed */
	const struct key_log *key_log;
	struct secrets *secrets;
	const char *store_directory;               /* of what the workers remember together */
	const struct early_data_guard *early_data; /* the supervisor's, to be copied */
	const struct network_tally *networks;      /* NULL: the kernel is not served */
};

struct source;
struct listening;
struct upcall_handshake;

struct worker {
	const struct worker_setup *setup;
	const struct config *config;
	struct event_base *base;
	struct handshake_surroundings surroundings;
	struct offload_nic nic;
	struct tracing tracing;
	struct early_data_guard early_data;
	struct event *accepting;
	struct event *pause;
	struct event *control;
	struct event *deadline;
	LIST_HEAD(source_list, source) sources;
	LIST_HEAD(listening_list, listening) listenings;
	LIST_HEAD(upcall_list, upcall_handshake) upcalls;
	bool finishing;    /* take nothing new */
	bool handing_over; /* and give programs to the next generation */
};

/* The process's main function; descriptors other than the setup's have been closed. Returns an exit
 * status. */
int worker_main(const struct worker_setup *setup);

/* Is called when something of the worker's has ended: a worker that finishes may be done. */
void worker_check_finished(struct worker *worker);
/* Lets some time go by before what could not be done is tried again. 0, or -1: there is no memory for it. */
int worker_pause(struct worker *worker);
/* A program may not take all connections to the daemon: what one user gets of clients-total. */
unsigned worker_clients_per_user(const struct config *config);

#endif
