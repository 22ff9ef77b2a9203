// SPDX-License-Identifier: LGPL-2.1-or-later
/* Handshake messages after the handshake: what each asks for, in whatever pieces it comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "post-handshake.h"
#include "record-layer.h"

#define TICKET         \
	"\x04\0\0\x0a" \
	"0123456789"
#define UPDATE  "\x18\0\0\x01\0"
#define REQUEST "\x18\0\0\x01\x01"

static int read_once(enum config_version version, bool is_server, const void *bytes, size_t size,
		     unsigned *actions)
{
	struct post_handshake messages;

	*actions = 0;
	post_handshake_init(&messages, version, is_server);
	return post_handshake_read(&messages, bytes, size, 1, actions);
}

static void says_what_a_record_of_messages_asks_for(void **state)
{
	static const struct {
		enum config_version version;
		bool is_server;
		const char *bytes;
		size_t size;
		int alert;
		unsigned actions;
	} cases[] = {
	    {CONFIG_TLS13, false, TICKET, 14, 0, 0},
	    {CONFIG_TLS13, false, TICKET TICKET, 28, 0, 0},
	    {CONFIG_TLS13, true, TICKET, 14, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS13, true, UPDATE, 5, 0, POST_HANDSHAKE_UPDATE_RECEIVE},
	    {CONFIG_TLS13, false, REQUEST, 5, 0,
	     POST_HANDSHAKE_UPDATE_RECEIVE | POST_HANDSHAKE_UPDATE_TRANSMIT},
	    {CONFIG_TLS13, false, TICKET UPDATE, 19, 0, POST_HANDSHAKE_UPDATE_RECEIVE},
	    /* RFC 8446, 5.1: a key change at the end of a record alone */
	    {CONFIG_TLS13, false, UPDATE TICKET, 19, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS13, false, UPDATE UPDATE, 10, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS13, false, UPDATE "\x18", 6, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS13, false, "\x18\0\0\x01\x02", 5, RECORD_ILLEGAL_PARAMETER, 0},
	    {CONFIG_TLS13, false, "\x18\0\0\0", 4, RECORD_DECODE_ERROR, 0},
	    {CONFIG_TLS13, false, "\x18\0\0\x02\0\0", 6, RECORD_DECODE_ERROR, 0},
	    {CONFIG_TLS13, false, "\x04\xff\xff\xff", 4, RECORD_DECODE_ERROR, 0},
	    {CONFIG_TLS13, false, "\x0d\0\0\0", 4, RECORD_UNEXPECTED_MESSAGE,
	     0}, /* CertificateRequest */
	    {CONFIG_TLS13, true, "\x01\0\0\0", 4, RECORD_UNEXPECTED_MESSAGE, 0}, /* ClientHello */
	    {CONFIG_TLS13, true, "\x14\0\0\x20", 4, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS12, false, "\0\0\0\0", 4, 0, POST_HANDSHAKE_REFUSE_RENEGOTIATION},
	    {CONFIG_TLS12, false, "\0\0\0\x01", 4, RECORD_DECODE_ERROR, 0},
	    {CONFIG_TLS12, true, "\0\0\0\0", 4, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS12, true, "\x01\0\0\x02xy", 6, 0, POST_HANDSHAKE_REFUSE_RENEGOTIATION},
	    {CONFIG_TLS12, false, TICKET, 14, RECORD_UNEXPECTED_MESSAGE, 0},
	    {CONFIG_TLS12, false, UPDATE, 5, RECORD_UNEXPECTED_MESSAGE, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		unsigned actions;
		assert_int_equal(read_once(cases[i].version, cases[i].is_server, cases[i].bytes,
					   cases[i].size, &actions),
				 cases[i].alert);
		assert_int_equal(actions, cases[i].alert ? 0 : cases[i].actions);
	}
}

static void reads_messages_in_pieces_of_every_size(void **state)
{
	static const char bytes[] = TICKET TICKET REQUEST;
	const size_t size = sizeof(bytes) - 1;

	(void)state;
	for (size_t piece = 1; piece <= size; piece++) {
		struct post_handshake messages;
		unsigned actions = 0;
		post_handshake_init(&messages, CONFIG_TLS13, false);
		for (size_t at = 0; at < size; at += piece) {
			size_t part = size - at < piece ? size - at : piece;
			assert_int_equal(actions, 0);
			assert_int_equal(post_handshake_read(&messages, (const uint8_t *)bytes + at,
							     part, 1, &actions),
					 0);
			assert_int_equal(post_handshake_within_message(&messages),
					 (at + part) % 14 != 0 && at + part != size);
		}
		assert_int_equal(messages.tickets, 2);
		assert_int_equal(actions,
				 POST_HANDSHAKE_UPDATE_RECEIVE | POST_HANDSHAKE_UPDATE_TRANSMIT);
	}
}

struct catch
{
	struct post_handshake messages;
	unsigned count;
	unsigned until; /* after so many nobody awaits more; 0: never */
};

