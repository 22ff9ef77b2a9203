// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Handshake messages as JSON. Touches nothing but its arguments. Never judges a message, never reads beyond
 * it, and never shows a secret: tickets and PSK binders are told by their size alone.
 */
#include "trace-message.h"

#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#include "tls-names.h"
#include "trace-certificates.h"
#include "trace-reader.h"

typedef const char *name_function(uint16_t number);

enum {
	RANDOM_SIZE = 32,
	EXTENSIONS_MAX = 128, /* that are looked at */
};

/* RFC 8446, 4.1.3: SHA-256 of "HelloRetryRequest", in the place of a random. */
static const uint8_t retry_random[RANDOM_SIZE] = {
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
};

/* ---- Words --------------------------------------------------------------------------------- */

static void add_name(struct json_text *json, const char *key, name_function *name, uint16_t number)
{
	const char *word = tls_is_grease(number) ? "GREASE" : name(number);
	char digits[8];

	if (!word) {
		snprintf(digits, sizeof(digits), "0x%04x", number);
		word = digits;
	}
	json_add(json, key, word);
}

/* The rest of what a list has is counted. */
static void add_rest(struct json_text *json, const char *key, size_t rest)
{
	char name[48];

	if (rest == 0)
		return;
	snprintf(name, sizeof(name), "%s-not-shown", key);
	json_add_number(json, name, rest);
}

static void add_list(struct json_text *json, const char *key, name_function *name,
		     struct trace_reader list)
{
	size_t count = 0;

	json_open(json, key, '[');
	for (; list.left >= 2; count++) {
		uint16_t number = (uint16_t)trace_read_number(&list, 2);

		if (count < TRACE_LIST_MAX)
			add_name(json, NULL, name, number);
	}
	json_close(json, ']');
	add_rest(json, key, count > TRACE_LIST_MAX ? count - TRACE_LIST_MAX : 0);
}

static void add_text(struct json_text *json, const char *key, struct trace_reader text)
{
	json_add_bytes(json, key, text.at, text.left < TRACE_TEXT_MAX ? text.left : TRACE_TEXT_MAX);
}

/* ---- Extensions ---------------------------------------------------------------------------- */

enum where {
	IN_CLIENT_HELLO,
	IN_SERVER_HELLO, /* of either version, and in a HelloRetryRequest */
	IN_ENCRYPTED,    /* EncryptedExtensions */
	IN_REQUEST,      /* CertificateRequest of TLS 1.3 */
	IN_TICKET,       /* NewSessionTicket of TLS 1.3 */
};

/* RFC 6066, 3 */
static void read_server_name(struct json_text *json, struct trace_reader *data, enum where where)
{
	struct trace_reader list, name;

	if (where != IN_CLIENT_HELLO) {
		json_add_boolean(json, "server-name-used", true);
		return;
	}
	list = trace_read_vector(data, 2);
	if (trace_read_number(&list, 1) != 0)
		return;
	name = trace_read_vector(&list, 2);
	data->broken |= list.broken;
	add_text(json, "server-name", name);
}

/* RFC 7301, 3.1 */
static void read_alpn(struct json_text *json, struct trace_reader *data, enum where where)
{
	struct trace_reader list = trace_read_vector(data, 2);
	size_t count = 0;

	if (where != IN_CLIENT_HELLO) {
		add_text(json, "alpn-chosen", trace_read_vector(&list, 1));
		return;
	}
	json_open(json, "alpn", '[');
	for (; list.left > 0; count++) {
		struct trace_reader protocol = trace_read_vector(&list, 1);

		if (count < TRACE_LIST_MAX && !list.broken)
			add_text(json, NULL, protocol);
	}
	json_close(json, ']');
	data->broken |= list.broken;
	add_rest(json, "alpn", count > TRACE_LIST_MAX ? count - TRACE_LIST_MAX : 0);
}

/* RFC 8446, 4.2.1 */
static void read_versions(struct json_text *json, struct trace_reader *data, enum where where)
{
	if (where == IN_CLIENT_HELLO)
		add_list(json, "versions", tls_version_name, trace_read_vector(data, 1));
	else
		add_name(json, "version-chosen", tls_version_name,
			 (uint16_t)trace_read_number(data, 2));
}

