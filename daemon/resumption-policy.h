/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a session is bound to. The TLS library would resume under another name, another ALPN policy, and past
 * a client certificate that has become required. */
#ifndef RESUMPTION_POLICY_H
#define RESUMPTION_POLICY_H

#include <stdint.h>

#include "policy.h"
#include "problem.h"
#include "ticket-keys.h"

/* What of a profile matters whoever asks; made once when it is loaded. */
struct resumption_policy {
	uint8_t settings[32];     /* every line of the profile that means something to a session */
	uint8_t trust[32];        /* whose certificates are believed, and what is revoked */
	uint8_t certificates[32]; /* its own */
	/* Of the profile's ticket-key-files; none: the daemon's own secrets. */
	uint8_t (*secrets)[TICKET_SECRET_SIZE];
	unsigned secret_count;
};

/* 0, or -1 and a sentence. */
int resumption_policy_new(const struct profile *profile, struct resumption_policy **ret_policy,
			  struct problem *problem);
/* Wipes. NULL is fine. */
void resumption_policy_free(struct resumption_policy *policy);
/* The binding of one handshake. A server's name is what the client asked for ("" for none); a client's peer is
 * "NAME ADDRESS PORT USER". protocol: the application protocol that a server's early data is for, "" where it
 * takes none. Whoever lets a request tighten its profile in a new way adds it there. 0 or -1. */
int resumption_context(const struct decision *decision, const char *peer, const char *protocol,
		       uint8_t ret_context[TICKET_CONTEXT_SIZE]);

#endif
