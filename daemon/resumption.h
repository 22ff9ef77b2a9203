/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A session's part in resumption: as server, which keys its tickets have and which it takes; what both roles
 * count. */
#ifndef RESUMPTION_H
#define RESUMPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "handshake-task.h"
#include "ticket-keys.h"
#include "verify.h"

struct session;

struct resumption {
	const struct handshake_surroundings *surroundings; /* NULL: nothing is resumed or stored */
	bool enabled;
	bool offered; /* by the client */
	bool bound;   /* the context is known */
	uint8_t context[TICKET_CONTEXT_SIZE];
	/* Client, of the session that was offered: */
	bool ticket;                      /* it is one of TLS 1.3 */
	bool retried;                     /* its server wanted another key share */
	char alpn[REQUEST_ALPN_SIZE];     /* what its connection agreed on; "": nothing */
	struct verification verification; /* of its server, today */
};

/* Whether the decision and what surrounds it let sessions be resumed at all. */
bool resumption_is_enabled(const struct decision *decision,
			   const struct handshake_surroundings *surroundings);
/* Before the handshake, with session->resumption.enabled as above. 0 or a GnuTLS error. */
int resumption_open(struct session *session);
/* Server: a ClientHello has been read, and the library has not looked at it yet: the only moment at which
 * keys can be chosen by what it says. 0 or a GnuTLS error. */
int resumption_hello(struct session *session);
/* The handshake is complete and the peer is verified: a server sends its tickets, which are held for sending
 * like the handshake itself, a client keeps a session of TLS 1.2; counts. 0 or a GnuTLS error. */
int resumption_complete(struct session *session);

#endif