/* RFC 8446, 4.2.8: shares of a client, of a server, or the group that a server asks for. */
static void read_key_share(struct json_text *json, struct trace_reader *data, enum where where)
{
	struct trace_reader list;
	size_t count = 0;

	if (where != IN_CLIENT_HELLO) {
		add_name(json, "group-chosen", tls_group_name,
			 (uint16_t)trace_read_number(data, 2));
		if (data->left > 0)
			json_add_number(json, "key-share-size", trace_read_vector(data, 2).left);
		return;
	}
	list = trace_read_vector(data, 2);
	json_open(json, "key-shares", '[');
	for (; list.left > 0 && count < TRACE_LIST_MAX; count++) {
		uint16_t group = (uint16_t)trace_read_number(&list, 2);
		struct trace_reader share = trace_read_vector(&list, 2);

		if (list.broken)
			break;
		json_open(json, NULL, '{');
		add_name(json, "group", tls_group_name, group);
		json_add_number(json, "size", share.left);
		json_close(json, '}');
	}
	json_close(json, ']');
	data->broken |= list.broken;
}

/* A name of a key that two sides have agreed on is shown, a ticket only by its size. */
static void add_psk_identity(struct json_text *json, struct trace_reader identity)
{
	bool readable = identity.left <= 64;

	json_open(json, NULL, '{');
	for (size_t i = 0; i < identity.left && readable; i++)
		readable = identity.at[i] >= 0x20 && identity.at[i] < 0x7f;
	if (readable)
		add_text(json, "identity", identity);
	json_add_number(json, "size", identity.left);
	json_close(json, '}');
}

/* RFC 8446, 4.2.11 */
static void read_psk(struct json_text *json, struct trace_reader *data, enum where where)
{
	struct trace_reader list;
	size_t count = 0;

	if (where != IN_CLIENT_HELLO) {
		json_add_number(json, "psk-chosen", trace_read_number(data, 2));
		return;
	}
	list = trace_read_vector(data, 2);
	trace_read_vector(data, 2); /* binders */
	json_open(json, "psk-identities", '[');
	for (; list.left > 0 && count < TRACE_LIST_MAX; count++) {
		struct trace_reader identity = trace_read_vector(&list, 2);

		trace_read_number(&list, 4); /* obfuscated_ticket_age */
		if (!list.broken)
			add_psk_identity(json, identity);
	}
	json_close(json, ']');
	data->broken |= list.broken;
}

static void read_early_data(struct json_text *json, struct trace_reader *data, enum where where)
{
	if (where == IN_TICKET)
		json_add_number(json, "max-early-data", trace_read_number(data, 4));
	else
		json_add_boolean(
		    json, where == IN_CLIENT_HELLO ? "early-data" : "early-data-accepted", true);
}

static void read_session_ticket(struct json_text *json, struct trace_reader *data, enum where where)
{
	if (where == IN_CLIENT_HELLO && data->left > 0)
		json_add_number(json, "ticket-size", data->left);
	else
		json_add_boolean(json, where == IN_CLIENT_HELLO ? "tickets" : "ticket-follows",
				 true);
	trace_read(data, data->left);
}

static void extension_describe(struct json_text *json, unsigned number, struct trace_reader *data,
			       enum where where)
{
	switch (number) {
	case 0:
		read_server_name(json, data, where);
		break;
	case 10:
		add_list(json, "groups", tls_group_name, trace_read_vector(data, 2));
		break;
	case 13:
		add_list(json, "signature-algorithms", tls_scheme_name, trace_read_vector(data, 2));
		break;
	case 16:
		read_alpn(json, data, where);
		break;
	case 28:
		json_add_number(json, "record-size-limit", trace_read_number(data, 2));
		break;
	case 35:
		read_session_ticket(json, data, where);
		break;
	case 41:
		read_psk(json, data, where);
		break;
	case 42:
		read_early_data(json, data, where);
		break;
	case 43:
		read_versions(json, data, where);
		break;
	case 51:
		read_key_share(json, data, where);
		break;
	default:
		break;
	}
}

/* Each number once: what a hostile hello repeats is not shown again, so that no key comes twice. */
static bool seen_before(uint16_t *seen, size_t count, uint16_t number)
{
	for (size_t i = 0; i < count; i++)
		if (seen[i] == number)
			return true;
	return false;
}

