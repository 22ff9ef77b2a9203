// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/relay-fixture.o tests/unit/engine-pki.o */
/* Records against a live GnuTLS session: what one seals the other opens, and nothing that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "post-handshake.h"
#include "record-layer.h"
#include "relay-fixture.h"

static unsigned char record[RECORD_SIZE_MAX + 64];
static unsigned char text[RECORD_PLAIN_MAX + 64];
static unsigned char heard[RECORD_PLAIN_MAX + 64];

static const enum config_version versions[] = {CONFIG_TLS12, CONFIG_TLS13};

/* Sends text as one record of ours and has the peer read it. */
static void say(struct fixture_link *link, struct record_layer *layer, size_t size)
{
	memcpy(record + record_layer_prefix(layer), text, size);
	ssize_t sealed = record_layer_seal(layer, RECORD_DATA, record, size);
	assert_true(sealed > 0);
	assert_int_equal(sealed, record_layer_prefix(layer) + size + record_layer_suffix(layer));
	assert_int_equal(send(link->our_fd, record, sealed, MSG_NOSIGNAL), sealed);
	if (size == 0)
		return; /* the peer reads over it */
	ssize_t got = gnutls_record_recv(link->peer, heard, sizeof(heard));
	while (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED)
		got = gnutls_record_recv(link->peer, heard, sizeof(heard));
	assert_int_equal(got, size);
	assert_memory_equal(heard, text, size);
}

