/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Certificate revocation lists (RFC 5280, 5), complete ones of the certificates' own issuers. */
#ifndef REVOCATION_H
#define REVOCATION_H

#include <gnutls/x509.h>
#include <stddef.h>
#include <time.h>

#include "problem.h"

struct revocation; /* all lists of one file */

enum revocation_status {
	REVOCATION_GOOD,
	REVOCATION_REVOKED,
	REVOCATION_NO_LIST,     /* none of the issuer */
	REVOCATION_NOT_CURRENT, /* only expired ones, or ones of the future */
	REVOCATION_BAD_LIST,    /* the issuer has not signed it, or may not sign lists */
};

/* Reads all lists of a PEM file. Delta, indirect and partial lists, and any with a critical
 * extension that is not understood, are refused: they would say less than they seem to. */
int revocation_read(const char *path, struct revocation **ret_revocation, struct problem *problem);
void revocation_free(struct revocation *revocation);
/* Is the certificate, which issuer has issued, revoked at that time? Remembers which lists'
 * signatures were good, so not for two threads at once. */
enum revocation_status revocation_check(struct revocation *revocation,
					gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer,
					time_t now);
/* SHA-256 of the file, 32 bytes. */
const unsigned char *revocation_digest(const struct revocation *revocation);
size_t revocation_count(const struct revocation *revocation);

struct revocation_facts {
	char issuer[256];
	time_t this_update;
	time_t next_update;
	size_t revoked;
};
void revocation_describe(const struct revocation *revocation, size_t i,
			 struct revocation_facts *ret_facts);

#endif
