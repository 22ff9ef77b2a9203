/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A private key inside of the signer, the one process that has any: read from a file or found on a token,
 * and used. */
#ifndef PRIVATE_KEY_H
#define PRIVATE_KEY_H

#include <gnutls/abstract.h>

#include "config.h"
#include "signer-protocol.h"

struct private_key;

/* Reads a PEM file after looking at who may read and write it, or finds a key by its PKCS#11 URL. 0 with
 * a new object and the report filled, or -1 with its verdict and problem. */
int private_key_read(const char *source, const char *pin_file, enum config_signer_engine engine,
		     struct private_key **ret_key, struct signer_report *report);
/* The same of a key that is in memory already: DER or PEM. */
int private_key_import(const void *bytes, size_t size, enum config_signer_engine engine,
		       struct private_key **ret_key, struct signer_report *report);
/* Another reference to it, for who uses it while others may free it. From any thread, as private_key_free(). */
struct private_key *private_key_hold(struct private_key *key);
/* Gives up one reference; the last one wipes the key. NULL is fine. */
void private_key_free(struct private_key *key);
bool private_key_on_token(const struct private_key *key);
/* What the request asks for, with at most SIGNER_DATA_MAX bytes. From any thread. 0 or a GnuTLS error;
 * ret_answer is then to be freed by gnutls_free(). */
int private_key_use(const struct private_key *key, const struct signer_request *request,
		    const uint8_t *data, gnutls_datum_t *ret_answer);

#endif
