/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Seals and opens single records with the AEAD ciphers of GnuTLS. Touches only the memory that it is
 * given; it must never copy plain text, never use a sequence number twice, and never hand out a byte
 * of a record whose tag was wrong. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

#include <gnutls/gnutls.h>

#include "key-schedule.h"
#include "record-layer.h"

enum { EXPLICIT_NONCE_SIZE = 8, SALT_SIZE = 4, NONCE_SIZE = 12 };

/* RFC 8446, 5.5 allows 2^24.5 full records under one key with AES-GCM; RFC 9147, 4.5.3 about 2^23 with
 * AES-CCM. ChaCha20 has no bound that matters; one for all costs nothing. */
static const uint64_t records_per_key = UINT64_C(1) << 22;

static const struct {
	gnutls_cipher_algorithm_t algorithm;
	uint8_t key_size;
	bool explicit_nonce; /* in TLS 1.2: RFC 5288, 3; RFC 6655, 3; not so RFC 7905, 2 */
} ciphers[CONFIG_CIPHERS] = {
    [CONFIG_AES_128_GCM] = {GNUTLS_CIPHER_AES_128_GCM, 16, true},
    [CONFIG_AES_256_GCM] = {GNUTLS_CIPHER_AES_256_GCM, 32, true},
    [CONFIG_CHACHA20_POLY1305] = {GNUTLS_CIPHER_CHACHA20_POLY1305, 32, false},
    [CONFIG_AES_128_CCM] = {GNUTLS_CIPHER_AES_128_CCM, 16, true},
};

