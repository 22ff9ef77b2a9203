// SPDX-License-Identifier: LGPL-2.1-or-later
// TLS records by hand (RFC 8446, 5.2; RFC 5246, 6.2.3.3; RFC 7905, 2), with GnuTLS's AEAD functions.
#include "engine-records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <gnutls/crypto.h>

enum { HEADER = 5, TAG = 16, EXPLICIT = 8, RECORD = 16384 + 256 };

static gnutls_aead_cipher_hd_t cipher_open(const struct traffic_keys *keys,
					   const struct traffic_direction *direction)
{
	static const gnutls_cipher_algorithm_t algorithms[] = {
	    [CONFIG_AES_128_GCM] = GNUTLS_CIPHER_AES_128_GCM,
	    [CONFIG_AES_256_GCM] = GNUTLS_CIPHER_AES_256_GCM,
	    [CONFIG_CHACHA20_POLY1305] = GNUTLS_CIPHER_CHACHA20_POLY1305,
	    [CONFIG_AES_128_CCM] = GNUTLS_CIPHER_AES_128_CCM,
	};
	gnutls_datum_t key = {(unsigned char *)direction->key, keys->key_size};
	gnutls_aead_cipher_hd_t handle;

	assert_int_equal(gnutls_aead_cipher_init(&handle, algorithms[keys->cipher], &key), 0);
	return handle;
}

static bool has_explicit_nonce(const struct traffic_keys *keys)
{
	return keys->version == CONFIG_TLS12 && keys->cipher != CONFIG_CHACHA20_POLY1305;
}

static void put_number(uint8_t *bytes, uint64_t number)
{
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(number >> (56 - 8 * i));
}

static void nonce_make(uint8_t nonce[12], const struct traffic_keys *keys,
		       const struct traffic_direction *direction, const uint8_t *explicit_part)
{
	uint8_t number[8];

	memcpy(nonce, direction->iv, 12);
	if (has_explicit_nonce(keys)) {
		memcpy(nonce + 4, explicit_part, EXPLICIT);
		return;
	}
	put_number(number, direction->sequence);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= number[i];
}

/* The additional data: the header in TLS 1.3; number, type, version and length in TLS 1.2. */
static size_t aad_make(uint8_t aad[13], const struct traffic_keys *keys,
		       const struct traffic_direction *direction, const uint8_t *header,
		       size_t plain)
{
	if (keys->version == CONFIG_TLS13) {
		memcpy(aad, header, HEADER);
		return HEADER;
	}
	put_number(aad, direction->sequence);
	memcpy(aad + 8, header, 3);
	aad[11] = (uint8_t)(plain >> 8);
	aad[12] = (uint8_t)plain;
	return 13;
}

void engine_record_send(int fd, struct traffic_keys *keys, const char *data)
{
	struct traffic_direction *direction = &keys->transmit;
	size_t lead = has_explicit_nonce(keys) ? EXPLICIT : 0;
	size_t plain = strlen(data) + (keys->version == CONFIG_TLS13 ? 1 : 0);
	size_t body = lead + plain + TAG;
	uint8_t record[HEADER + 1024] = {23, 3, 3, (uint8_t)(body >> 8), (uint8_t)body};
	uint8_t inner[512] = {0}, nonce[12], aad[13];
	size_t aad_size, out = sizeof(record) - HEADER - lead;
	gnutls_aead_cipher_hd_t handle = cipher_open(keys, direction);

	memcpy(inner, data, strlen(data));
	if (keys->version == CONFIG_TLS13)
		inner[strlen(data)] = 23;
	if (lead > 0)
		put_number(record + HEADER, direction->sequence);
	nonce_make(nonce, keys, direction, record + HEADER);
	aad_size = aad_make(aad, keys, direction, record, plain);
	assert_int_equal(gnutls_aead_cipher_encrypt(handle, nonce, sizeof(nonce), aad, aad_size,
						    TAG, inner, plain, record + HEADER + lead,
						    &out),
			 0);
	gnutls_aead_cipher_deinit(handle);
	assert_int_equal(send(fd, record, HEADER + body, MSG_NOSIGNAL), HEADER + body);
	direction->sequence++;
}

int engine_record_receive(int fd, struct traffic_keys *keys, char *ret_data, size_t size)
{
	static uint8_t record[HEADER + RECORD], inner[RECORD];
	struct traffic_direction *direction = &keys->receive;
	size_t lead = has_explicit_nonce(keys) ? EXPLICIT : 0;
	size_t body, out = sizeof(inner), aad_size;
	uint8_t nonce[12], aad[13];
	gnutls_aead_cipher_hd_t handle;
	int type;

	assert_int_equal(recv(fd, record, HEADER, MSG_WAITALL), HEADER);
	body = (size_t)record[3] << 8 | record[4];
	assert_int_equal(recv(fd, record + HEADER, body, MSG_WAITALL), body);
	nonce_make(nonce, keys, direction, record + HEADER);
	aad_size = aad_make(aad, keys, direction, record, body - lead - TAG);
	handle = cipher_open(keys, direction);
	assert_int_equal(gnutls_aead_cipher_decrypt(handle, nonce, sizeof(nonce), aad, aad_size,
						    TAG, record + HEADER + lead, body - lead, inner,
						    &out),
			 0);
	gnutls_aead_cipher_deinit(handle);
	direction->sequence++;
	type = record[0];
	if (keys->version == CONFIG_TLS13) {
		while (out > 0 && inner[out - 1] == 0)
			out--;
		type = inner[--out];
	}
	assert_true(out < size);
	memcpy(ret_data, inner, out);
	ret_data[out] = '\0';
	return type;
}
