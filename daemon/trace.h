/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happened in one handshake, in the order of the wire, as JSON. Collected only where somebody asked
 * for it: everywhere else the pointer is NULL, and each function here does nothing with NULL. The format
 * is told in handshake-protocol(7). */
#ifndef TRACE_H
#define TRACE_H

#include <gnutls/gnutls.h>
#include <stddef.h>
#include <stdint.h>

#include "outcome.h"
#include "policy.h"
#include "verify.h"

enum { TRACE_SIZE_MAX = 131072 }; /* bytes of one handshake's JSON */

struct trace;

/* Begins one, for the socket's addresses and the decision. NULL: no memory. */
struct trace *trace_new(const struct decision *decision, uid_t uid, int fd);
void trace_free(struct trace *trace);
/* A handshake message as GnuTLS's hook shows it, without its header. */
void trace_message(struct trace *trace, unsigned type, bool incoming, const gnutls_datum_t *body);
/* Bytes of records as they come and as they are given away for sending: only what the headers say is kept.
 * A message that is sent is told once its record is there. */
void trace_bytes(struct trace *trace, bool incoming, const void *bytes, size_t size);
/* An alert that does not end the handshake. */
void trace_warning(struct trace *trace, uint8_t alert);
/* The verification of the peer begins, and has ended with this. */
void trace_verification_begin(struct trace *trace);
void trace_verification_end(struct trace *trace, gnutls_session_t session,
			    const struct verification *verification);
/* The traffic keys have gone where the outcome says. */
void trace_keys(struct trace *trace, const struct outcome *outcome);
/* Ends it with the outcome. The text is the trace's, without a final NUL; NULL: there was no memory. */
const char *trace_end(struct trace *trace, const struct outcome *outcome, size_t *ret_size);

/* For those who choose among traces: */
const char *trace_peer(const struct trace *trace); /* "192.0.2.1:443", "[2001:db8::1]:443", "" */
uid_t trace_user(const struct trace *trace);

/* The address of the socket's other end in these words. */
void trace_read_peer(int fd, char *ret_text, size_t size);

#endif
