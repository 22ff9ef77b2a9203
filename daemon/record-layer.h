/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of TLS 1.2 and 1.3 with AEAD ciphers, one direction of one connection, in place: what is
 * sealed or opened lies in the caller's memory and is never copied. No I/O. */
#ifndef RECORD_LAYER_H
#define RECORD_LAYER_H

#include <stddef.h>
#include <stdint.h>

#include <gnutls/crypto.h>

#include "traffic-keys.h"

enum record_type { /* RFC 8446, 5.1 */
		   RECORD_CHANGE_CIPHER_SPEC = 20,
		   RECORD_ALERT = 21,
		   RECORD_HANDSHAKE = 22,
		   RECORD_DATA = 23,
};

/* RFC 8446, 6: those that a record path sends or has to tell apart. */
enum record_alert {
	RECORD_CLOSE_NOTIFY = 0,
	RECORD_UNEXPECTED_MESSAGE = 10,
	RECORD_BAD_RECORD_MAC = 20,
	RECORD_OVERFLOW = 22,
	RECORD_ILLEGAL_PARAMETER = 47,
	RECORD_DECODE_ERROR = 50,
	RECORD_PROTOCOL_VERSION = 70,
	RECORD_INTERNAL_ERROR = 80,
	RECORD_USER_CANCELED = 90,
	RECORD_NO_RENEGOTIATION = 100,
};

enum {
	RECORD_HEADER_SIZE = 5,
	RECORD_TAG_SIZE = 16, /* of all four ciphers */
	RECORD_PLAIN_MAX = 16384,
	RECORD_PREFIX_MAX =
	    RECORD_HEADER_SIZE + 8,              /* before the plain text: header, explicit nonce */
	RECORD_SUFFIX_MAX = 1 + RECORD_TAG_SIZE, /* behind it: inner type, tag */
	/* The largest record that is taken (RFC 8446, 5.2: 256 bytes of expansion; a record of TLS 1.2
	 * that could hold no more than RECORD_PLAIN_MAX is smaller). */
	RECORD_SIZE_MAX = RECORD_HEADER_SIZE + RECORD_PLAIN_MAX + 256,
};

struct record_layer {
	gnutls_aead_cipher_hd_t aead; /* NULL: not set up, or done */
	enum config_version version;
	enum config_cipher cipher;
	uint8_t key_size;
	uint8_t secret_size;
	uint8_t iv[12];
	uint8_t secret[48];
	uint64_t sequence; /* of the next record */
	uint64_t used;     /* records under this key since it was handed over */
};

struct record_content {
	enum record_type type;
	uint8_t *data; /* within the record */
	size_t size;
};

/* Takes one direction of the keys; they stay the caller's to wipe. 0, -EINVAL (keys that do not fit the
 * cipher) or -ENOMEM. */
int record_layer_init(struct record_layer *layer, const struct traffic_keys *keys,
		      const struct traffic_direction *direction);
/* Wipes the keys. Fine on a zeroed or a done one. */
void record_layer_done(struct record_layer *layer);

/* Goes on to the next traffic secret (RFC 8446, 7.2). 0, -ENOTSUP in TLS 1.2, -EIO. */
int record_layer_update(struct record_layer *layer);
/* Whether so much was protected with this key that it should be updated (RFC 8446, 5.5). Never in TLS
 * 1.2, which has no way to. */
bool record_layer_worn(const struct record_layer *layer);

/* Bytes before and behind the plain text of a record to be sealed. */
size_t record_layer_prefix(const struct record_layer *layer);
size_t record_layer_suffix(const struct record_layer *layer);
/* Makes a record of the plain text (at most RECORD_PLAIN_MAX bytes) that lies at record + prefix, with
 * suffix bytes of room behind it. The size of the whole record, or -EOVERFLOW (no sequence number is
 * left), -EMSGSIZE, -EIO. */
ssize_t record_layer_seal(struct record_layer *layer, enum record_type type, uint8_t *record,
			  size_t plain_size);

/* The size of the record that begins with these bytes; 0 as long as the header is not complete. The
 * alert to send if there can be no such record, 0 otherwise. */
int record_layer_measure(const struct record_layer *layer, const uint8_t *bytes, size_t available,
			 size_t *ret_size);
/* Opens the whole record that measure found, in place. 0, or the alert to send: the direction is then
 * of no use any more. */
int record_layer_open(struct record_layer *layer, uint8_t *record, size_t size,
		      struct record_content *ret_content);

#endif