static void ticket_catch(void *context, const uint8_t *message, size_t size)
{
	struct catch *catch = context;

	assert_int_equal(size, sizeof(TICKET) - 1);
	assert_memory_equal(message, TICKET, size);
	if (++catch->count == catch->until)
		post_handshake_await_tickets(&catch->messages, NULL, NULL);
}

static void passes_tickets_on_whole_however_they_are_cut(void **state)
{
	static const char bytes[] = TICKET TICKET TICKET;
	const size_t size = sizeof(bytes) - 1;

	(void)state;
	for (size_t piece = 1; piece <= size; piece++)
		for (unsigned until = 0; until < 3; until++) {
			struct catch catch = {.until = until};
			unsigned actions;

			post_handshake_init(&catch.messages, CONFIG_TLS13, false);
			post_handshake_await_tickets(&catch.messages, ticket_catch, &catch);
			for (size_t at = 0; at < size; at += piece)
				assert_int_equal(post_handshake_read(
						     &catch.messages, (const uint8_t *)bytes + at,
						     size - at < piece ? size - at : piece, 1,
						     &actions),
						 0);
			assert_int_equal(catch.count, until ? until : 3);
			assert_int_equal(catch.messages.tickets, 3);
			assert_null(catch.messages.message);
		}
}

static void a_ticket_half_come_is_freed(void **state)
{
	struct catch catch = {.until = 0};
	unsigned actions;

	(void)state;
	post_handshake_init(&catch.messages, CONFIG_TLS13, false);
	post_handshake_await_tickets(&catch.messages, ticket_catch, &catch);
	assert_int_equal(
	    post_handshake_read(&catch.messages, (const uint8_t *)TICKET, 9, 1, &actions), 0);
	assert_non_null(catch.messages.message);
	post_handshake_await_tickets(&catch.messages, NULL, NULL);
	assert_null(catch.messages.message);
}

static void skips_the_largest_ticket_and_refuses_a_larger_one(void **state)
{
	const size_t size = POST_HANDSHAKE_MESSAGE_MAX;
	unsigned char *bytes = calloc(1, size);
	unsigned actions;

	(void)state;
	bytes[0] = 4;
	bytes[1] = (unsigned char)((size - 4) >> 16);
	bytes[2] = (unsigned char)((size - 4) >> 8);
	bytes[3] = (unsigned char)(size - 4);
	assert_int_equal(read_once(CONFIG_TLS13, false, bytes, size, &actions), 0);
	bytes[3]++;
	assert_int_equal(read_once(CONFIG_TLS13, false, bytes, 4, &actions), RECORD_DECODE_ERROR);
	free(bytes);
}

static void follows_eight_updates_a_second_and_no_more(void **state)
{
	struct post_handshake messages;
	unsigned actions;

	(void)state;
	post_handshake_init(&messages, CONFIG_TLS13, false);
	for (uint64_t second = 0; second < 3; second++)
		for (unsigned i = 0; i < POST_HANDSHAKE_RATE_MAX; i++)
			assert_int_equal(post_handshake_read(&messages, (const uint8_t *)UPDATE, 5,
							     5000 + second * 1000 + i, &actions),
					 0);
	assert_int_equal(post_handshake_read(&messages, (const uint8_t *)UPDATE, 5, 7999, &actions),
			 RECORD_UNEXPECTED_MESSAGE);
}

static void bounds_attempts_to_renegotiate(void **state)
{
	struct post_handshake messages;
	unsigned actions;

	(void)state;
	post_handshake_init(&messages, CONFIG_TLS12, false);
	for (unsigned i = 0; i < POST_HANDSHAKE_RATE_MAX; i++)
		assert_int_equal(
		    post_handshake_read(&messages, (const uint8_t *)"\0\0\0\0", 4, 0, &actions), 0);
	assert_int_equal(
	    post_handshake_read(&messages, (const uint8_t *)"\0\0\0\0", 4, 0, &actions),
	    RECORD_UNEXPECTED_MESSAGE);
}

static void makes_an_update_that_asks_for_none(void **state)
{
	uint8_t message[POST_HANDSHAKE_KEY_UPDATE_SIZE];
	unsigned actions;

	(void)state;
	post_handshake_key_update(message, false);
	assert_int_equal(read_once(CONFIG_TLS13, true, message, sizeof(message), &actions), 0);
	assert_int_equal(actions, POST_HANDSHAKE_UPDATE_RECEIVE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(says_what_a_record_of_messages_asks_for),
	    cmocka_unit_test(reads_messages_in_pieces_of_every_size),
	    cmocka_unit_test(passes_tickets_on_whole_however_they_are_cut),
	    cmocka_unit_test(a_ticket_half_come_is_freed),
	    cmocka_unit_test(skips_the_largest_ticket_and_refuses_a_larger_one),
	    cmocka_unit_test(follows_eight_updates_a_second_and_no_more),
	    cmocka_unit_test(bounds_attempts_to_renegotiate),
	    cmocka_unit_test(makes_an_update_that_asks_for_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
