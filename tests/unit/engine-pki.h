/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Authorities and certificates for the handshake engine's tests, made anew in each run. */
#ifndef ENGINE_PKI_H
#define ENGINE_PKI_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>

struct engine_certificate {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t certificate;
};

/* What a leaf is made of; NULL and 0 mean: an ECDSA key, good for ten days from yesterday. */
struct engine_leaf {
	const char *common_name;
	const char *dns; /* a subject alternative name */
	gnutls_pk_algorithm_t algorithm;
	int starts;  /* days from now */
	int ends;    /* days from now; 0: 10 */
	bool client; /* purpose: client instead of server */
};

void engine_authority(struct engine_certificate *ret_authority, const char *common_name);
void engine_leaf(struct engine_certificate *ret_leaf, const struct engine_certificate *authority,
		 const struct engine_leaf *what);
void engine_certificate_done(struct engine_certificate *certificate);
/* Writes the certificate as PEM to path. */
void engine_certificate_write(const struct engine_certificate *certificate, const char *path);
/* Writes the key as PEM to path, readable for nobody else. */
void engine_key_write(const struct engine_certificate *certificate, const char *path);
/* New credentials with the certificate (NULL: none) and, as trust, the authority (NULL: none). */
gnutls_certificate_credentials_t engine_credentials(const struct engine_certificate *certificate,
						    const struct engine_certificate *authority);

#endif
