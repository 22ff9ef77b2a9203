/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keys of session tickets (RFC 5077, RFC 8446, 4.6.1) as GnuTLS takes them: derived from a secret for
 * what a ticket is bound to, and found again by the name at a ticket's beginning. */
#ifndef TICKET_KEYS_H
#define TICKET_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TICKET_SECRET_SIZE = 32,
	TICKET_CONTEXT_SIZE = 32, /* SHA-256 over what a ticket is bound to */
	TICKET_KEY_SIZE = 64,     /* what gnutls_session_ticket_enable_server() takes */
	TICKET_NAME_SIZE = 16,
};

/* HKDF-SHA256 (RFC 5869). 0 or -1: the library failed. */
int ticket_key_derive(const uint8_t secret[TICKET_SECRET_SIZE],
		      const uint8_t context[TICKET_CONTEXT_SIZE], uint8_t ret_key[TICKET_KEY_SIZE]);
/*
 * GnuTLS makes another key of it in each step of three times the lifetime, and accepts that of the step
 * before. Whether a ticket that begins with this name is of this key at that time, with that lifetime in
 * seconds (as given to gnutls_db_set_cache_expiration).
 */
bool ticket_key_has(const uint8_t key[TICKET_KEY_SIZE], const uint8_t name[TICKET_NAME_SIZE],
		    int64_t now, unsigned lifetime_s);

#endif
