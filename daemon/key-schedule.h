/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of TLS 1.3's key schedule that goes on after the handshake (RFC 8446, 7.2 and 7.3). */
#ifndef KEY_SCHEDULE_H
#define KEY_SCHEDULE_H

#include "traffic-keys.h"

/* Secrets have 32 bytes (SHA-256) or 48 (SHA-384). All: 0 or -EIO; what they return is the caller's to
 * wipe. */

/* HKDF-Expand-Label(secret, label, "", size). size: at most 255 bytes; label at most 16. */
int key_schedule_expand(const uint8_t *secret, size_t secret_size, const char *label,
			uint8_t *ret_bytes, size_t size);
/* Key and nonce of the direction's secret; the sequence number becomes 0. */
int key_schedule_derive(const struct traffic_keys *keys, struct traffic_direction *direction);
/* The next secret, with its key and nonce, in place. On failure nothing has changed. */
int key_schedule_update(const struct traffic_keys *keys, struct traffic_direction *direction);

#endif
