/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thread of a load. Between load.c and load-lane.c alone. */
#ifndef PERF_LOAD_LANE_H
#define PERF_LOAD_LANE_H

#include <pthread.h>
#include <stdatomic.h>

#include "load.h"

enum load_phase { LOAD_WARMING, LOAD_COUNTING, LOAD_COUNTED, LOAD_ENDING };

struct load_shared {
	const struct load_settings *settings;
	gnutls_priority_t priorities;
	_Atomic int phase;
	_Atomic unsigned active; /* connections of which one was as it is to be */
	_Atomic uint64_t done;
	_Atomic uint64_t failed_in_a_row;
	pthread_mutex_t told; /* around what follows */
	char version[32], suite[128], group[32];
	char error[256];
};

struct lane_slot {
	gnutls_session_t session; /* NULL: waits for its next turn */
	gnutls_datum_t ticket;    /* of the connection before */
	int fd;
	bool complete; /* the handshake is; its end is awaited */
	bool resuming; /* this connection offers a ticket */
	bool active;   /* has been counted as such */
	bool provided; /* has a ticket for the next one */
	double began;
};

struct lane {
	struct load_shared *shared;
	pthread_t thread;
	int epoll;
	struct lane_slot *slots;
	unsigned slot_count;
	uint64_t done, failed, not_resumed, early;
	struct samples latencies;
	bool out_of_memory;
};

/* The thread's function; ends when the phase is LOAD_ENDING. Owns nothing of the lane's. */
void *lane_run(void *lane);

#endif
