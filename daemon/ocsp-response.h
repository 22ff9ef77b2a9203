/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OCSP responses (RFC 6960): what one says of a certificate, once it is known to be entitled to. */
#ifndef OCSP_RESPONSE_H
#define OCSP_RESPONSE_H

#include <gnutls/x509.h>
#include <stdbool.h>
#include <time.h>

#include "problem.h"

enum { OCSP_RESPONSE_SIZE = 65536 }; /* bytes, the most that is looked at */

enum ocsp_status {
	OCSP_GOOD,
	OCSP_REVOKED,
	OCSP_UNKNOWN, /* the responder does not know the certificate */
};

struct ocsp_answer {
	enum ocsp_status status;
	time_t this_update;
	time_t next_update;
	time_t revoked_at; /* with OCSP_REVOKED */
};

/*
 * Reads a response (DER) and what it says of the certificate, which issuer has issued. The signature is
 * the issuer's, or that of a responder whose certificate the issuer has made for this purpose (RFC 6960,
 * 4.2.2.2). 0, or -1 and a half-sentence that goes on from "the response": "is for another certificate".
 * One that does not say until when it holds is refused. Whether it holds now is for the caller to ask.
 */
int ocsp_response_read(const gnutls_datum_t *der, gnutls_x509_crt_t certificate,
		       gnutls_x509_crt_t issuer, struct ocsp_answer *ret_answer,
		       struct problem *problem);
/* thisUpdate may lie some minutes ahead: clocks differ. nextUpdate is the end. */
bool ocsp_answer_holds(const struct ocsp_answer *answer, time_t now);
/* Whether the certificate demands that a response comes with it ("must-staple", RFC 7633). Where that
 * cannot be read, it does. */
bool ocsp_is_demanded_by(gnutls_x509_crt_t certificate);

#endif
