/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of a private key outside of the signer. Only signer*.c include it. */
#ifndef SIGNER_KEY_H
#define SIGNER_KEY_H

#include "signer-protocol.h"
#include "signer.h"

struct signer_key {
	struct signer *signer; /* NULL: not known to it yet */
	uint32_t number;
	char *source;
	char *pin_file; /* "" */
	gnutls_pk_algorithm_t algorithm;
	unsigned bits;
	bool on_token;
	bool pss;
	uint8_t id[SIGNER_ID_SIZE];
	gnutls_datum_t public_key; /* DER */
};

struct signer_key *signer_key_new(const char *source, const char *pin_file);
/* What the signer reports of it. 0 or -1 with a problem. */
int signer_key_learn(struct signer_key *key, const struct signer_report *report,
		     struct problem *problem);
/* Has it sign something, and looks at the signature. 0 or a GnuTLS error. */
int signer_key_try(const struct signer_key *key);
/* A copy in GnuTLS's memory. 0 or a GnuTLS error. */
int signer_key_answer(const uint8_t *bytes, size_t size, gnutls_datum_t *ret_answer);

/* Of the signer: asks and waits; for processes that are no worker. 0 or a GnuTLS error. */
int signer_ask(struct signer *signer, const struct signer_request *request,
	       const gnutls_datum_t *data, gnutls_datum_t *ret_answer);
/* The key is no more. */
void signer_forget(struct signer *signer, const struct signer_key *key);

#endif
