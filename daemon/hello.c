// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A second look at the peer's hello, for what has to be known after the hand-over. Touches nothing but
 * its arguments; must never be the one that accepts or refuses a message.
 */
#include "hello.h"

#include <string.h>

enum {
	EXTENSION_MAX_FRAGMENT_LENGTH = 1,
	EXTENSION_RECORD_SIZE_LIMIT = 28,
	EXTENSION_SUPPORTED_VERSIONS = 43,
	RANDOM_SIZE = 32,
	RECORD_SIZE_LIMIT_MIN = 512, /* below it, GnuTLS as a server does not agree */
};

/* RFC 8446, 4.2.1: in a ClientHello one byte of length, then versions of two bytes. */
static void versions_read(struct hello *hello, const unsigned char *data, unsigned size)
{
	hello->tls12 = false;
	hello->tls13 = false;
	for (unsigned i = 1; i + 2 <= size; i += 2) {
		if (data[i] != 3)
			continue;
		hello->tls12 = hello->tls12 || data[i + 1] == 3;
		hello->tls13 = hello->tls13 || data[i + 1] == 4;
	}
}

static int extension_read(void *context, unsigned number, const unsigned char *data, unsigned size)
{
	struct hello *hello = context;

	if (number == EXTENSION_MAX_FRAGMENT_LENGTH && size == 1)
		hello->max_fragment_length = data[0];
	else if (number == EXTENSION_RECORD_SIZE_LIMIT && size == 2)
		hello->record_size_limit = (uint16_t)(data[0] << 8 | data[1]);
	else if (number == EXTENSION_SUPPORTED_VERSIONS && size >= 3)
		versions_read(hello, data, size);
	return 0;
}

static void client_hello_read(struct hello *hello, const gnutls_datum_t *message)
{
	if (message->size < 2)
		return;
	memset(hello, 0, sizeof(*hello)); /* a second one, after HelloRetryRequest, stands alone */
	hello->seen = true;
	/* Without supported_versions, legacy_version is the highest that is offered. */
	hello->tls12 = message->data[0] == 3 && message->data[1] >= 3;
	gnutls_ext_raw_parse(hello, extension_read, message, GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
}

/* RFC 5246, 7.4.1.3: version, random, session_id, cipher suite, compression, extensions. */
static void server_hello_read(struct hello *hello, const gnutls_datum_t *message)
{
	unsigned at = 2 + RANDOM_SIZE;
	gnutls_datum_t extensions;

	if (message->size <= at)
		return;
	at += 1u + message->data[at] + 2 + 1;
	if (message->size < at + 2)
		return;
	extensions.data = message->data + at;
	extensions.size = message->size - at;
	hello->seen = true;
	gnutls_ext_raw_parse(hello, extension_read, &extensions, 0);
}

void hello_read(struct hello *hello, unsigned message_type, const gnutls_datum_t *message)
{
	switch (message_type) {
	case GNUTLS_HANDSHAKE_CLIENT_HELLO:
		client_hello_read(hello, message);
		break;
	case GNUTLS_HANDSHAKE_SERVER_HELLO:
		server_hello_read(hello, message);
		break;
	case GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS:
		gnutls_ext_raw_parse(hello, extension_read, message, 0);
		break;
	default:
		break;
	}
}

uint16_t hello_record_limit(const struct hello *hello, bool we_are_server, bool tls13)
{
	unsigned limit = HELLO_RECORD_MAX;

	if (hello->record_size_limit >= RECORD_SIZE_LIMIT_MIN)
		/* RFC 8449, 4: in TLS 1.3 the byte of the content type counts. */
		limit = hello->record_size_limit - (tls13 ? 1u : 0u);
	else if (we_are_server && hello->record_size_limit == 0 &&
		 hello->max_fragment_length >= 1 && hello->max_fragment_length <= 4)
		limit = 256u << hello->max_fragment_length;
	return (uint16_t)(limit < HELLO_RECORD_MAX ? limit : HELLO_RECORD_MAX);
}
