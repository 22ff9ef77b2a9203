// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is noted beside a message of the ladder: offers, choices, certificates. Touches memory alone. Leaves
 * out what every handshake has and nobody looks for; the JSON has all of it.
 */
#include <stdlib.h>
#include <string.h>

#include "ladder.h"

enum { LIST_SHOWN = 8 };

static const char *get(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

static bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static unsigned long long get_number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (unsigned long long)value : 0;
}

static void note(struct ladder_row *row, const char *key, const char *value)
{
	ladder_note(row, LADDER_PLAIN, key, "%s", value);
}

/* The first of the list, which are preferred, and how many there are beside. */
static void note_list(struct ladder_row *row, const char *key, const json_t *event,
		      const char *name)
{
	const json_t *list = json_object_get(event, name);
	char rest[64], *text = NULL;
	size_t size, count = json_array_size(list);
	FILE *stream;

	snprintf(rest, sizeof(rest), "%s-not-shown", name);
	stream = count ? open_memstream(&text, &size) : NULL;
	if (!stream)
		return;
	for (size_t i = 0; i < count && i < LIST_SHOWN; i++) {
		const char *value = json_string_value(json_array_get(list, i));

		fprintf(stream, "%s%s", i ? ", " : "", value ? value : "");
	}
	count += get_number(event, rest);
	if (count > LIST_SHOWN)
		fprintf(stream, " and %zu more", count - LIST_SHOWN);
	fclose(stream);
	if (text)
		note(row, key, text);
	free(text);
}

static void note_hex(struct ladder_row *row, const char *key, const char *digits)
{
	size_t length = strlen(digits);

	if (length > 32)
		ladder_note(row, LADDER_QUIET, key, "%.16s...%s", digits, digits + length - 8);
	else
		ladder_note(row, LADDER_QUIET, key, "%s", digits);
}

static void note_key_shares(struct ladder_row *row, const json_t *event)
{
	const json_t *list = json_object_get(event, "key-shares");

	for (size_t i = 0; i < json_array_size(list) && i < LIST_SHOWN; i++)
		ladder_note(row, LADDER_PLAIN, i ? "" : "key share", "%s, %llu bytes",
			    get(json_array_get(list, i), "group"),
			    get_number(json_array_get(list, i), "size"));
}

static void note_psk(struct ladder_row *row, const json_t *event)
{
	const json_t *list = json_object_get(event, "psk-identities");

	for (size_t i = 0; i < json_array_size(list) && i < LIST_SHOWN; i++) {
		const json_t *one = json_array_get(list, i);

		if (json_object_get(one, "identity"))
			ladder_note(row, LADDER_PLAIN, i ? "" : "PSK", "\"%s\"",
				    get(one, "identity"));
		else
			ladder_note(row, LADDER_PLAIN, i ? "" : "PSK", "a ticket of %llu bytes",
				    get_number(one, "size"));
	}
}

static bool list_has(const json_t *list, const char *value)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text && strcmp(text, value) == 0)
			return true;
	}
	return false;
}

static void note_client_hello(struct ladder_row *row, const json_t *event)
{
	bool tls13 = list_has(json_object_get(event, "versions"), "TLS1.3");

	if (json_object_get(event, "versions"))
		note_list(row, "versions", event, "versions");
	else
		note(row, "version", get(event, "legacy-version"));
	note_list(row, "suites", event, "suites");
	note_list(row, "groups", event, "groups");
	note_key_shares(row, event);
	note_list(row, "signatures", event, "signature-algorithms");
	note(row, "server name", get(event, "server-name"));
	note_list(row, "ALPN", event, "alpn");
	note_hex(row, "random", get(event, "random"));
	if (!tls13) /* in TLS 1.3 it only looks like one (RFC 8446, D.4) */
		note_hex(row, "session", get(event, "session-id"));
	if (get_number(event, "ticket-size"))
		ladder_note(row, LADDER_PLAIN, "ticket", "%llu bytes",
			    get_number(event, "ticket-size"));
	note_psk(row, event);
	if (is_true(event, "early-data"))
		note(row, "early data", "offered");
	if (get_number(event, "record-size-limit"))
		ladder_note(row, LADDER_QUIET, "records", "of at most %llu bytes",
			    get_number(event, "record-size-limit"));
}

