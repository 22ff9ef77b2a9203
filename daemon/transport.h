/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way of a session's bytes over a socket that belongs to somebody else: never waits, never reads
 * beyond the record that it is in, and knows whether anything moved. What is written is held until
 * transport_flush(): a flight leaves in one piece, which otherwise only TCP_NODELAY, the caller's, would
 * keep from waiting a round trip for an acknowledgement. */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>

/* The most that a handshake may make this process read, in bytes: a chain of certificates fits many
 * times, a peer that never comes to an end does not. */
enum { TRANSPORT_BYTES_MAX = 1024 * 1024 };
/* The most that is held for sending, in bytes: more than the longest flight of GnuTLS. */
enum { TRANSPORT_HELD_MAX = 512 * 1024 };

struct trace;

struct transport {
	int fd; /* the caller's of transport_init */
	gnutls_session_t session;
	uint64_t bytes_in;
	uint64_t bytes_out; /* that left, not those that are held */
	int error;          /* errno of what ended the connection, 0 */
	bool end;           /* the peer's FIN was read */
	bool too_much;      /* TRANSPORT_BYTES_MAX was reached */
	uint8_t first[5];   /* the first bytes that came, min(bytes_in, 5) of them */
	/* Where reading stands in the current record (RFC 8446, 5.1): */
	uint8_t header[5];
	uint8_t header_length;
	uint16_t body_left;
	uint8_t body[2]; /* its first bytes */
	/* What the session wrote and the socket has not taken: */
	struct trace *trace; /* lent; NULL: nobody wants to know */
	uint8_t *held;       /* NULL: nothing yet */
	size_t held_start, held_end, held_capacity;
};

void transport_init(struct transport *transport, int fd);
/* Frees what is held. */
void transport_done(struct transport *transport);
/* Makes the session use it: the library's own way to the socket is never taken, nor its kernel TLS. */
void transport_bind(struct transport *transport, gnutls_session_t session);
/* Sends what is held. 0: all of it, -EAGAIN: some is left, else -errno: the connection is broken. */
int transport_flush(struct transport *transport);
bool transport_holds(const struct transport *transport);
/* Did any byte move, in any direction? */
bool transport_touched(const struct transport *transport);
/* Is nothing of a record read but not all of it? */
bool transport_at_boundary(const struct transport *transport);
/* The number of the alert that came last and in plain, or -1: what came last was something else. */
int transport_plain_alert(const struct transport *transport);
/* Did the first bytes of the peer look like a TLS record? True while too few are there to tell. */
bool transport_looks_like_tls(const struct transport *transport);
/* Throws away what has already come and nobody will read, so that closing the socket does not reset the
 * connection (RFC 1122, 4.2.2.13) and take the alert, sent before, from the peer. Of a poisoned socket
 * only. */
void transport_drain(struct transport *transport);

#endif
