/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A profile's certificates with their keys, in the form that GnuTLS takes. */
#ifndef CREDENTIALS_H
#define CREDENTIALS_H

#include <gnutls/gnutls.h>

#include <stdbool.h>
#include <time.h>

#include "config.h"
#include "problem.h"
#include "trust.h"

struct credentials;
struct profile;
struct signer;
struct staple;

/* Reads the files of the profile's certificates and staples, and has the signer load the private keys. trust
 * (or NULL) gives the names
 * of the authorities that a client is told of. 0 and a new object, or -1 and a sentence. */
int credentials_new(const struct config_profile *config, const struct trust *trust,
		    struct signer *signer, struct credentials **ret_credentials,
		    struct problem *problem);
void credentials_free(struct credentials *credentials);
/* Borrowed. As server: the certificates for a client that names no server, NULL if the profile has
 * no certificate. As client: all certificates of the profile. */
gnutls_certificate_credentials_t credentials_server(const struct credentials *credentials);
gnutls_certificate_credentials_t credentials_client(const struct credentials *credentials);

/* What is known of the certificate of that number, from 0; false: there are not so many. */
struct credentials_pair {
	time_t expires;        /* the certificate */
	struct staple *staple; /* NULL: none; borrowed */
};
bool credentials_pair(const struct credentials *credentials, unsigned number,
		      struct credentials_pair *ret_pair);

/* Borrowed: the group of TLS 1.2's DHE for clients that name none; NULL: none. */
gnutls_dh_params_t credentials_dh(const struct credentials *credentials);

/*
 * Gives a server's session the certificates for the server_name that its client sent. To be called
 * from the function of gnutls_handshake_set_post_client_hello_function(), on a session that has
 * profile->server; its result is what that function returns: 0, or GNUTLS_E_UNRECOGNIZED_NAME,
 * which deserves the alert unrecognized_name (112), where the profile refuses unknown names.
 *
 * Of several certificates for one name (ECDSA, RSA, Ed25519) GnuTLS itself then takes the one that
 * fits the client's suites and signature algorithms.
 */
int credentials_select(gnutls_session_t session, const struct profile *profile);

#endif