/* Reads one whole record from the wire into record. */
static size_t fetch(struct fixture_link *link, struct record_layer *layer)
{
	size_t size;

	assert_int_equal(recv(link->our_fd, record, 5, MSG_WAITALL), 5);
	assert_int_equal(record_layer_measure(layer, record, 4, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(record_layer_measure(layer, record, 5, &size), 0);
	assert_true(size > 5);
	assert_int_equal(recv(link->our_fd, record + 5, size - 5, MSG_WAITALL), size - 5);
	return size;
}

/* Reads records until one has data (a server's tickets come first). */
static struct record_content listen_to(struct fixture_link *link, struct record_layer *layer)
{
	struct record_content content;

	do {
		size_t size = fetch(link, layer);
		assert_int_equal(record_layer_open(layer, record, size, &content), 0);
	} while (content.type == RECORD_HANDSHAKE);
	return content;
}

static void seals_and_opens_what_gnutls_does(void **state)
{
	static const size_t sizes[] = {1, 0, 17, 1000, RECORD_PLAIN_MAX - 1, RECORD_PLAIN_MAX, 5};

	(void)state;
	for (unsigned i = 0; i < 2 * CONFIG_CIPHERS * 2; i++) {
		struct fixture_link link;
		struct record_layer transmit, receive;
		fixture_link_open(&link, versions[i & 1], i >> 2, i & 2);
		assert_int_equal(record_layer_init(&transmit, &link.keys, &link.keys.transmit), 0);
		assert_int_equal(record_layer_init(&receive, &link.keys, &link.keys.receive), 0);
		for (size_t n = 0; n < sizeof(sizes) / sizeof(*sizes); n++) {
			fixture_text(text, sizes[n], n, i);
			say(&link, &transmit, sizes[n]);
			if (sizes[n] == 0)
				continue;
			assert_int_equal(gnutls_record_send(link.peer, text, sizes[n]), sizes[n]);
			struct record_content content = listen_to(&link, &receive);
			assert_int_equal(content.type, RECORD_DATA);
			assert_int_equal(content.size, sizes[n]);
			assert_memory_equal(content.data, text, sizes[n]);
		}
		record_layer_done(&transmit);
		record_layer_done(&receive);
		fixture_link_close(&link);
	}
}

static void strips_padding(void **state)
{
	(void)state;
	struct fixture_link link;
	struct record_layer receive;
	fixture_link_open(&link, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	record_layer_init(&receive, &link.keys, &link.keys.receive);
	fixture_text(text, 100, 0, 0);
	text[99] = 0; /* data may end with what looks like padding */
	assert_int_equal(gnutls_record_send2(link.peer, text, 100, 4000, 0), 100);
	struct record_content content = listen_to(&link, &receive);
	assert_int_equal(content.size, 100);
	assert_memory_equal(content.data, text, 100);
	record_layer_done(&receive);
	fixture_link_close(&link);
}

static void refuses_a_record_that_was_changed_anywhere(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * CONFIG_CIPHERS; i++) {
		struct fixture_link link;
		fixture_link_open(&link, versions[i & 1], i >> 1, true);
		struct record_layer seal;
		unsigned char sealed[200];
		assert_int_equal(record_layer_init(&seal, &link.keys, &link.keys.receive), 0);
		fixture_text(sealed + record_layer_prefix(&seal), 40, 0, i);
		ssize_t size = record_layer_seal(&seal, RECORD_DATA, sealed, 40);
		assert_true(size > 0);
		for (ssize_t at = 5; at <= size; at++) {
			struct record_layer open;
			struct record_content content = {.data = NULL};
			record_layer_init(&open, &link.keys, &link.keys.receive);
			memcpy(record, sealed, size);
			record[at % size] ^= 1; /* the last one: the type in the header */
			assert_int_equal(record_layer_open(&open, record, size, &content),
					 RECORD_BAD_RECORD_MAC);
			assert_null(content.data);
			record_layer_done(&open);
		}
		record_layer_done(&seal);
		fixture_link_close(&link);
	}
}

static void refuses_a_record_twice(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * CONFIG_CIPHERS; i++) {
		struct fixture_link link;
		struct record_layer seal, open;
		struct record_content content;
		fixture_link_open(&link, versions[i & 1], i >> 1, true);
		record_layer_init(&seal, &link.keys, &link.keys.receive);
		record_layer_init(&open, &link.keys, &link.keys.receive);
		memcpy(record + record_layer_prefix(&seal), "once", 4);
		ssize_t size = record_layer_seal(&seal, RECORD_DATA, record, 4);
		memcpy(heard, record, size);
		assert_int_equal(record_layer_open(&open, record, size, &content), 0);
		assert_int_equal(record_layer_open(&open, heard, size, &content),
				 RECORD_BAD_RECORD_MAC);
		record_layer_done(&seal);
		record_layer_done(&open);
		fixture_link_close(&link);
	}
}

static void measures_only_what_can_be_a_record(void **state)
{
	static const struct {
		enum config_version version;
		unsigned char header[5];
		int alert;
		size_t size;
	} cases[] = {
	    {CONFIG_TLS13, {23, 3, 3, 0x41, 0x00}, 0, 5 + 16640},
	    {CONFIG_TLS13, {23, 3, 3, 0x41, 0x01}, RECORD_OVERFLOW, 0},
	    {CONFIG_TLS13, {23, 3, 3, 0xff, 0xff}, RECORD_OVERFLOW, 0},
	    {CONFIG_TLS13, {23, 3, 3, 0, 16}, RECORD_DECODE_ERROR, 0},
	    {CONFIG_TLS13, {23, 3, 3, 0, 17}, 0, 5 + 17},
	    {CONFIG_TLS13, {20, 3, 3, 0, 1}, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS13, {21, 3, 3, 0, 2}, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS12, {23, 3, 3, 0x40, 24}, 0, 5 + 16384 + 24},
	    {CONFIG_TLS12, {23, 3, 3, 0x40, 25}, RECORD_OVERFLOW, 0},
	    {CONFIG_TLS12, {23, 3, 3, 0, 23}, RECORD_DECODE_ERROR, 0},
	    {CONFIG_TLS12, {23, 3, 3, 0, 24}, 0, 5 + 24},
	    {CONFIG_TLS12, {21, 3, 3, 0, 26}, 0, 5 + 26},
	    {CONFIG_TLS12, {24, 3, 3, 0, 26}, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS12, {'G', 'E', 'T', ' ', '/'}, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS12, {23, 3, 1, 0, 26}, RECORD_PROTOCOL_VERSION, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct record_layer layer = {.version = cases[i].version,
					     .cipher = CONFIG_AES_128_GCM};
		size_t size;
		assert_int_equal(record_layer_measure(&layer, cases[i].header, 5, &size),
				 cases[i].alert);
		assert_int_equal(size, cases[i].size);
	}
}

/* Keys of nobody. */
static void made_up_keys(struct traffic_keys *keys, enum config_version version)
{
	memset(keys, 0, sizeof(*keys));
	keys->version = version;
	keys->cipher = CONFIG_AES_128_GCM;
	keys->key_size = 16;
	keys->secret_size = version == CONFIG_TLS13 ? 32 : 0;
}

/* Seals inner plain text of TLS 1.3 as it stands, by pretending that its last byte is the type. */
static size_t seal_inner(struct record_layer *layer, const void *inner, size_t size)
{
	const unsigned char *bytes = inner;

	memcpy(record + 5, bytes, size - 1);
	ssize_t sealed = record_layer_seal(layer, bytes[size - 1], record, size - 1);
	assert_true(sealed > 0);
	return sealed;
}

static void refuses_inner_records_that_say_nothing(void **state)
{
	static const struct {
		const char *inner;
		size_t size;
		int alert;
	} cases[] = {
	    {"\0\0\0\0", 4, RECORD_UNEXPECTED_MESSAGE}, /* padding alone: RFC 8446, 5.4 */
	    {"\x16", 1, RECORD_UNEXPECTED_MESSAGE},     /* an empty handshake fragment: 5.1 */
	    {"\x15\0\0", 3, RECORD_UNEXPECTED_MESSAGE}, /* an empty alert */
	    {"\x17", 1, 0}, /* no data: traffic analysis is led astray */
	    {"x\x17\0\0", 4, 0},
	    {"\x01\x14", 2, RECORD_UNEXPECTED_MESSAGE}, /* change_cipher_spec in here: 5 */
	    {"x\x18", 2, RECORD_UNEXPECTED_MESSAGE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct traffic_keys keys;
		struct record_layer seal, open;
		struct record_content content;
		made_up_keys(&keys, CONFIG_TLS13);
		record_layer_init(&seal, &keys, &keys.transmit);
		record_layer_init(&open, &keys, &keys.receive);
		size_t size = seal_inner(&seal, cases[i].inner, cases[i].size);
		assert_int_equal(record_layer_open(&open, record, size, &content), cases[i].alert);
		record_layer_done(&seal);
		record_layer_done(&open);
	}
}

static void refuses_more_than_a_record_may_hold(void **state)
{
	struct traffic_keys keys;
	struct record_layer layer;

	(void)state;
	made_up_keys(&keys, CONFIG_TLS13);
	record_layer_init(&layer, &keys, &keys.transmit);
	assert_int_equal(record_layer_seal(&layer, RECORD_DATA, record, RECORD_PLAIN_MAX + 1),
			 -EMSGSIZE);
	record_layer_done(&layer);

	/* An inner plain text of 2^14 + 2 bytes in a record of a size that can be: with the made-up
	 * keys, by hand. RFC 8446, 5.4: at most 2^14 + 1. */
	gnutls_aead_cipher_hd_t aead;
	gnutls_datum_t key = {keys.transmit.key, 16};
	unsigned char nonce[12] = {0};
	static unsigned char large[RECORD_PLAIN_MAX + 2];
	size_t sealed = sizeof(record) - 5;
	memset(large, 23, sizeof(large));
	memcpy(record, "\x17\x03\x03\x40\x12", 5);
	assert_int_equal(gnutls_aead_cipher_init(&aead, GNUTLS_CIPHER_AES_128_GCM, &key), 0);
	assert_int_equal(gnutls_aead_cipher_encrypt(aead, nonce, 12, record, 5, 16, large,
						    sizeof(large), record + 5, &sealed),
			 0);
	gnutls_aead_cipher_deinit(aead);
	struct record_content content;
	record_layer_init(&layer, &keys, &keys.receive);
	assert_int_equal(record_layer_open(&layer, record, 5 + sealed, &content), RECORD_OVERFLOW);
	record_layer_done(&layer);
}

static void never_wraps_a_sequence_number(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct traffic_keys keys;
		struct record_layer seal, open;
		struct record_content content;
		made_up_keys(&keys, versions[i]);
		keys.transmit.sequence = keys.receive.sequence = UINT64_MAX - 1;
		record_layer_init(&seal, &keys, &keys.transmit);
		record_layer_init(&open, &keys, &keys.receive);
		ssize_t size = record_layer_seal(&seal, RECORD_DATA, record, 1);
		assert_true(size > 0);
		assert_int_equal(record_layer_open(&open, record, size, &content), 0);
		assert_int_equal(record_layer_seal(&seal, RECORD_DATA, record, 1), -EOVERFLOW);
		assert_int_equal(record_layer_open(&open, record, size, &content),
				 RECORD_INTERNAL_ERROR);
		record_layer_done(&seal);
		record_layer_done(&open);
	}
}

static void follows_key_updates_as_gnutls_does(void **state)
{
	(void)state;
	for (unsigned cipher = 0; cipher < CONFIG_CIPHERS; cipher++) {
		struct fixture_link link;
		struct record_layer transmit, receive;
		fixture_link_open(&link, CONFIG_TLS13, cipher, true);
		record_layer_init(&transmit, &link.keys, &link.keys.transmit);
		record_layer_init(&receive, &link.keys, &link.keys.receive);
		for (unsigned i = 0; i < 7; i++) {
			unsigned char message[POST_HANDSHAKE_KEY_UPDATE_SIZE];
			struct record_content content;
			/* Theirs: */
			assert_int_equal(gnutls_session_key_update(link.peer, 0), 0);
			size_t size = fetch(&link, &receive);
			assert_int_equal(record_layer_open(&receive, record, size, &content), 0);
			assert_int_equal(content.type, RECORD_HANDSHAKE);
			assert_int_equal(record_layer_update(&receive), 0);
			assert_int_equal(gnutls_record_send(link.peer, "after", 5), 5);
			content = listen_to(&link, &receive);
			assert_memory_equal(content.data, "after", 5);
			/* Ours: */
			post_handshake_key_update(message, false);
			memcpy(record + record_layer_prefix(&transmit), message, sizeof(message));
			ssize_t sealed =
			    record_layer_seal(&transmit, RECORD_HANDSHAKE, record, sizeof(message));
			assert_int_equal(send(link.our_fd, record, sealed, MSG_NOSIGNAL), sealed);
			assert_int_equal(record_layer_update(&transmit), 0);
			fixture_text(text, 100, i, cipher);
			say(&link, &transmit, 100);
		}
		record_layer_done(&transmit);
		record_layer_done(&receive);
		fixture_link_close(&link);
	}
}

static void takes_only_keys_that_fit(void **state)
{
	struct traffic_keys keys;
	struct record_layer layer;

	(void)state;
	made_up_keys(&keys, CONFIG_TLS13);
	keys.key_size = 32;
	assert_int_equal(record_layer_init(&layer, &keys, &keys.transmit), -EINVAL);
	made_up_keys(&keys, CONFIG_TLS13);
	keys.secret_size = 0;
	assert_int_equal(record_layer_init(&layer, &keys, &keys.transmit), -EINVAL);
	made_up_keys(&keys, CONFIG_TLS12);
	keys.secret_size = 32;
	assert_int_equal(record_layer_init(&layer, &keys, &keys.transmit), -EINVAL);
	made_up_keys(&keys, CONFIG_TLS13);
	keys.cipher = CONFIG_CIPHERS;
	assert_int_equal(record_layer_init(&layer, &keys, &keys.transmit), -EINVAL);
	made_up_keys(&keys, CONFIG_TLS12);
	assert_int_equal(record_layer_init(&layer, &keys, &keys.transmit), 0);
	assert_int_equal(record_layer_update(&layer), -ENOTSUP);
	record_layer_done(&layer);
	record_layer_done(&layer);
}

/* RFC 8448, 3: the client's first application data. */
static void matches_the_published_trace(void **state)
{
	static const unsigned char key[] = {0x17, 0x42, 0x2d, 0xda, 0x59, 0x6e, 0xd5, 0xd9,
					    0xac, 0xd8, 0x90, 0xe3, 0xc6, 0x3f, 0x50, 0x51};
	static const unsigned char iv[] = {0x5b, 0x78, 0x92, 0x3d, 0xee, 0x08,
					   0x57, 0x90, 0x33, 0xe5, 0x23, 0xd9};
	static const unsigned char begins[] = {0x17, 0x03, 0x03, 0x00, 0x43, 0xa2, 0x3f,
					       0x70, 0x54, 0xb6, 0x2c, 0x94, 0xd0, 0xaf,
					       0xfa, 0xfe, 0x82, 0x28, 0xba, 0x55};
	struct traffic_keys keys;
	struct record_layer layer;

	(void)state;
	made_up_keys(&keys, CONFIG_TLS13);
	memcpy(keys.transmit.key, key, sizeof(key));
	memcpy(keys.transmit.iv, iv, sizeof(iv));
	assert_int_equal(record_layer_init(&layer, &keys, &keys.transmit), 0);
	for (unsigned char i = 0; i < 50; i++)
		record[5 + i] = i;
	assert_int_equal(record_layer_seal(&layer, RECORD_DATA, record, 50), 72);
	assert_memory_equal(record, begins, sizeof(begins));
	record_layer_done(&layer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(seals_and_opens_what_gnutls_does),
	    cmocka_unit_test(strips_padding),
	    cmocka_unit_test(refuses_a_record_that_was_changed_anywhere),
	    cmocka_unit_test(refuses_a_record_twice),
	    cmocka_unit_test(measures_only_what_can_be_a_record),
	    cmocka_unit_test(refuses_inner_records_that_say_nothing),
	    cmocka_unit_test(refuses_more_than_a_record_may_hold),
	    cmocka_unit_test(never_wraps_a_sequence_number),
	    cmocka_unit_test(follows_key_updates_as_gnutls_does),
	    cmocka_unit_test(takes_only_keys_that_fit),
	    cmocka_unit_test(matches_the_published_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