static void extensions_describe(struct json_text *json, struct trace_reader *reader,
				enum where where)
{
	struct trace_reader list = trace_read_vector(reader, 2), names = list;
	uint16_t seen[EXTENSIONS_MAX];
	size_t count = 0, total = 0;

	while (list.left > 0) {
		uint16_t number = (uint16_t)trace_read_number(&list, 2);
		struct trace_reader data = trace_read_vector(&list, 2);

		if (list.broken || count == EXTENSIONS_MAX)
			break;
		if (seen_before(seen, count, number))
			continue;
		seen[count++] = number;
		extension_describe(json, number, &data, where);
		reader->broken |= data.broken;
	}
	reader->broken |= list.broken;
	json_open(json, "extensions", '[');
	while (names.left > 0) {
		uint16_t number = (uint16_t)trace_read_number(&names, 2);

		trace_read_vector(&names, 2);
		if (total++ < TRACE_LIST_MAX)
			add_name(json, NULL, tls_extension_name, number);
	}
	json_close(json, ']');
	add_rest(json, "extensions", total > TRACE_LIST_MAX ? total - TRACE_LIST_MAX : 0);
}

/* ---- Hellos -------------------------------------------------------------------------------- */

static void add_session_id(struct json_text *json, struct trace_reader *reader)
{
	struct trace_reader id = trace_read_vector(reader, 1);

	json_add_hex(json, "session-id", id.at, id.left);
}

/* RFC 8446, 4.1.2 */
static void describe_client_hello(struct json_text *json, struct trace_reader *reader)
{
	uint16_t version = (uint16_t)trace_read_number(reader, 2);
	const uint8_t *random = trace_read(reader, RANDOM_SIZE);

	add_name(json, "legacy-version", tls_version_name, version);
	json_add_hex(json, "random", random, random ? RANDOM_SIZE : 0);
	add_session_id(json, reader);
	add_list(json, "suites", tls_suite_name, trace_read_vector(reader, 2));
	trace_read_vector(reader, 1); /* compression methods */
	if (reader->left > 0)
		extensions_describe(json, reader, IN_CLIENT_HELLO);
}

/* The extension supported_versions decides (RFC 8446, 4.2.1). */
static bool is_tls13(struct trace_reader reader)
{
	struct trace_reader list = trace_read_vector(&reader, 2);

	while (list.left > 0) {
		uint32_t number = trace_read_number(&list, 2);
		struct trace_reader data = trace_read_vector(&list, 2);

		if (number == 43)
			return trace_read_number(&data, 2) == 0x0304;
	}
	return false;
}

/* RFC 8446, 4.1.3 and RFC 5246, 7.4.1.3 */
static void describe_server_hello(struct json_text *json, struct trace_context *context,
				  struct trace_reader *reader)
{
	uint16_t version = (uint16_t)trace_read_number(reader, 2);
	const uint8_t *random = trace_read(reader, RANDOM_SIZE);

	add_name(json, "legacy-version", tls_version_name, version);
	json_add_hex(json, "random", random, random ? RANDOM_SIZE : 0);
	if (random && memcmp(random, retry_random, RANDOM_SIZE) == 0)
		json_add_boolean(json, "retry", true);
	add_session_id(json, reader);
	context->suite = (uint16_t)trace_read_number(reader, 2);
	add_name(json, "suite-chosen", tls_suite_name, context->suite);
	trace_read_number(reader, 1); /* compression method */
	context->tls13 = is_tls13(*reader);
	if (!context->tls13)
		add_name(json, "version-chosen", tls_version_name, version);
	if (reader->left > 0)
		extensions_describe(json, reader, IN_SERVER_HELLO);
}

/* ---- The rest ------------------------------------------------------------------------------ */

static bool suite_has(const struct trace_context *context, const char *word)
{
	const char *name = tls_suite_name(context->suite);

	return name && strstr(name, word);
}

/* RFC 8422, 5.4; RFC 5246, 7.4.3; RFC 4279, 2 and RFC 5489, 2: a PSK's hint comes first. */
static void describe_server_key_exchange(struct json_text *json,
					 const struct trace_context *context,
					 struct trace_reader *reader)
{
	struct trace_reader part;

