/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A GnuTLS session as a decision wants it: made, checked at the end of the handshake, described, freed. */
#ifndef SESSION_H
#define SESSION_H

#include <gnutls/gnutls.h>

#include "early-data.h"
#include "hello.h"
#include "offload-kernel.h"
#include "outcome.h"
#include "policy.h"
#include "psk-session.h"
#include "resumption.h"
#include "traffic-keys.h"
#include "transport.h"
#include "verify.h"

struct key_log;
struct trace;

struct session {
	gnutls_session_t tls; /* NULL: closed */
	const struct decision *decision;
	bool verified; /* the library asked for the verification below */
	struct verification verification;
	struct psk_session psk;
	struct traffic_secrets secrets;
	struct hello hello; /* the peer's */
	struct early_data early;
	struct resumption resumption;
	gnutls_priority_t priority;            /* its own, NULL where it has the profile's */
	gnutls_priority_t narrowed;            /* what a ClientHello made of them, or NULL */
	const struct kernel_tls *kernel;       /* whose ciphers alone are offered; NULL: any */
	const char *server_name;               /* that the client sent; "" if none; lent */
	struct trace *trace;                   /* lent; NULL: nobody wants to know */
	const struct key_log *key_log;         /* lent; NULL: there is none */
	gnutls_certificate_credentials_t none; /* no certificate, where none is to be shown */
};

/*
 * Makes the session over the transport; both must stay where they are until session_close. With kernel,
 * only ciphers that this kernel takes are offered (NULL: whatever the profile allows). The decision and
 * the surroundings are borrowed. 0, or -1 with a failure; the session is then closed.
 */
int session_open(struct session *session, const struct decision *decision,
		 const struct handshake_surroundings *surroundings, const struct kernel_tls *kernel,
		 struct transport *transport, struct failure *failure);
/* What must hold beyond a complete handshake: a peer that was verified, an ALPN where one is required. 0,
 * or a negative GnuTLS error as gnutls_handshake() might have returned it. */
int session_check(struct session *session);
/* Writes all that the session knows about an established connection, but the records' path. */
void session_describe(struct session *session, struct outcome *outcome);
/* Frees everything, wipes the secrets; sends nothing. May be called twice. */
void session_close(struct session *session);

#endif
