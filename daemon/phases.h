/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a handshake's time goes. At each moment it is in one phase, so that the phases' times add up to
 * the whole. */
#ifndef PHASES_H
#define PHASES_H

#include <event2/event.h>
#include <stdint.h>

enum phase {
	PHASE_QUEUE,       /* it could go on, but the worker had others before it */
	PHASE_PEER,        /* the peer, and the way to it */
	PHASE_COMPUTATION, /* the worker's own */
	PHASE_SIGNER,      /* the signer, and the way to it */
	PHASE_KEYS,        /* preparing the socket for keys, taking them out, installing them */
	PHASE_COUNT,
};

struct phases {
	uint64_t spent[PHASE_COUNT]; /* microseconds */
	uint64_t since;              /* CLOCK_MONOTONIC, microseconds */
	enum phase now;
};

/* It is there, and in the queue. */
void phases_start(struct phases *phases);
/* It is its turn, in a callback of the loop: what it waited for came before the loop's turn began, and since
 * then it was in the queue. From now on it computes. */
void phases_wake(struct phases *phases, struct event_base *base);
void phases_enter(struct phases *phases, enum phase phase);
/* Ends the last phase. Returns the sum. */
uint64_t phases_end(struct phases *phases);

#endif