static void put_u16(uint8_t *bytes, size_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static void put_u64(uint8_t *bytes, uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		bytes[i] = (uint8_t)value;
}

static bool has_explicit_nonce(const struct record_layer *layer)
{
	return layer->version == CONFIG_TLS12 && ciphers[layer->cipher].explicit_nonce;
}

static int aead_start(struct record_layer *layer, const uint8_t *key)
{
	gnutls_datum_t datum = {(uint8_t *)key, layer->key_size};

	if (layer->aead)
		gnutls_aead_cipher_deinit(layer->aead);
	layer->aead = NULL;
	int result =
	    gnutls_aead_cipher_init(&layer->aead, ciphers[layer->cipher].algorithm, &datum);
	if (result < 0) {
		layer->aead = NULL;
		return result == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL;
	}
	return 0;
}

int record_layer_init(struct record_layer *layer, const struct traffic_keys *keys,
		      const struct traffic_direction *direction)
{
	memset(layer, 0, sizeof *layer);
	if ((unsigned)keys->cipher >= CONFIG_CIPHERS ||
	    keys->key_size != ciphers[keys->cipher].key_size)
		return -EINVAL;
	if (keys->version == CONFIG_TLS13 ? keys->secret_size != 32 && keys->secret_size != 48
					  : keys->version != CONFIG_TLS12 || keys->secret_size != 0)
		return -EINVAL;
	layer->version = keys->version;
	layer->cipher = keys->cipher;
	layer->key_size = keys->key_size;
	layer->secret_size = keys->secret_size;
	layer->sequence = direction->sequence;
	memcpy(layer->iv, direction->iv, sizeof layer->iv);
	memcpy(layer->secret, direction->secret, layer->secret_size);
	int result = aead_start(layer, direction->key);
	if (result < 0)
		record_layer_done(layer);
	return result;
}

void record_layer_done(struct record_layer *layer)
{
	if (layer->aead)
		gnutls_aead_cipher_deinit(layer->aead); /* wipes its key */
	explicit_bzero(layer, sizeof *layer);
}

int record_layer_update(struct record_layer *layer)
{
	uint8_t secret[sizeof layer->secret], key[32], iv[NONCE_SIZE];
	int result = -ENOTSUP;

	if (layer->version != CONFIG_TLS13)
		return result;
	result = key_schedule_expand(layer->secret, layer->secret_size, "traffic upd", secret,
				     layer->secret_size);
	if (result == 0)
		result =
		    key_schedule_expand(secret, layer->secret_size, "key", key, layer->key_size);
	if (result == 0)
		result = key_schedule_expand(secret, layer->secret_size, "iv", iv, sizeof iv);
	if (result == 0 && aead_start(layer, key) < 0)
		result = -EIO;
	if (result == 0) {
		memcpy(layer->secret, secret, layer->secret_size);
		memcpy(layer->iv, iv, sizeof iv);
		layer->sequence = 0;
		layer->used = 0;
	}
	explicit_bzero(secret, sizeof secret);
	explicit_bzero(key, sizeof key);
	explicit_bzero(iv, sizeof iv);
	return result;
}

bool record_layer_worn(const struct record_layer *layer)
{
	return layer->version == CONFIG_TLS13 && layer->used >= records_per_key;
}

size_t record_layer_prefix(const struct record_layer *layer)
{
	return RECORD_HEADER_SIZE + (has_explicit_nonce(layer) ? EXPLICIT_NONCE_SIZE : 0);
}

size_t record_layer_suffix(const struct record_layer *layer)
{
	return (layer->version == CONFIG_TLS13 ? 1 : 0) + RECORD_TAG_SIZE;
}

/* The nonce: iv xor sequence number (RFC 8446, 5.3; RFC 7905, 2), or salt and what the record tells. */
static void make_nonce(const struct record_layer *layer, const uint8_t *record, uint8_t *ret_nonce)
{
	if (has_explicit_nonce(layer)) {
		memcpy(ret_nonce, layer->iv, SALT_SIZE);
		memcpy(ret_nonce + SALT_SIZE, record + RECORD_HEADER_SIZE, EXPLICIT_NONCE_SIZE);
		return;
	}
	uint8_t sequence[8];
	put_u64(sequence, layer->sequence);
	memcpy(ret_nonce, layer->iv, NONCE_SIZE);
	for (int i = 0; i < 8; i++)
		ret_nonce[4 + i] ^= sequence[i];
}

/* The additional data: the header of TLS 1.3 as it is (RFC 8446, 5.2), or sequence number and the header
 * with the plain text's length (RFC 5246, 6.2.3.3). Its size. */
static size_t make_additional(const struct record_layer *layer, const uint8_t *record,
			      size_t plain_size, uint8_t *ret_bytes)
{
	if (layer->version == CONFIG_TLS13) {
		memcpy(ret_bytes, record, RECORD_HEADER_SIZE);
		return RECORD_HEADER_SIZE;
	}
	put_u64(ret_bytes, layer->sequence);
	memcpy(ret_bytes + 8, record, 3);
	put_u16(ret_bytes + 11, plain_size);
	return 13;
}

ssize_t record_layer_seal(struct record_layer *layer, enum record_type type, uint8_t *record,
			  size_t plain_size)
{
	uint8_t nonce[NONCE_SIZE], additional[13];
	size_t prefix = record_layer_prefix(layer), protected = plain_size,
	       tag_size = RECORD_TAG_SIZE;
	uint8_t *plain = record + prefix;

	if (!layer->aead)
		return -EIO;
	if (plain_size > RECORD_PLAIN_MAX)
		return -EMSGSIZE;
	if (layer->sequence == UINT64_MAX) /* must not wrap: RFC 8446, 5.3 */
		return -EOVERFLOW;
	record[0] = (uint8_t)type;
	if (layer->version == CONFIG_TLS13) {
		plain[protected ++] = (uint8_t)type;
		record[0] = RECORD_DATA;
	}
	put_u16(record + 1, 0x0303);
	put_u16(record + 3, prefix - RECORD_HEADER_SIZE + protected + RECORD_TAG_SIZE);
	if (has_explicit_nonce(layer))
		put_u64(record + RECORD_HEADER_SIZE, layer->sequence);
	make_nonce(layer, record, nonce);

	giovec_t additional_vector = {additional,
				      make_additional(layer, record, plain_size, additional)};
	giovec_t vector = {plain, protected};
	if (gnutls_aead_cipher_encryptv2(layer->aead, nonce, sizeof nonce, &additional_vector, 1,
					 &vector, 1, plain + protected, &tag_size) < 0 ||
	    tag_size != RECORD_TAG_SIZE)
		return -EIO;
	layer->sequence++;
	layer->used++;
	return (ssize_t)(prefix + protected + RECORD_TAG_SIZE);
}

int record_layer_measure(const struct record_layer *layer, const uint8_t *bytes, size_t available,
			 size_t *ret_size)
{
	size_t overhead = record_layer_prefix(layer) - RECORD_HEADER_SIZE + RECORD_TAG_SIZE;
	bool is_tls13 = layer->version == CONFIG_TLS13;

	*ret_size = 0;
	if (available < RECORD_HEADER_SIZE)
		return 0;
	size_t size = (size_t)bytes[3] << 8 | bytes[4];
	/* In TLS 1.3 the version says nothing (RFC 8446, 5.1) and, once there are traffic keys, every
	 * record looks like data; a change_cipher_spec behind the Finished is unexpected (5). */
	if (is_tls13 ? bytes[0] != RECORD_DATA
		     : bytes[0] < RECORD_CHANGE_CIPHER_SPEC || bytes[0] > RECORD_DATA)
		return RECORD_UNEXPECTED_MESSAGE;
	if (!is_tls13 && (bytes[1] != 3 || bytes[2] != 3))
		return RECORD_PROTOCOL_VERSION;
	if (size > RECORD_PLAIN_MAX + (is_tls13 ? 256 : overhead))
		return RECORD_OVERFLOW;
	if (size < overhead + (is_tls13 ? 1 : 0))
		return RECORD_DECODE_ERROR;
	*ret_size = RECORD_HEADER_SIZE + size;
	return 0;
}

/* The inner plain text of TLS 1.3 ends with its type and padding (RFC 8446, 5.4). */
static int strip_padding(struct record_content *content)
{
	size_t size = content->size;

	while (size > 0 && content->data[size - 1] == 0)
		size--;
	if (size == 0)
		return RECORD_UNEXPECTED_MESSAGE;
	content->type = content->data[size - 1];
	content->size = size - 1;
	return 0;
}

int record_layer_open(struct record_layer *layer, uint8_t *record, size_t size,
		      struct record_content *ret_content)
{
	uint8_t nonce[NONCE_SIZE], additional[13];
	size_t prefix = record_layer_prefix(layer);

	if (!layer->aead || layer->sequence == UINT64_MAX)
		return RECORD_INTERNAL_ERROR;
	if (size < prefix + RECORD_TAG_SIZE)
		return RECORD_DECODE_ERROR;
	size_t protected = size - prefix - RECORD_TAG_SIZE;
	make_nonce(layer, record, nonce);
	giovec_t additional_vector = {additional,
				      make_additional(layer, record, protected, additional)};
	giovec_t vector = {record + prefix, protected};
	if (gnutls_aead_cipher_decryptv2(layer->aead, nonce, sizeof nonce, &additional_vector, 1,
					 &vector, 1, record + prefix + protected,
					 RECORD_TAG_SIZE) < 0)
		return RECORD_BAD_RECORD_MAC;
	layer->sequence++;
	layer->used++;

	struct record_content content = {record[0], record + prefix, protected};
	if (layer->version == CONFIG_TLS13) {
		if (protected > RECORD_PLAIN_MAX + 1)
			return RECORD_OVERFLOW;
		int alert = strip_padding(&content);
		if (alert)
			return alert;
	}
	/* Only data may be empty: RFC 8446, 5.1; RFC 5246, 6.2.1. */
	if (content.type < RECORD_ALERT || content.type > RECORD_DATA ||
	    (content.size == 0 && content.type != RECORD_DATA))
		return RECORD_UNEXPECTED_MESSAGE;
	*ret_content = content;
	return 0;
}
