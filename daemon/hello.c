// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A second look at the peer's hello, for what has to be known after the hand-over. Touches nothing but
 * its arguments; must never be the one that accepts or refuses a message.
 */
#include "hello.h"

#include <string.h>

enum {
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_MAX_FRAGMENT_LENGTH = 1,
	EXTENSION_SUPPORTED_GROUPS = 10,
	EXTENSION_RECORD_SIZE_LIMIT = 28,
	EXTENSION_SESSION_TICKET = 35,
	EXTENSION_PRE_SHARED_KEY = 41,
	EXTENSION_SUPPORTED_VERSIONS = 43,
	EXTENSION_PSK_MODES = 45,
	PSK_DHE_KE = 1,
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

/* RFC 6066, 3: a list of type, length and name; the first host_name counts, as for the library. */
static void server_name_read(struct hello *hello, const unsigned char *data, unsigned size)
{
	unsigned at = 2;

	while (at + 3 <= size && hello->server_name[0] == '\0') {
		unsigned length = (unsigned)data[at + 1] << 8 | data[at + 2];

		if (length > size - at - 3)
			return;
		if (data[at] == 0 && length < sizeof(hello->server_name) &&
		    memchr(data + at + 3, '\0', length) == NULL)
			memcpy(hello->server_name, data + at + 3, length);
		at += 3 + length;
	}
}

static void ticket_add(struct hello *hello, const unsigned char *data, unsigned size)
{
	if (size >= HELLO_TICKET_NAME && hello->ticket_count < HELLO_TICKETS_MAX)
		memcpy(hello->tickets[hello->ticket_count++], data, HELLO_TICKET_NAME);
}

/* RFC 8446, 4.2.11: identities of length, bytes and age. */
static void identities_read(struct hello *hello, const unsigned char *data, unsigned size)
{
	unsigned end = size >= 2 ? 2 + ((unsigned)data[0] << 8 | data[1]) : 0, at = 2;

	if (end > size)
		end = size;
	while (at + 2 <= end) {
		unsigned length = (unsigned)data[at] << 8 | data[at + 1];

		if (length + 4 > end - at - 2)
			return;
		ticket_add(hello, data + at + 2, length);
		at += 2 + length + 4;
	}
}

static void psk_modes_read(struct hello *hello, const unsigned char *data, unsigned size)
{
	for (unsigned i = 1; i < size; i++)
		hello->psk_dhe = hello->psk_dhe || data[i] == PSK_DHE_KE;
}

/* What only a ClientHello has. */
static int client_extension_read(struct hello *hello, unsigned number, const unsigned char *data,
				 unsigned size)
{
	switch (number) {
	case EXTENSION_SERVER_NAME:
		server_name_read(hello, data, size);
		break;
	case EXTENSION_SESSION_TICKET:
		ticket_add(hello, data, size);
		break;
	case EXTENSION_PRE_SHARED_KEY:
		identities_read(hello, data, size);
		break;
	case EXTENSION_PSK_MODES:
		psk_modes_read(hello, data, size);
		break;
	default:
		break;
	}
	return 0;
}

/* RFC 8446, 4.2.7: two bytes of length, then groups of two bytes. */
static void groups_read(struct hello *hello, const unsigned char *data, unsigned size)
{
	hello->group_count = 0;
	for (unsigned i = 2; i + 2 <= size && hello->group_count < HELLO_GROUPS_MAX; i += 2)
		hello->groups[hello->group_count++] = (uint16_t)(data[i] << 8 | data[i + 1]);
}

static int extension_read(void *context, unsigned number, const unsigned char *data, unsigned size)
{
	struct hello *hello = context;

	if (number == EXTENSION_MAX_FRAGMENT_LENGTH && size == 1)
		hello->max_fragment_length = data[0];
	else if (number == EXTENSION_SUPPORTED_GROUPS)
		groups_read(hello, data, size);
	else if (number == EXTENSION_RECORD_SIZE_LIMIT && size == 2)
		hello->record_size_limit = (uint16_t)(data[0] << 8 | data[1]);
	else if (number == EXTENSION_SUPPORTED_VERSIONS && size >= 3)
		versions_read(hello, data, size);
	return hello->client ? client_extension_read(hello, number, data, size) : 0;
}

static void client_hello_read(struct hello *hello, const gnutls_datum_t *message)
{
	if (message->size < 2)
		return;
	memset(hello, 0, sizeof(*hello)); /* a second one, after HelloRetryRequest, stands alone */
	hello->seen = true;
	hello->client = true;
	hello->session_id = message->size > 2 + RANDOM_SIZE && message->data[2 + RANDOM_SIZE] > 0;
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
