/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Early data (0-RTT, RFC 8446, 2.3) of one session. As a server: which is taken, and what came. As a
 * client: what is offered, and whether the server took it. It never enters the stream, and it is for the
 * program to know that a client may send it again.
 *
 * What a server takes is handed over after the client's Finished, which a replayed first flight never
 * has: the replay table (RFC 8446, 8.2) is the second line, for what the library does before.
 */
#ifndef EARLY_DATA_H
#define EARLY_DATA_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "counters.h"
#include "hello-early.h"
#include "outcome.h"
#include "policy.h"
#include "shared-store.h"

/* Where the hellos are kept whose early data was taken; lives as long as the workers' store does. The
 * library's part of it refuses what a ticket brings that is older than itself. */
struct early_data_guard {
	gnutls_anti_replay_t library;
	struct shared_store *store; /* a worker's */
	struct counters *counters;
};

struct early_data {
	struct early_data_guard *guard; /* NULL: nothing is taken */
	gnutls_session_t tls;
	const struct decision *decision;
	gnutls_priority_t priority; /* what the server chooses from; borrowed */
	unsigned hellos;            /* that the client sent */
	bool offered;               /* by whoever is the client */
	bool taken;                 /* the library was told to take it, or the server took it */
	bool retried;               /* client: the server wanted another key share */
	bool retried_before;        /* client: on the ticket's connection, too */
	bool fits;                  /* the first hello is as it must be, but for its ticket */
	uint16_t suite;             /* that the server will choose with the ticket */
	/* Of the first hello, where it fits: */
	uint8_t binder[HELLO_EARLY_BINDER];
	unsigned binder_size;
	uint8_t *bytes; /* that came */
	size_t size;
	/* Client: the application protocol of the ticket's connection. Server: that which will be agreed on,
	 * which a ticket is bound to. "": none. */
	char alpn[REQUEST_ALPN_SIZE];
	const char *reason; /* why not, one sentence without its full stop; NULL: none yet */
};

/* What a program wants its client to send. */
struct early_data_offer {
	uint8_t *bytes; /* NULL: nothing */
	size_t size;
};

/* Makes the guard's library part; for the supervisor, before it forks the first worker. 0 or -ENOMEM. */
int early_data_guard_open(struct early_data_guard *guard);
void early_data_guard_close(struct early_data_guard *guard);

/* Copies what the memfd of a stranger holds. 0, or -1 with a failure of class request; busy: no memory. */
int early_data_offer_read(int fd, struct early_data_offer *ret_offer, struct failure *failure);
/* Takes what *offer has and gives it to the library, where profile and ticket allow; after the session has its
 * ticket, before its handshake. alpn: what the connection of the ticket agreed on, "": nothing; NULL: there
 * is no ticket. */
int early_data_send(struct early_data *early, struct early_data_offer *offer, const char *alpn);
void early_data_offer_done(struct early_data_offer *offer);

/* Flags of the session to be made. */
unsigned early_data_flags(const struct decision *decision);
/* A server's, before its handshake. guard NULL: all is refused. 0 or a GnuTLS error. */
int early_data_open(struct early_data *early, gnutls_session_t tls, const struct decision *decision,
		    gnutls_priority_t priority, struct early_data_guard *guard);
/* A ClientHello came, without its header. */
void early_data_hello(struct early_data *early, const gnutls_datum_t *message);
/* A HelloRetryRequest goes out, or has come in. 0, or a GnuTLS error: the library cannot go on. */
int early_data_retry(struct early_data *early, bool incoming);
/* Between the library's turns: takes what came. 0 or a GnuTLS error, with a failure where it is too
 * much. */
int early_data_receive(struct early_data *early, struct failure *failure);
/* The handshake is complete, no ticket has been sent: the last checks. 0 or a GnuTLS error. */
int early_data_finish(struct early_data *early);
/* Writes what the program is to know; gives the bytes to the outcome. 0 or -errno. */
int early_data_describe(struct early_data *early, struct outcome *outcome);
/* Wipes and frees what is held. */
void early_data_close(struct early_data *early);

#endif
