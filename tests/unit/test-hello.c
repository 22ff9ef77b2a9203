// SPDX-License-Identifier: LGPL-2.1-or-later
// What the peer's hello says of versions and records, however it is made.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hello.h"

struct bytes {
	unsigned char data[512];
	size_t size;
};

static void put(struct bytes *bytes, const void *data, size_t size)
{
	assert_true(size <= sizeof(bytes->data) - bytes->size);
	memcpy(bytes->data + bytes->size, data, size);
	bytes->size += size;
}

/* RFC 8446, 4.1.2: up to the extensions. */
static void put_client_hello(struct bytes *bytes, unsigned char minor)
{
	static const unsigned char zero[32];
	const unsigned char version[] = {3, minor};
	static const unsigned char middle[] = {0, 0, 2, 0x13, 0x01, 1, 0};

	bytes->size = 0;
	put(bytes, version, sizeof(version));
	put(bytes, zero, sizeof(zero));
	put(bytes, middle, sizeof(middle));
}

static void put_server_hello(struct bytes *bytes)
{
	static const unsigned char zero[32];
	static const unsigned char middle[] = {4, 1, 2, 3, 4, 0xc0, 0x2b, 0};

	bytes->size = 0;
	put(bytes, "\x03\x03", 2);
	put(bytes, zero, sizeof(zero));
	put(bytes, middle, sizeof(middle));
}

/* The message in memory of its exact size, so that a sanitizer sees a byte too many. */
static void read_bytes(struct hello *hello, unsigned type, const struct bytes *bytes, size_t size)
{
	unsigned char *copy = malloc(size > 0 ? size : 1);
	gnutls_datum_t message = {copy, (unsigned)size};

	assert_non_null(copy);
	memcpy(copy, bytes->data, size);
	hello_read(hello, type, &message);
	free(copy);
}

static void reads_the_versions_of_a_client(void **state)
{
	static const unsigned char both[] = {0, 9, 0, 43, 0, 5, 4, 3, 4, 3, 3};
	static const unsigned char only13[] = {0, 7, 0, 43, 0, 3, 2, 3, 4};
	static const unsigned char older[] = {0, 7, 0, 43, 0, 3, 2, 3, 2};
	struct hello hello = {.seen = false};
	struct bytes bytes;

	(void)state;
	put_client_hello(&bytes, 3);
	put(&bytes, both, sizeof(both));
	read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, bytes.size);
	assert_true(hello.seen && hello.tls12 && hello.tls13);
	put_client_hello(&bytes, 3);
	put(&bytes, only13, sizeof(only13));
	read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, bytes.size);
	assert_true(!hello.tls12 && hello.tls13);
	put_client_hello(&bytes, 3);
	put(&bytes, older, sizeof(older));
	read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, bytes.size);
	assert_true(!hello.tls12 && !hello.tls13);
	/* Without the extension, legacy_version decides. */
	put_client_hello(&bytes, 3);
	read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, bytes.size);
	assert_true(hello.tls12 && !hello.tls13);
	put_client_hello(&bytes, 2);
	read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, bytes.size);
	assert_true(!hello.tls12 && !hello.tls13);
}

static void bounds_records_as_the_standards_say(void **state)
{
	static const struct {
		struct hello hello;
		bool server;
		bool tls13;
		uint16_t limit;
	} cases[] = {
	    {{.seen = false}, true, true, 16384},
	    {{.record_size_limit = 16385}, true, true, 16384},
	    {{.record_size_limit = 16384}, true, false, 16384},
	    {{.record_size_limit = 16384}, true, true, 16383},
	    {{.record_size_limit = 65535}, false, false, 16384},
	    {{.record_size_limit = 1025}, false, true, 1024},
	    {{.record_size_limit = 1025}, true, false, 1025},
	    /* GnuTLS does not agree on it, and answers nothing. */
	    {{.record_size_limit = 100}, true, true, 16384},
	    {{.max_fragment_length = 1}, true, false, 512},
	    {{.max_fragment_length = 4}, true, true, 4096},
	    {{.max_fragment_length = 5}, true, false, 16384},
	    /* We never ask for it, so a server cannot mean it. */
	    {{.max_fragment_length = 1}, false, false, 16384},
	    /* RFC 8449, 5: record_size_limit supersedes it. */
	    {{.max_fragment_length = 1, .record_size_limit = 2000}, true, false, 2000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
		    hello_record_limit(&cases[i].hello, cases[i].server, cases[i].tls13),
		    cases[i].limit);
}

static void finds_the_bound_in_each_message(void **state)
{
	static const unsigned char extension[] = {0, 6, 0, 28, 0, 2, 0x08, 0x00};
	static const unsigned char fragment[] = {0, 5, 0, 1, 0, 1, 2};
	struct hello hello;
	struct bytes bytes;

	(void)state;
	memset(&hello, 0, sizeof(hello));
	put_client_hello(&bytes, 3);
	put(&bytes, fragment, sizeof(fragment));
	read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, bytes.size);
	assert_int_equal(hello.max_fragment_length, 2);
	memset(&hello, 0, sizeof(hello));
	put_server_hello(&bytes);
	put(&bytes, extension, sizeof(extension));
	read_bytes(&hello, GNUTLS_HANDSHAKE_SERVER_HELLO, &bytes, bytes.size);
	assert_int_equal(hello.record_size_limit, 2048);
	memset(&hello, 0, sizeof(hello));
	bytes.size = 0;
	put(&bytes, extension, sizeof(extension));
	read_bytes(&hello, GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS, &bytes, bytes.size);
	assert_int_equal(hello.record_size_limit, 2048);
	memset(&hello, 0, sizeof(hello));
	read_bytes(&hello, GNUTLS_HANDSHAKE_CERTIFICATE_PKT, &bytes, bytes.size);
	assert_int_equal(hello.record_size_limit, 0);
}

