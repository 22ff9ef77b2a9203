/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which of the peers whose certificates are good may be the peer: names, issuers and fingerprints. */
#ifndef ALLOW_PEER_H
#define ALLOW_PEER_H

#include <gnutls/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "problem.h"

enum allow_peer_kind {
	ALLOW_PEER_DNS,
	ALLOW_PEER_IP,
	ALLOW_PEER_EMAIL,
	ALLOW_PEER_URI,
	ALLOW_PEER_ISSUER,
	ALLOW_PEER_SHA256,
};

struct allow_peer {
	char *written; /* "dns:www.example.com", as it stands in the configuration; owned */
	enum allow_peer_kind kind;
	bool prefix;             /* uri: value ends before the star */
	char *value;             /* as it is compared; owned */
	unsigned char bytes[32]; /* address or fingerprint */
	unsigned size;
};

/* Reads "dns:NAME", "ip:ADDRESS", "email:ADDRESS", "uri:URI", "issuer:DN" or "sha256:HEX". 0, to be freed
 * with allow_peer_done() in any case, or -1 and a sentence that says what to write. */
int allow_peer_parse(const char *text, struct allow_peer *ret_allow, struct problem *problem);
void allow_peer_done(struct allow_peer *allow);
/* Whether the certificate, which has been verified, has one of these. */
bool allow_peer_matches(const struct allow_peer *list, size_t count, gnutls_x509_crt_t certificate);
/* What the certificate has that could have been allowed: 'dns:a.test, issuer:CN=x, sha256:…'. Cut off with
 * "…" where there is no room. */
const char *allow_peer_describe(gnutls_x509_crt_t certificate, char *buffer, size_t size);

#endif
