/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The check of a peer's certificate: chain, dates, purpose, revocation and name, and which alert a
 * refusal deserves. */
#ifndef VERIFY_H
#define VERIFY_H

#include <gnutls/gnutls.h>

#include "policy.h"

struct verification {
	bool present;       /* the peer sent a certificate */
	bool authenticated; /* it was verified and found good */
	int alert;          /* 0: go on; else the GNUTLS_A_… to refuse with */
	char words[256];    /* what was wrong: "the certificate has expired" */
};

/* Judges the chain that the peer of the session sent, as the decision demands. Never fails open:
 * what cannot be judged is refused. */
void verify_peer(gnutls_session_t session, const struct decision *decision,
		 struct verification *ret_verification);

/* Before anything is done with the key that the peer has shown: whether that has a bound. The library of itself
 * works for minutes on a key with a modulus and an exponent of some thousand bytes each. */
bool verify_key(gnutls_session_t session, struct verification *verification);

/* As verify_peer(), of a chain of X.509 certificates that the peer showed earlier, before the handshake: what the session
 * itself would bring, such as a staple, is missing. */
void verify_chain(gnutls_session_t session, const gnutls_datum_t *chain, unsigned count,
		  const struct decision *decision, struct verification *ret_verification);

#endif
