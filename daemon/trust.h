/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose certificates are good: trust anchors and revocation lists. */
#ifndef TRUST_H
#define TRUST_H

#include <gnutls/x509.h>

#include "certificate-file.h"
#include "problem.h"
#include "revocation.h"

struct trust;

/* Reads a PEM bundle, or the system's store if source is "system", and the lists of revocation_path
 * (NULL: none). 0 and a new object with one reference, or -1 and a sentence. */
int trust_new(const char *source, const char *revocation_path, struct trust **ret_trust,
	      struct problem *problem);
struct trust *trust_ref(struct trust *trust);
void trust_unref(struct trust *trust);
/* Borrowed: */
gnutls_x509_trust_list_t trust_list(const struct trust *trust);
const struct certificates *trust_anchors(const struct trust *trust);
struct revocation *trust_revocation(const struct trust *trust); /* NULL: no lists */

#endif