static void finds_name_tickets_and_modes(void **state)
{
	static const unsigned char tls13[] = {
	    0, 75,                                                   /* */
	    0, 0,  0,   8,   0,   6,   0,   0,   3,   'a', '.', 'b', /* server_name */
	    0, 45, 0,   3,   2,   0,   1,                            /* psk_key_exchange_modes */
	    0, 41, 0,   52,  0,   50, /* pre_shared_key: three identities, one too short for a ticket */
	    0, 16, '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1', '1',
	    0, 0,  0,   0,                /* age */
	    0, 1,  'x', 0,   0,   0,   0, /* */
	    0, 15, '2', '2', '2', '2', '2', '2', '2', '2', '2', '2', '2', '2', '2', '2', '2', /* */
	    0, 0,  0,   0};
	static const unsigned char tls12[] = {0,   21,  0,   35,  0,   17, /* session_ticket */
					      '3', '3', '3', '3', '3', '3', '3', '3', '3',
					      '3', '3', '3', '3', '3', '3', '3', 'x'};
	struct hello hello = {.seen = false};
	struct bytes bytes;

	(void)state;
	put_client_hello(&bytes, 3);
	put(&bytes, tls13, sizeof(tls13));
	read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, bytes.size);
	assert_string_equal(hello.server_name, "a.b");
	assert_true(hello.psk_dhe);
	assert_int_equal(hello.ticket_count, 1);
	assert_memory_equal(hello.tickets[0], "1111111111111111", 16);
	put_client_hello(&bytes, 3);
	put(&bytes, tls12, sizeof(tls12));
	read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, bytes.size);
	assert_string_equal(hello.server_name, "");
	assert_false(hello.psk_dhe);
	assert_int_equal(hello.ticket_count, 1);
	assert_memory_equal(hello.tickets[0], "3333333333333333", 16);
	for (size_t size = 0; size < bytes.size; size++)
		read_bytes(&hello, GNUTLS_HANDSHAKE_CLIENT_HELLO, &bytes, size);
}

static void reads_no_byte_too_many(void **state)
{
	static const unsigned types[] = {GNUTLS_HANDSHAKE_CLIENT_HELLO,
					 GNUTLS_HANDSHAKE_SERVER_HELLO,
					 GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS};
	static const unsigned char extensions[] = {0, 14, 0, 28, 0, 2, 8, 0,
						   0, 43, 0, 4,  3, 3, 4, 3};
	struct bytes bytes;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		if (i == 0)
			put_client_hello(&bytes, 3);
		else
			put_server_hello(&bytes);
		put(&bytes, extensions, sizeof(extensions));
		for (size_t type = 0; type < 3; type++)
			for (size_t size = 0; size <= bytes.size; size++) {
				struct hello hello = {.seen = false};

				read_bytes(&hello, types[type], &bytes, size);
			}
		/* Any byte may be anything. */
		for (size_t at = 0; at < bytes.size; at++) {
			struct hello hello = {.seen = false};
			unsigned char saved = bytes.data[at];

			bytes.data[at] = 0xff;
			read_bytes(&hello, types[i], &bytes, bytes.size);
			bytes.data[at] = saved;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_the_versions_of_a_client),
	    cmocka_unit_test(bounds_records_as_the_standards_say),
	    cmocka_unit_test(finds_the_bound_in_each_message),
	    cmocka_unit_test(finds_name_tickets_and_modes),
	    cmocka_unit_test(reads_no_byte_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
