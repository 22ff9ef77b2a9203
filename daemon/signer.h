/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private keys. No other file touches one: everything else holds handles that can only sign. A
 * signer in a process of its own would take this file's place. */
#ifndef SIGNER_H
#define SIGNER_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "problem.h"

struct signer_key;

/* Reads the private key of a PEM file, after looking at who may read and write it. 0 and a new
 * object, to be freed after every handle of it, or -1 and a sentence. */
int signer_key_read(const char *path, struct signer_key **ret_key, struct problem *problem);
void signer_key_free(struct signer_key *key);
/* 1 if the certificate is that of the key. */
int signer_key_matches(const struct signer_key *key, gnutls_x509_crt_t certificate);
/* Makes a handle that signs with the key. 0 or a GnuTLS error. */
int signer_key_handle(const struct signer_key *key, gnutls_privkey_t *ret_handle);

#endif
