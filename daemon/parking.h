/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients' sessions that wait for the tickets of their server, which come when the records are already
 * somebody else's: whoever meets one there sends it back here. */
#ifndef PARKING_H
#define PARKING_H

#include <event2/event.h>
#include <gnutls/gnutls.h>

#include "counters.h"
#include "shared-store.h"
#include "ticket-keys.h"

enum {
	PARKING_MAX = 256,           /* sessions of a worker; the oldest makes room. 12 KB each */
	PARKING_MS = 10000,          /* that each may wait for its first, */
	PARKING_MORE_MS = 1000,      /* and for another: servers send all that they send at once */
	PARKING_TICKETS = 4,         /* that are taken of each */
	PARKING_TICKET_SIZE = 16384, /* bytes of a message; a larger one is not kept */
	/* Of one server, for as many connections at a time. */
	PARKING_SLOTS = 4,
};

struct parking;

/* What a ticket is stored with. */
struct parking_key {
	uint8_t context[TICKET_CONTEXT_SIZE];
	unsigned lifetime_s; /* at most */
	uint8_t *head;       /* what stands before the session's data; owned */
	size_t head_size;
};

/* NULL: no memory. counters may be NULL. */
struct parking *parking_new(struct event_base *base, struct shared_store *store,
			    struct counters *counters);
/* Ends all that wait. NULL is fine. */
void parking_free(struct parking *parking);
/* Takes the session, the priorities that are its own (NULL: none), key->head, and the socket (SOCK_SEQPACKET)
 * from which tickets are to be read: whole and with their header, one packet each. */
void parking_add(struct parking *parking, gnutls_session_t tls, gnutls_priority_t priority,
		 const struct parking_key *key, int fd);
/* The store's key of one of the slots. */
void parking_slot(const uint8_t context[TICKET_CONTEXT_SIZE], unsigned slot,
		  uint8_t ret_key[TICKET_CONTEXT_SIZE + 1]);

#endif
