// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Traffic keys out of a session whose handshake is complete, for whoever moves its records from now
 * on. Touches the session's record state for reading; must never leave a copy of a key behind.
 */
#include "traffic-keys.h"

#include <errno.h>
#include <string.h>

/* Takes a line of the key log only if it is one of the two first application secrets. */
void traffic_secrets_take(struct traffic_secrets *secrets, const char *label,
			  const gnutls_datum_t *secret)
{
	if (secret->size > sizeof(secrets->client))
		return; /* no suite that a record path takes has a longer hash than SHA-384 */
	if (strcmp(label, "CLIENT_TRAFFIC_SECRET_0") == 0) {
		memcpy(secrets->client, secret->data, secret->size);
		secrets->client_size = (uint8_t)secret->size;
	} else if (strcmp(label, "SERVER_TRAFFIC_SECRET_0") == 0) {
		memcpy(secrets->server, secret->data, secret->size);
		secrets->server_size = (uint8_t)secret->size;
	}
}

void traffic_secrets_wipe(struct traffic_secrets *secrets)
{
	explicit_bzero(secrets, sizeof(*secrets));
}

void traffic_keys_wipe(struct traffic_keys *keys)
{
	explicit_bzero(keys, sizeof(*keys));
}

static int traffic_cipher(gnutls_session_t session, enum config_cipher *ret_cipher,
			  uint8_t *ret_key_size)
{
	switch (gnutls_cipher_get(session)) {
	case GNUTLS_CIPHER_AES_128_GCM:
		*ret_cipher = CONFIG_AES_128_GCM;
		*ret_key_size = 16;
		return 0;
	case GNUTLS_CIPHER_AES_256_GCM:
		*ret_cipher = CONFIG_AES_256_GCM;
		*ret_key_size = 32;
		return 0;
	case GNUTLS_CIPHER_CHACHA20_POLY1305:
		*ret_cipher = CONFIG_CHACHA20_POLY1305;
		*ret_key_size = 32;
		return 0;
	case GNUTLS_CIPHER_AES_128_CCM:
		*ret_cipher = CONFIG_AES_128_CCM;
		*ret_key_size = 16;
		return 0;
	default:
		return -ENOTSUP;
	}
}

/* One direction. GnuTLS lends its own memory here: it is copied, and wiped with the session. */
static int traffic_direction_export(gnutls_session_t session, unsigned read,
				    const struct traffic_keys *keys,
				    struct traffic_direction *direction)
{
	gnutls_datum_t mac, iv, key;
	unsigned char sequence[8];
	/* RFC 5288, 3 and RFC 6655, 3: 4 implicit bytes in TLS 1.2; RFC 7905, 2 and RFC 8446, 5.3: 12. */
	size_t iv_size =
	    keys->version == CONFIG_TLS12 && keys->cipher != CONFIG_CHACHA20_POLY1305 ? 4 : 12;

	if (gnutls_record_get_state(session, read, &mac, &iv, &key, sequence) < 0)
		return -EPROTO;
	if (key.size != keys->key_size || iv.size != iv_size)
		return -EPROTO;
	memcpy(direction->key, key.data, key.size);
	memcpy(direction->iv, iv.data, iv.size);
	for (size_t i = 0; i < sizeof(sequence); i++)
		direction->sequence = direction->sequence << 8 | sequence[i];
	return 0;
}

static int traffic_secrets_export(const struct traffic_secrets *secrets, struct traffic_keys *keys)
{
	const uint8_t *transmit = keys->is_server ? secrets->server : secrets->client;
	const uint8_t *receive = keys->is_server ? secrets->client : secrets->server;

	if (secrets->client_size == 0 || secrets->client_size != secrets->server_size)
		return -EPROTO;
	keys->secret_size = secrets->client_size;
	memcpy(keys->transmit.secret, transmit, keys->secret_size);
	memcpy(keys->receive.secret, receive, keys->secret_size);
	return 0;
}

int traffic_keys_export(gnutls_session_t session, bool is_server,
			const struct traffic_secrets *secrets, struct traffic_keys *ret_keys)
{
	struct traffic_keys keys;
	int error;

	memset(&keys, 0, sizeof(keys));
	keys.is_server = is_server;
	switch (gnutls_protocol_get_version(session)) {
	case GNUTLS_TLS1_2:
		keys.version = CONFIG_TLS12;
		break;
	case GNUTLS_TLS1_3:
		keys.version = CONFIG_TLS13;
		break;
	default:
		return -ENOTSUP;
	}
	error = traffic_cipher(session, &keys.cipher, &keys.key_size);
	if (error == 0 && keys.version == CONFIG_TLS13)
		error = traffic_secrets_export(secrets, &keys);
	if (error == 0)
		error = traffic_direction_export(session, 1, &keys, &keys.receive);
	if (error == 0)
		error = traffic_direction_export(session, 0, &keys, &keys.transmit);
	if (error == 0)
		*ret_keys = keys;
	traffic_keys_wipe(&keys);
	return error;
}
