/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The traffic keys of one connection, as a record path takes them. Wiped by whoever holds them as soon
 * as they are installed (traffic_keys_wipe). */
#ifndef TRAFFIC_KEYS_H
#define TRAFFIC_KEYS_H

#include <stdint.h>

#include "config.h"

struct traffic_direction {
	uint8_t key[32];
	uint8_t iv[12];     /* the 12 bytes of TLS 1.3 and of ChaCha20; in TLS 1.2 GCM and CCM the first 4
	                       are the implicit part and the rest is 0 */
	uint8_t secret[48]; /* TLS 1.3: the traffic secret, for key updates */
	uint64_t sequence;  /* of the next record */
};

struct traffic_keys {
	enum config_version version;
	enum config_cipher cipher;
	uint8_t key_size;    /* bytes: 16 or 32 */
	uint8_t secret_size; /* bytes: 32 or 48; 0 in TLS 1.2 */
	bool is_server;
	struct traffic_direction transmit;
	struct traffic_direction receive;
};

void traffic_keys_wipe(struct traffic_keys *keys);

#endif
