/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The traffic keys of one connection, as a record path takes them. Wiped by whoever holds them as soon
 * as they are installed (traffic_keys_wipe). */
#ifndef TRAFFIC_KEYS_H
#define TRAFFIC_KEYS_H

#include <gnutls/gnutls.h>
#include <stdint.h>

#include "config.h"

struct traffic_direction {
	uint8_t key[32];
	uint8_t
	    iv[12]; /* the 12 bytes of TLS 1.3 and of ChaCha20; in TLS 1.2 GCM and CCM the first 4
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
	/* The most bytes of content that the peer takes in one record: 16384, or less where it asked
	 * for less (RFC 8449); 0 is taken as 16384. */
	uint16_t record_limit;
	struct traffic_direction transmit;
	struct traffic_direction receive;
};

/* The first traffic secrets of TLS 1.3 (RFC 8446, 7.1), which GnuTLS shows as they are made and never
 * again. */
struct traffic_secrets {
	uint8_t client[48];
	uint8_t server[48];
	uint8_t client_size; /* bytes; 0: not seen */
	uint8_t server_size;
};

/* Takes a line of the key log: keeps what it needs, ignores the rest. */
void traffic_secrets_take(struct traffic_secrets *secrets, const char *label,
			  const gnutls_datum_t *secret);
void traffic_secrets_wipe(struct traffic_secrets *secrets);

/* Copies keys and sequence numbers out of a session whose handshake is complete. It must be the last
 * that is done with the session: what it sends or reads afterwards would use a record number twice.
 * 0, or -ENOTSUP (a cipher that no record path takes), -EPROTO (the library's state is not what this
 * code knows). */
int traffic_keys_export(gnutls_session_t session, bool is_server,
			const struct traffic_secrets *secrets, struct traffic_keys *ret_keys);
void traffic_keys_wipe(struct traffic_keys *keys);

#endif
