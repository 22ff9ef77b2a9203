/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Certificates from PEM files, and from memory. */
#ifndef CERTIFICATE_FILE_H
#define CERTIFICATE_FILE_H

#include <gnutls/x509.h>
#include <time.h>

#include "problem.h"

enum { CERTIFICATE_CHAIN_MAX = 16 }; /* as many as GnuTLS follows */

struct certificates {
	gnutls_x509_crt_t *items; /* owned */
	unsigned count;
};

/* Reads every certificate of the file, at most most. A block that is no certificate, that is broken
 * or cut off is a problem: nothing is skipped. */
int certificate_file_read(const char *path, const char *what, unsigned most,
			  struct certificates *ret_certificates, struct problem *problem);
/* The same, for what a server or client shows: the first is its own, each other is the issuer of
 * the one before it; key type, key size and signature are good enough for TLS today. Dates are not
 * judged. */
int certificate_chain_read(const char *path, struct certificates *ret_chain,
			   struct problem *problem);
/* The same of a chain that is in memory: PEM, or one certificate in DER. source stands for the path. -ENOMEM: that
 * says nothing about the chain. */
int certificate_chain_import(const void *bytes, size_t size, const char *source,
			     struct certificates *ret_chain, struct problem *problem);
void certificates_done(struct certificates *certificates);
/* The first DNS name of the certificate, else its subject, for messages. */
const char *certificate_name(gnutls_x509_crt_t certificate, char *buffer, size_t size);
/* "2026-11-21 12:00:00 UTC" */
const char *certificate_time(time_t time, char *buffer, size_t size);
/* Below 112 bits of strength (RFC 7525, 4.3: RSA of 2048 bits, a curve of 224). */
int certificate_is_weak(gnutls_x509_crt_t certificate);

#endif
