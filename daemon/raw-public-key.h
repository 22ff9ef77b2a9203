/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw public keys (RFC 7250): the own one, and those of peers, known by the SHA-256 of their
 * SubjectPublicKeyInfo. */
#ifndef RAW_PUBLIC_KEY_H
#define RAW_PUBLIC_KEY_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "config.h"
#include "outcome.h"
#include "problem.h"
#include "signer.h"

enum { RAW_PUBLIC_KEY_DIGEST_SIZE = 32 };

/* The keys of peers that are believed. */
struct pins;

/* Reads what peer-public-key names. 0, with NULL where it names nothing, or -1 and a sentence. */
int pins_new(const struct config_raw *config, struct pins **ret_pins, struct problem *problem);
void pins_free(struct pins *pins);
bool pins_have(const struct pins *pins, const unsigned char digest[RAW_PUBLIC_KEY_DIGEST_SIZE]);

/* The digest of a configured value "sha256:HEX"; false: it is not one. */
bool pins_parse(const char *text, unsigned char ret_digest[RAW_PUBLIC_KEY_DIGEST_SIZE]);

/* Adds the key's public part to credentials, with a handle of it. 0 or a GnuTLS error. */
int raw_public_key_give(gnutls_certificate_credentials_t credentials, const struct signer_key *key);
/* Whether what the peer of the session showed is a raw public key. */
bool raw_public_key_shown(gnutls_session_t session);
/* Its digest as 64 hexadecimal digits (65 bytes), and as bytes. 0 or a GnuTLS error. */
int raw_public_key_digest(const gnutls_datum_t *shown, char *ret_text,
			  unsigned char ret_digest[RAW_PUBLIC_KEY_DIGEST_SIZE]);

#endif
