/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who the peer is, as its certificate says: names, issuer, fingerprint and chain, in a form that can be
 * shown and compared without surprise, however hostile the certificate. */
#ifndef IDENTITY_H
#define IDENTITY_H

#include <gnutls/gnutls.h>

#include "outcome.h"

/* The most bytes that an identity's names take together in a reply, so that a packet holds them. */
enum { IDENTITY_NAMES_SIZE = 6144 };

/*
 * Fills an empty identity from the chain that the peer sent, its own certificate first. present is set;
 * authenticated is not touched. Names that cannot be shown as they are (a NUL or other control byte
 * inside, no UTF-8, no address) and names beyond the bounds are left out, never cut; subject and issuer
 * that are too long are shown as "". 0, or a negative GnuTLS error: the certificate cannot be read.
 */
int identity_read(const gnutls_datum_t *chain, unsigned count, struct identity *ret_identity);

#endif
