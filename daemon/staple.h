/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OCSP responses that a server shows with its certificates (RFC 6066, 8; RFC 8446, 4.4.2.1). */
#ifndef STAPLE_H
#define STAPLE_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <time.h>

#include "certificate-file.h"
#include "ocsp-response.h"
#include "problem.h"
#include "trust.h"

struct staple {
	char *path;
	gnutls_datum_t response; /* DER */
	struct ocsp_answer answer;
	bool told; /* in the log, that it is not sent */
};

/* Reads the response in a file, DER or PEM, for the first certificate of the chain. Its issuer stands
 * behind it, or among the anchors of trust (NULL: there are none). Expired ones are read, and not sent.
 * 0 and a new object, or -1 and a sentence. */
int staple_read(const char *path, const struct certificates *chain, const struct trust *trust,
		struct staple **ret_staple, struct problem *problem);
void staple_free(struct staple *staple);
/* Whether it is sent at that time. */
bool staple_holds(const struct staple *staple, time_t now);
/* Has the certificate of that number in the credentials come with the staple, as long as that holds: the
 * clock is asked in each handshake. The staple must outlive the credentials. */
void staple_give(gnutls_certificate_credentials_t credentials, unsigned number,
		 struct staple *staple);

#endif
