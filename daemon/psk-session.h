/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pre-shared keys in one handshake: offered or looked up, and what came of it. */
#ifndef PSK_SESSION_H
#define PSK_SESSION_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "outcome.h"
#include "psk.h"

struct profile;
struct session;

struct psk_session {
	gnutls_psk_client_credentials_t client; /* NULL: not a client's */
	bool asked;                             /* server: the client offered the identity below */
	bool found;
	bool no_memory; /* server: there was none to give the library the key in */
	bool too_new;   /* a key of SHA-384, which this library does not know */
	bool sha384;    /* server: what the credentials that it has are for */
	int32_t serial; /* of a key that came with the kernel's request; 0: it is none of these */
	char identity[PSK_IDENTITY_TEXT_SIZE];
};

/* The credentials of a profile's server; they find keys through the session. 0 or -1 with a problem. */
int psk_session_credentials(struct profile *profile, struct problem *problem);
/* Server: when a ClientHello has been read by hello.c, before the library looks at it. A negative GnuTLS error
 * ends the handshake. */
int psk_session_hello(struct session *session);
/* Gives the session what the decision says. 0 or a negative GnuTLS error. */
int psk_session_set(struct session *session);
/* Whether the handshake was done with a pre-shared key, so that both sides have proved to have it. */
bool psk_session_used(const struct session *session);
/* Says so where the key is one that this library cannot use. false: that is not it. */
bool psk_session_too_new(const struct session *session, struct failure *failure);
/* Sets what a failed handshake is to say where a pre-shared key was the reason. false: it was not. */
bool psk_session_tell(struct failure *failure, int error, const struct session *session,
		      int *ret_alert);
void psk_session_done(struct psk_session *psk);

#endif