static void note_server_hello(struct ladder_row *row, const json_t *event, const json_t *hello)
{
	const char *session = get(event, "session-id");
	bool tls13 = strcmp(get(event, "version-chosen"), "TLS1.3") == 0;

	note(row, "version", get(event, "version-chosen"));
	note(row, "suite", get(event, "suite-chosen"));
	if (is_true(event, "retry"))
		ladder_note(row, LADDER_PLAIN, "asks for", "a key share of %s",
			    get(event, "group-chosen"));
	else if (get_number(event, "key-share-size"))
		ladder_note(row, LADDER_PLAIN, "key share", "%s, %llu bytes",
			    get(event, "group-chosen"), get_number(event, "key-share-size"));
	note(row, "ALPN", get(event, "alpn-chosen"));
	if (!is_true(event, "retry"))
		note_hex(row, "random", get(event, "random"));
	if (!tls13)
		note_hex(row, "session", session);
	if (!tls13 && *session && strcmp(session, get(hello, "session-id")) == 0)
		ladder_note(row, LADDER_GOOD, "", "the session that the client named: resumed");
	if (json_object_get(event, "psk-chosen"))
		ladder_note(row, LADDER_GOOD, "PSK", "number %llu is accepted",
			    get_number(event, "psk-chosen") + 1);
}

static const char *verdict_of(const json_t *verdicts, const char *sha256)
{
	for (size_t i = 0; i < json_array_size(verdicts); i++)
		if (*sha256 && strcmp(get(json_array_get(verdicts, i), "sha256"), sha256) == 0)
			return get(json_array_get(verdicts, i), "verdict");
	return "";
}

static void note_certificates(struct ladder_row *row, const json_t *event, const json_t *verdicts)
{
	const json_t *list = json_object_get(event, "certificates");

	if (json_array_size(list) == 0)
		ladder_note(row, LADDER_QUIET, "", "no certificate");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		const char *verdict = verdict_of(verdicts, get(one, "sha256"));

		if (json_object_get(one, "kind")) {
			note(row, "key", get(one, "kind"));
			continue;
		}
		note(row, "certificate",
		     *get(one, "subject") ? get(one, "subject") : "(no subject)");
		note(row, "  issuer", get(one, "issuer"));
		ladder_note(row, LADDER_PLAIN, "  valid", "%.10s to %.10s", get(one, "not-before"),
			    get(one, "not-after"));
		note(row, "  key", get(one, "key"));
		note_list(row, "  names", one, "dns-names");
		ladder_note(row,
			    strcmp(verdict, "good") == 0         ? LADDER_GOOD
			    : strcmp(verdict, "not judged") == 0 ? LADDER_QUIET
								 : LADDER_BAD,
			    "  verdict", "%s", verdict);
	}
}

static void note_ticket(struct ladder_row *row, const json_t *event)
{
	ladder_note(row, LADDER_PLAIN, "ticket", "%llu bytes, for %llu s",
		    get_number(event, "ticket-size"), get_number(event, "lifetime-s"));
	if (get_number(event, "max-early-data"))
		ladder_note(row, LADDER_PLAIN, "early data", "up to %llu bytes",
			    get_number(event, "max-early-data"));
}

static void note_exchange(struct ladder_row *row, const json_t *event)
{
	if (*get(event, "group-chosen"))
		ladder_note(row, LADDER_PLAIN, "key share", "%s, %llu bytes",
			    get(event, "group-chosen"), get_number(event, "key-share-size"));
	if (get_number(event, "prime-bits"))
		ladder_note(row, LADDER_PLAIN, "key share", "Diffie-Hellman, %llu bits",
			    get_number(event, "prime-bits"));
	note(row, "PSK hint", get(event, "psk-hint"));
	note(row, "signature", get(event, "signature-algorithm"));
}

static void note_encrypted_extensions(struct ladder_row *row, const json_t *event)
{
	note(row, "ALPN", get(event, "alpn-chosen"));
	if (is_true(event, "early-data-accepted"))
		ladder_note(row, LADDER_GOOD, "early data", "accepted");
	if (get_number(event, "record-size-limit"))
		ladder_note(row, LADDER_QUIET, "records", "of at most %llu bytes",
			    get_number(event, "record-size-limit"));
}

void ladder_describe(struct ladder_row *row, const json_t *event, const json_t *hello,
		     const json_t *verdicts)
{
	const char *name = get(event, "message");

	if (strcmp(name, "ClientHello") == 0)
		note_client_hello(row, event);
	else if (strcmp(name, "ServerHello") == 0 || strcmp(name, "HelloRetryRequest") == 0)
		note_server_hello(row, event, hello);
	else if (strcmp(name, "Certificate") == 0)
		note_certificates(row, event, verdicts);
	else if (strcmp(name, "NewSessionTicket") == 0)
		note_ticket(row, event);
	else if (strcmp(name, "ServerKeyExchange") == 0 || strcmp(name, "CertificateVerify") == 0)
		note_exchange(row, event);
	else if (strcmp(name, "EncryptedExtensions") == 0)
		note_encrypted_extensions(row, event);
	else if (strcmp(name, "CertificateRequest") == 0)
		note_list(row, "signatures", event, "signature-algorithms");
	else if (strcmp(name, "ClientKeyExchange") == 0) {
		note(row, "exchange", get(event, "key-exchange"));
		note_psk(row, event);
	}
	if (is_true(event, "malformed"))
		ladder_note(row, LADDER_BAD, "", "cannot be read to its end");
}
