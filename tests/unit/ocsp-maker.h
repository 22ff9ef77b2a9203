/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OCSP responses for tests, byte by byte: GnuTLS reads them and makes none. For ECDSA keys. */
#ifndef OCSP_MAKER_H
#define OCSP_MAKER_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "pki.h"

struct ocsp_wish {
	const struct pki_entity *certificate; /* that it is about */
	const struct pki_entity *issuer;      /* of the certificate */
	const struct pki_entity *signer;      /* NULL: the issuer */
	const struct pki_entity *enclosed;    /* a certificate that comes with it; NULL: none */
	char status;                          /* 'g'ood, 'r'evoked, 'u'nknown; 0: good */
	long from, until; /* seconds from now; both 0: an hour ago, a day ahead */
	bool endless;     /* no nextUpdate */
	bool critical;    /* with a critical extension that nobody knows */
	bool sha1;        /* the signature */
};

/* DER; to be freed with gnutls_free. Ends the test program when it fails. */
gnutls_datum_t ocsp_make(const struct ocsp_wish *wish);

#endif
