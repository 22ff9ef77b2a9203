// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The next traffic secret and what follows from one. Touches memory alone; must never leave a key on
 * the stack.
 */
#include "key-schedule.h"

#include <errno.h>
#include <string.h>

#include <gnutls/crypto.h>

int key_schedule_expand(const uint8_t *secret, size_t secret_size, const char *label,
			uint8_t *ret_bytes, size_t size)
{
	uint8_t info[2 + 1 + 6 + 16 + 1];
	size_t label_size = strlen(label);
	gnutls_datum_t key = {(uint8_t *)secret, (unsigned)secret_size};
	gnutls_datum_t info_datum = {info, (unsigned)(2 + 1 + 6 + label_size + 1)};

	/* struct HkdfLabel: RFC 8446, 7.1 */
	info[0] = 0;
	info[1] = (uint8_t)size;
	info[2] = (uint8_t)(6 + label_size);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, label_size);
	info[9 + label_size] = 0; /* no context */
	return gnutls_hkdf_expand(secret_size == 48 ? GNUTLS_MAC_SHA384 : GNUTLS_MAC_SHA256, &key,
				  &info_datum, ret_bytes, size) < 0
		   ? -EIO
		   : 0;
}

int key_schedule_derive(const struct traffic_keys *keys, struct traffic_direction *direction)
{
	int error = key_schedule_expand(direction->secret, keys->secret_size, "key", direction->key,
					keys->key_size);

	if (error == 0)
		error = key_schedule_expand(direction->secret, keys->secret_size, "iv",
					    direction->iv, sizeof(direction->iv));
	direction->sequence = 0;
	return error;
}

int key_schedule_update(const struct traffic_keys *keys, struct traffic_direction *direction)
{
	struct traffic_direction next;
	int error;

	memset(&next, 0, sizeof(next));
	error = key_schedule_expand(direction->secret, keys->secret_size, "traffic upd",
				    next.secret, keys->secret_size);
	if (error == 0)
		error = key_schedule_derive(keys, &next);
	if (error == 0)
		*direction = next;
	explicit_bzero(&next, sizeof(next));
	return error;
}
