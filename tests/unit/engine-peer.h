/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other end of a connection in the handshake engine's tests: a GnuTLS client or server on a thread
 * of its own, which says and does what it is told and notes what it saw. */
#ifndef ENGINE_PEER_H
#define ENGINE_PEER_H

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define PEER_GREETING "a first word of the peer, right behind its Finished"

struct engine_peer {
	/* What it is told: */
	int fd; /* owned */
	bool server;
	const char *priority;
	gnutls_certificate_credentials_t credentials;
	const char *alpn;        /* one protocol, NULL: none */
	const char *server_name; /* NULL: none */
	bool wants_certificate;  /* as server: of the client */
	int refuses;       /* the alert to refuse the other's certificate with; 0: trusts all */
	size_t piece;      /* bytes per segment; 0: each flight in one */
	bool ends_writing; /* FIN right behind its Finished instead of a greeting */
	unsigned leaves;   /* gone after that many flights less one; 0: stays */
	bool resets;       /* and not with a FIN */
	unsigned max_record_size; /* asks for smaller records; 0: does not */
	/* What it saw: */
	int error;       /* of the handshake or of reading afterwards; 0 */
	int alert;       /* that it received; -1: none */
	bool complete;   /* the handshake, as it sees it */
	char heard[128]; /* the first data that it read */
	/* Its own: */
	gnutls_session_t session;
	pthread_t thread;
	unsigned char held[65536]; /* what it has written and not yet sent */
	size_t held_size;
	unsigned flights;
};

void engine_peer_start(struct engine_peer *peer);
void engine_peer_join(struct engine_peer *peer);

/* Two ends of a TCP connection over loopback. */
void engine_connect(int *ret_one, int *ret_other);

#endif
