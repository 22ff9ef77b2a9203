/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The certificates of a handshake, for a trace: what each says, and what was found of it. */
#ifndef TRACE_CERTIFICATES_H
#define TRACE_CERTIFICATES_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "json-text.h"
#include "trace-reader.h"
#include "verify.h"

/* Adds "certificates" from the body of a Certificate message. */
void trace_certificates_describe(struct json_text *json, bool tls13, struct trace_reader *reader);

/* Between these two what GnuTLS finds of each certificate is noted. One at a time. */
void trace_verdicts_begin(void);
void trace_verdicts_end(void);
/* For gnutls_x509_trust_list_verify_crt2(); NULL: nobody wants to know. */
gnutls_verify_output_function *trace_verdicts_listener(void);
/* Adds "certificates": the peer's chain with what was noted, and the verdict as a whole. */
void trace_verdicts_describe(struct json_text *json, gnutls_session_t session,
			     const struct verification *verification);

#endif
