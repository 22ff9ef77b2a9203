// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Keys of session tickets. Touches nothing but its arguments; must leave no copy of a key behind. That the
 * names are the library's own is for the unit test to show, with whatever library there is.
 */
#include "ticket-keys.h"

#include <gnutls/crypto.h>
#include <string.h>

/* GnuTLS: STEK_ROTATION_PERIOD_PRODUCT */
enum { STEP_LIFETIMES = 3, SHA3_512_SIZE = 64 };

int ticket_key_derive(const uint8_t secret[TICKET_SECRET_SIZE],
		      const uint8_t context[TICKET_CONTEXT_SIZE], uint8_t ret_key[TICKET_KEY_SIZE])
{
	static const char label[] = "handshaked ticket key";
	uint8_t bytes[sizeof(label) + TICKET_CONTEXT_SIZE];
	gnutls_datum_t key = {(unsigned char *)secret, TICKET_SECRET_SIZE};
	gnutls_datum_t info = {bytes, sizeof(bytes)};

	memcpy(bytes, label, sizeof(label));
	memcpy(bytes + sizeof(label), context, TICKET_CONTEXT_SIZE);
	/* The secret is random through and through: RFC 5869, 3.3 needs no extraction. */
	return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &key, &info, ret_key, TICKET_KEY_SIZE) < 0 ? -1
												: 0;
}

/* The library's key of a step is SHA3-512 over the step, 8 bytes big-endian, and the key; its first 16 bytes
 * are the name. */
static bool step_has(const uint8_t key[TICKET_KEY_SIZE], const uint8_t name[TICKET_NAME_SIZE],
		     uint64_t step)
{
	uint8_t input[8 + TICKET_KEY_SIZE], output[SHA3_512_SIZE];
	bool same;

	for (int i = 7; i >= 0; i--, step >>= 8)
		input[i] = (uint8_t)step;
	memcpy(input + 8, key, TICKET_KEY_SIZE);
	same = gnutls_hash_fast(GNUTLS_DIG_SHA3_512, input, sizeof(input), output) == 0 &&
	       memcmp(output, name, TICKET_NAME_SIZE) == 0;
	explicit_bzero(input, sizeof(input));
	explicit_bzero(output, sizeof(output));
	return same;
}

bool ticket_key_has(const uint8_t key[TICKET_KEY_SIZE], const uint8_t name[TICKET_NAME_SIZE],
		    int64_t now, unsigned lifetime_s)
{
	uint64_t step = (uint64_t)now / ((uint64_t)lifetime_s * STEP_LIFETIMES);

	return step_has(key, name, step) || (step > 1 && step_has(key, name, step - 1));
}
