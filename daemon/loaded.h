/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration with everything that it names read into memory: what a generation of workers
 * needs, so that it never opens a file. Read-only once it is there, but for what trust remembers.
 */
#ifndef LOADED_H
#define LOADED_H

#include <gnutls/gnutls.h>

#include "config.h"
#include "problem.h"

struct credentials; /* credentials.h */
struct signer;      /* signer.h */
struct pins;        /* raw-public-key.h */
struct psk;         /* psk.h */
struct trust;       /* trust.h */

struct profile {
	const struct config_profile *config;
	/* Server role: with the certificates for a client that names no server; NULL: no
	 * certificate, so no server role. The session's function for the client's hello must call
	 * credentials_select(session, profile), which exchanges them by server_name. */
	gnutls_certificate_credentials_t server;
	/* Client role: with all certificates, of which GnuTLS takes the one that the server asks
	 * for; NULL: no client role. */
	gnutls_certificate_credentials_t client;
	/* TLS priorities of the profile as server and as client; NULL: not in that role. */
	gnutls_priority_t priority_server;
	gnutls_priority_t priority_client;
	struct trust *trust;  /* NULL: the profile verifies nobody */
	gnutls_datum_t *alpn; /* config->alpn in GnuTLS's form; config->alpn_count of them */
	struct pins *pins;    /* NULL: no raw public key is taken */
	struct psk *psk;      /* NULL: no pre-shared keys */
	gnutls_psk_server_credentials_t psk_server;        /* NULL: not as server */
	gnutls_psk_server_credentials_t psk_server_sha384; /* beside it with kernel-psk, or NULL */
	struct resumption_policy *resumption;              /* what its sessions are bound to */
	struct credentials *credentials;                   /* what server and client belong to */
};

struct loaded {
	struct config *config;
	struct profile *profiles; /* config->profile_count, same order */
	struct signer *signer;    /* with all their private keys, sealed */
};

/* Reads the configuration and every file that it names; private keys are loaded by a signer, which is
 * started for that. 0 and a new object, or -1 and a sentence.
 * Nothing half-loaded is ever returned. Expired certificates and lists are loaded: peers refuse the
 * former, the latter refuse peers, and --check tells both. */
int loaded_new(const struct config_source *source, struct loaded **ret_loaded,
	       struct problem *problem);
void loaded_free(struct loaded *loaded);
const struct profile *loaded_find_profile(const struct loaded *loaded, const char *name);
/* Where the profile's trust comes from: a path, "system", or NULL: it verifies nobody. */
const char *loaded_trust_source(const struct config_profile *config);

#endif
