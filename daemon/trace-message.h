/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a handshake message says, for a trace: its body read once more, into JSON. */
#ifndef TRACE_MESSAGE_H
#define TRACE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json-text.h"

enum {
	TRACE_LIST_MAX = 64,      /* of each list so many are shown; a count tells the rest */
	TRACE_TEXT_MAX = 256,     /* bytes of a text that the peer chose */
	TRACE_HELLO_RETRY = 1025, /* GnuTLS's number of a HelloRetryRequest */
};

/* What earlier messages have told of the later ones. */
struct trace_context {
	bool tls13;
	uint16_t suite; /* of the ServerHello; 0: none yet */
};

/* Adds keys to the object that is open: what the body (without the header of four bytes) of a message
 * says. Its type is GnuTLS's number. What cannot be read ends with "malformed": true; the library judges
 * it, not this. Updates the context by a ServerHello. No secret is ever shown. */
void trace_message_describe(struct json_text *json, struct trace_context *context, unsigned type,
			    const uint8_t *body, size_t size);

#endif
