// SPDX-License-Identifier: LGPL-2.1-or-later
// What a trace tells of messages, whatever bytes they are made of; and the JSON that it is written in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <gnutls/gnutls.h>
#include <jansson.h>

#include "json-text.h"
#include "trace-message.h"

/* ---- The JSON ------------------------------------------------------------------------------ */

static void writes_what_jansson_reads(void **state)
{
	struct json_text json = {.limit = 4096};
	json_t *read;

	(void)state;
	json_open(&json, NULL, '{');
	json_add(&json, "plain", "a\"b\\c\n\x7f");
	json_add(&json, "utf8", "ü€\xf0\x9f\x98\x80");
	json_add_bytes(&json, "broken", "\xc3(\xff\xed\xa0\x80", 6);
	json_add_hex(&json, "hex", "\x01\xab", 2);
	json_add_number(&json, "number", UINT64_C(9007199254740993));
	json_add_boolean(&json, "yes", true);
	json_open(&json, "list", '[');
	json_add(&json, NULL, "one");
	json_add(&json, NULL, "two");
	json_close(&json, ']');
	json_close(&json, '}');
	assert_false(json.full);
	read = json_loadb(json.text, json.length, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(read);
	assert_string_equal(json_string_value(json_object_get(read, "plain")), "a\"b\\c\n\x7f");
	assert_string_equal(json_string_value(json_object_get(read, "utf8")), "ü€\xf0\x9f\x98\x80");
	assert_string_equal(json_string_value(json_object_get(read, "broken")),
			    "Ã(ÿí\xc2\xa0\xc2\x80");
	assert_string_equal(json_string_value(json_object_get(read, "hex")), "01ab");
	assert_int_equal(json_integer_value(json_object_get(read, "number")),
			 INT64_C(9007199254740993));
	assert_int_equal(json_array_size(json_object_get(read, "list")), 2);
	json_decref(read);
	json_done(&json);
}

static void stops_at_its_limit(void **state)
{
	struct json_text json = {.limit = 64};

	(void)state;
	json_open(&json, NULL, '[');
	for (int i = 0; i < 100; i++)
		json_add(&json, NULL, "0123456789");
	assert_true(json.full);
	assert_true(json.length <= 64);
	json_done(&json);
}

/* ---- Messages ------------------------------------------------------------------------------ */

/* The message in memory of its exact size, so that a sanitizer sees a byte too many. */
static json_t *describe(struct trace_context *context, unsigned type, const void *body, size_t size)
{
	struct json_text json = {.limit = 65536};
	unsigned char *copy = malloc(size > 0 ? size : 1);
	json_t *read;

	assert_non_null(copy);
	memcpy(copy, body, size);
	json_open(&json, NULL, '{');
	trace_message_describe(&json, context, type, copy, size);
	json_close(&json, '}');
	free(copy);
	assert_false(json.full);
	read = json_loadb(json.text, json.length, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(read);
	json_done(&json);
	return read;
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "(none)";
}

static const char *item(const json_t *object, const char *key, size_t i)
{
	const char *value = json_string_value(json_array_get(json_object_get(object, key), i));

	return value ? value : "(none)";
}

#define HELLO_START \
	"\x03\x03"  \
	"0123456789abcdef0123456789abcdef"

/* RFC 8446, 4.1.2 with one of each extension that is told. */
static const char client_hello[] = HELLO_START "\x02\xaa\xbb"
					       "\x00\x06\x13\x01\xc0\x2f\x0a\x0a" /* suites */
					       "\x01\x00"                         /* compression */
					       "\x00\x60"                         /* extensions */
					       "\x00\x00\x00\x0e\x00\x0c\x00\x00\x09localhost"
					       "\x00\x0a\x00\x06\x00\x04\x00\x1d\x00\x17"
					       "\x00\x0d\x00\x04\x00\x02\x04\x03"
					       "\x00\x10\x00\x05\x00\x03\x02h2"
					       "\x00\x1c\x00\x02\x40\x01"
					       "\x00\x2b\x00\x05\x04\x03\x04\x03\x03"
					       "\x00\x33\x00\x09\x00\x07\x00\x1d\x00\x03"
					       "abc"
					       "\x00\x2a\x00\x00"
					       "\x00\x29\x00\x0f\x00\x09\x00\x03"
					       "bob\x00\x00\x00\x00\x00\x02"
					       "xy";

static void tells_a_client_hello(void **state)
{
	struct trace_context context = {0};
	json_t *read = describe(&context, GNUTLS_HANDSHAKE_CLIENT_HELLO, client_hello,
				sizeof(client_hello) - 1);

	(void)state;
	assert_string_equal(text(read, "legacy-version"), "TLS1.2");
	assert_string_equal(text(read, "session-id"), "aabb");
	assert_int_equal(strlen(text(read, "random")), 64);
	assert_string_equal(item(read, "suites", 0), "TLS_AES_128_GCM_SHA256");
	assert_string_equal(item(read, "suites", 1), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
	assert_string_equal(item(read, "suites", 2), "GREASE");
	assert_string_equal(text(read, "server-name"), "localhost");
	assert_string_equal(item(read, "groups", 1), "SECP256R1");
	assert_string_equal(item(read, "signature-algorithms", 0), "ecdsa_secp256r1_sha256");
	assert_string_equal(item(read, "alpn", 0), "h2");
	assert_int_equal(json_integer_value(json_object_get(read, "record-size-limit")), 16385);
	assert_string_equal(item(read, "versions", 0), "TLS1.3");
	assert_string_equal(text(json_array_get(json_object_get(read, "key-shares"), 0), "group"),
			    "X25519");
	assert_true(json_is_true(json_object_get(read, "early-data")));
	assert_string_equal(
	    text(json_array_get(json_object_get(read, "psk-identities"), 0), "identity"), "bob");
	assert_null(json_object_get(read, "malformed"));
	json_decref(read);
}

/* Every message that ends too early is told as such, and not a byte behind it is read. */
static void tells_of_every_cut(void **state)
{
	(void)state;
	for (size_t size = 0; size < sizeof(client_hello) - 1; size++) {
		struct trace_context context = {0};
		json_t *read =
		    describe(&context, GNUTLS_HANDSHAKE_CLIENT_HELLO, client_hello, size);
		/* Without extensions a hello is whole (RFC 5246, 7.4.1.2). */
		bool whole = size == sizeof(HELLO_START) - 1 + 3 + 8 + 2;

		assert_int_equal(json_is_true(json_object_get(read, "malformed")), !whole);
		json_decref(read);
	}
}

static void tells_what_a_server_chose(void **state)
{
	static const char tls13[] = HELLO_START "\x00\x13\x02\x00\x00\x0e\x00\x2b\x00\x02\x03\x04"
						"\x00\x33\x00\x04\x00\x17\x00\x00";
	static const char tls12[] = HELLO_START "\x01\x07\x00\x9e\x00";
	struct trace_context context = {0};
	json_t *read = describe(&context, GNUTLS_HANDSHAKE_SERVER_HELLO, tls13, sizeof(tls13) - 1);

	(void)state;
	assert_true(context.tls13);
	assert_string_equal(text(read, "version-chosen"), "TLS1.3");
	assert_string_equal(text(read, "suite-chosen"), "TLS_AES_256_GCM_SHA384");
	assert_string_equal(text(read, "group-chosen"), "SECP256R1");
	json_decref(read);
	read = describe(&context, GNUTLS_HANDSHAKE_SERVER_HELLO, tls12, sizeof(tls12) - 1);
	assert_false(context.tls13);
	assert_string_equal(text(read, "version-chosen"), "TLS1.2");
	assert_string_equal(text(read, "session-id"), "07");
	assert_int_equal(context.suite, 0x009e);
	json_decref(read);
	/* What the keys are made from depends on the suite: here Diffie-Hellman. */
	read = describe(&context, GNUTLS_HANDSHAKE_SERVER_KEY_EXCHANGE,
			"\x00\x04"
			"prim\x00\x01g\x00\x02ys\x08\x04\x00\x01s",
			18);
	assert_int_equal(json_integer_value(json_object_get(read, "prime-bits")), 32);
	assert_string_equal(text(read, "signature-algorithm"), "rsa_pss_rsae_sha256");
	assert_null(json_object_get(read, "malformed"));
	json_decref(read);
	read = describe(&context, GNUTLS_HANDSHAKE_CLIENT_KEY_EXCHANGE, "", 0);
	assert_string_equal(text(read, "key-exchange"), "DHE");
	json_decref(read);
}

static void shows_no_ticket(void **state)
{
	static const char hello[] = HELLO_START "\x00\x00\x02\x13\x01\x01\x00\x00\x0a"
						"\x00\x23\x00\x06secret";
	static const char ticket[] = "\x00\x00\x1c\x20\x00\x06secret";
	struct trace_context context = {0};
	json_t *read = describe(&context, GNUTLS_HANDSHAKE_CLIENT_HELLO, hello, sizeof(hello) - 1);
	char *all = json_dumps(read, 0);

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(read, "ticket-size")), 6);
	assert_null(strstr(all, "secret"));
	assert_null(strstr(all, "736563726574"));
	free(all);
	json_decref(read);
	read = describe(&context, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET, ticket, sizeof(ticket) - 1);
	all = json_dumps(read, 0);
	assert_int_equal(json_integer_value(json_object_get(read, "lifetime-s")), 7200);
	assert_int_equal(json_integer_value(json_object_get(read, "ticket-size")), 6);
	assert_null(strstr(all, "736563726574"));
	free(all);
	json_decref(read);
}

/* A hello that repeats an extension must not make a key come twice. */
static void repeated_extensions_are_told_once(void **state)
{
	static const char hello[] = HELLO_START "\x00\x00\x02\x13\x01\x01\x00\x00\x12"
						"\x00\x10\x00\x05\x00\x03\x02h2"
						"\x00\x10\x00\x05\x00\x03\x02h3";
	struct trace_context context = {0};
	json_t *read = describe(&context, GNUTLS_HANDSHAKE_CLIENT_HELLO, hello, sizeof(hello) - 1);

	(void)state;
	assert_int_equal(json_array_size(json_object_get(read, "alpn")), 1);
	assert_int_equal(json_array_size(json_object_get(read, "extensions")), 2);
	json_decref(read);
}

static void a_certificate_that_is_none_is_told_as_such(void **state)
{
	static const char list[] = "\x00\x00\x09\x00\x00\x06"
				   "rubble";
	struct trace_context context = {0};
	json_t *read = describe(&context, GNUTLS_HANDSHAKE_CERTIFICATE_PKT, list, sizeof(list) - 1);
	const json_t *one = json_array_get(json_object_get(read, "certificates"), 0);

	(void)state;
	assert_string_equal(text(one, "kind"), "unreadable");
	assert_int_equal(json_integer_value(json_object_get(one, "size")), 6);
	json_decref(read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writes_what_jansson_reads),
	    cmocka_unit_test(stops_at_its_limit),
	    cmocka_unit_test(tells_a_client_hello),
	    cmocka_unit_test(tells_of_every_cut),
	    cmocka_unit_test(tells_what_a_server_chose),
	    cmocka_unit_test(shows_no_ticket),
	    cmocka_unit_test(repeated_extensions_are_told_once),
	    cmocka_unit_test(a_certificate_that_is_none_is_told_as_such),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
