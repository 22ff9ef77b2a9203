/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the peer's hello says that the TLS library keeps to itself: its versions, and how large a record
 * it takes. */
#ifndef HELLO_H
#define HELLO_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>

/* The most bytes of content that a record may have (RFC 8446, 5.1). */
enum { HELLO_RECORD_MAX = 16384 };

enum {
	HELLO_NAME_SIZE = 256,
	HELLO_TICKETS_MAX = 4,  /* that are looked at */
	HELLO_TICKET_NAME = 16, /* bytes of a ticket's beginning */
};

/* More groups than there are. */
enum { HELLO_GROUPS_MAX = 48 };

struct hello {
	bool seen;
	bool client; /* it is a ClientHello */
	bool tls12;  /* a ClientHello offers it */
	bool tls13;
	bool psk_dhe; /* psk_key_exchange_modes has psk_dhe_ke (RFC 8446, 4.2.9) */
	char server_name
	    [HELLO_NAME_SIZE]; /* that a ClientHello asks for (RFC 6066, 3); "" if none */
	bool session_id;       /* legacy_session_id is not empty */
	/* How the tickets that are offered begin: RFC 5077, 3.2, or RFC 8446, 4.2.11. */
	uint8_t tickets[HELLO_TICKETS_MAX][HELLO_TICKET_NAME];
	unsigned ticket_count;
	uint16_t groups[HELLO_GROUPS_MAX]; /* extension 10, the first of them */
	unsigned group_count;
	uint16_t record_size_limit;  /* extension 28 (RFC 8449); 0: not there */
	uint8_t max_fragment_length; /* extension 1 (RFC 6066, 4), its code; 0: not there */
};

/* Reads one handshake message of the peer, without its header, if it is one that says something of
 * this: ClientHello, ServerHello, EncryptedExtensions. What cannot be read is left to the library, which
 * refuses it. */
void hello_read(struct hello *hello, unsigned message_type, const gnutls_datum_t *message);
/* The most bytes of content that the peer takes in a record once both sides agreed; never 0. */
uint16_t hello_record_limit(const struct hello *hello, bool we_are_server, bool tls13);

#endif
