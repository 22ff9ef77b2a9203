/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a ClientHello says that decides about its early data (RFC 8446, 4.2.10), before the TLS library
 * decides anything: read from the raw message, since the library looks at less than it must. */
#ifndef HELLO_EARLY_H
#define HELLO_EARLY_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	/* More than anybody offers; a hello with more has its early data refused. */
	HELLO_EARLY_GROUPS = 64,
	HELLO_EARLY_SUITES = 128,
	HELLO_EARLY_PROTOCOLS = 512, /* bytes of ALPN */
	HELLO_EARLY_BINDER = 64,     /* bytes; that of SHA-384 has 48 */
};

struct hello_early {
	bool offered;                        /* early_data is there */
	bool dhe;                            /* psk_key_exchange_modes has psk_dhe_ke */
	uint16_t suites[HELLO_EARLY_SUITES]; /* in the client's order, as all of these */
	uint16_t groups[HELLO_EARLY_GROUPS]; /* supported_groups */
	uint16_t shares[HELLO_EARLY_GROUPS]; /* groups in key_share */
	unsigned suite_count, group_count, share_count;
	/* Application protocols (RFC 7301, 3.1), each with the byte of its length before it: */
	uint8_t protocols[HELLO_EARLY_PROTOCOLS];
	unsigned protocols_size; /* 0: none are offered */
	/* Of the first pre-shared key, the only one that early data can be protected with: */
	uint8_t binder[HELLO_EARLY_BINDER];
	unsigned binder_size; /* 0: none is offered */
};

/* What the server would choose from: its own lists, in its order. */
struct hello_early_choice {
	const uint16_t *groups;
	unsigned group_count;
	const uint16_t *suites;
	unsigned suite_count;
	bool client_order;
};

/* Reads the message, without its header. 0, or -EBADMSG: it cannot be read or has more than fits here.
 * The library is the one to refuse it. */
int hello_early_read(const gnutls_datum_t *message, struct hello_early *ret_hello);
/* Whether the server will take the group of a share that is there, so that no HelloRetryRequest follows. */
bool hello_early_has_share(const struct hello_early *hello,
			   const struct hello_early_choice *choice);
/* The suite that the server will choose with the first pre-shared key (whose hash its binder tells);
 * 0: none. */
uint16_t hello_early_suite(const struct hello_early *hello,
			   const struct hello_early_choice *choice);

/* Whether the client offers the application protocol; where it stands in the client's order, from 0. -1: it
 * does not. */
int hello_early_protocol(const struct hello_early *hello, const char *protocol);

#endif