	if (suite_has(context, "PSK_"))
		add_text(json, "psk-hint", trace_read_vector(reader, 2));
	if (suite_has(context, "_ECDHE_")) {
		if (trace_read_number(reader, 1) != 3) /* named_curve */
			return;
		add_name(json, "group-chosen", tls_group_name,
			 (uint16_t)trace_read_number(reader, 2));
		part = trace_read_vector(reader, 1);
		json_add_number(json, "key-share-size", part.left);
	} else if (suite_has(context, "_DHE_")) {
		part = trace_read_vector(reader, 2);
		json_add_number(json, "prime-bits", part.left * 8);
		trace_read_vector(reader, 2); /* generator */
		json_add_number(json, "key-share-size", trace_read_vector(reader, 2).left);
	} else {
		return;
	}
	if (reader->left > 0) {
		add_name(json, "signature-algorithm", tls_scheme_name,
			 (uint16_t)trace_read_number(reader, 2));
		trace_read_vector(reader, 2); /* signature */
	}
}

static void describe_client_key_exchange(struct json_text *json,
					 const struct trace_context *context,
					 struct trace_reader *reader)
{
	const char *exchange = suite_has(context, "_ECDHE_") ? "ECDHE"
			       : suite_has(context, "_DHE_") ? "DHE"
			       : suite_has(context, "_RSA_") ? "RSA"
							     : NULL;

	if (suite_has(context, "PSK_")) {
		json_open(json, "psk-identities", '[');
		add_psk_identity(json, trace_read_vector(reader, 2));
		json_close(json, ']');
	}
	if (exchange)
		json_add(json, "key-exchange", exchange);
}

/* RFC 8446, 4.6.1; RFC 5077, 3.3 */
static void describe_ticket(struct json_text *json, const struct trace_context *context,
			    struct trace_reader *reader)
{
	json_add_number(json, "lifetime-s", trace_read_number(reader, 4));
	if (context->tls13) {
		trace_read_number(reader, 4); /* ticket_age_add */
		trace_read_vector(reader, 1); /* ticket_nonce */
	}
	json_add_number(json, "ticket-size", trace_read_vector(reader, 2).left);
	if (context->tls13)
		extensions_describe(json, reader, IN_TICKET);
}

/* RFC 8446, 4.3.2; RFC 5246, 7.4.4 */
static void describe_certificate_request(struct json_text *json,
					 const struct trace_context *context,
					 struct trace_reader *reader)
{
	struct trace_reader authorities;
	size_t count = 0;

	trace_read_vector(reader, 1); /* context; certificate_types */
	if (context->tls13) {
		extensions_describe(json, reader, IN_REQUEST);
		return;
	}
	add_list(json, "signature-algorithms", tls_scheme_name, trace_read_vector(reader, 2));
	authorities = trace_read_vector(reader, 2);
	for (; authorities.left > 0; count++)
		trace_read_vector(&authorities, 2);
	json_add_number(json, "authorities", count);
}

void trace_message_describe(struct json_text *json, struct trace_context *context, unsigned type,
			    const uint8_t *body, size_t size)
{
	struct trace_reader reader = {.at = body, .left = size};

	switch (type) {
	case GNUTLS_HANDSHAKE_CLIENT_HELLO:
		describe_client_hello(json, &reader);
		break;
	case GNUTLS_HANDSHAKE_SERVER_HELLO:
	case TRACE_HELLO_RETRY:
		describe_server_hello(json, context, &reader);
		break;
	case GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS:
		extensions_describe(json, &reader, IN_ENCRYPTED);
		break;
	case GNUTLS_HANDSHAKE_CERTIFICATE_PKT:
		trace_certificates_describe(json, context->tls13, &reader);
		break;
	case GNUTLS_HANDSHAKE_SERVER_KEY_EXCHANGE:
		describe_server_key_exchange(json, context, &reader);
		break;
	case GNUTLS_HANDSHAKE_CERTIFICATE_REQUEST:
		describe_certificate_request(json, context, &reader);
		break;
	case GNUTLS_HANDSHAKE_CERTIFICATE_VERIFY:
		add_name(json, "signature-algorithm", tls_scheme_name,
			 (uint16_t)trace_read_number(&reader, 2));
		break;
	case GNUTLS_HANDSHAKE_CLIENT_KEY_EXCHANGE:
		describe_client_key_exchange(json, context, &reader);
		break;
	case GNUTLS_HANDSHAKE_NEW_SESSION_TICKET:
		describe_ticket(json, context, &reader);
		break;
	default:
		break;
	}
	if (reader.broken)
		json_add_boolean(json, "malformed", true);
}
