// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o */
/* links: libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o */
/* links: libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o */
/* links: libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
/* Records without data, fed in every cut: what each means, and that none keeps the caller busy. */
#include "library-fixture.h"

static struct handshake *h;
static int alert;

static int setup(void **state)
{
	(void)state;
	h = handshake_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handshake_free(h);
	return 0;
}

/* A connection as it is after its handshake. */
static void begin(enum handshake_role role, const char *version)
{
	char text[256];
	struct message message;

	handshake_free(h);
	h = handshake_new();
	h->role = role;
	snprintf(text, sizeof(text),
		 "handshake/1 reply\noutcome=established\nversion=%s\ntransmit=kernel\n"
		 "receive=kernel\n",
		 version);
	message_of(&message, text, NULL, 0);
	result_take(h, &message, 99, NULL);
	message_done(&message);
}

static int feed(uint8_t type, const char *bytes, size_t size)
{
	return control_take(h, type, bytes, size, &alert);
}

#define FEED(type, bytes) feed(type, bytes, sizeof(bytes) - 1)

#define TICKET         \
	"\x04\0\0\x0a" \
	"0123456789"
#define KEY_UPDATE "\x18\0\0\x01\0"

static void close_notify_is_the_end(void **state)
{
	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_ALERT, "\1\0"), CONTROL_END);
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_ALERT, "\2\0"), CONTROL_END); /* the level says nothing */
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_ALERT, "\1"), CONTROL_GO_ON);
	assert_int_equal(FEED(RECORD_ALERT, "\0"), CONTROL_END);
	assert_true(h->control.peer_closed);
}

static void a_fatal_alert_is_named(void **state)
{
	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_ALERT, "\2\x74"), -EPROTO);
	assert_says(h, "certificate_required (116)");
	assert_int_equal(alert, -1);
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_ALERT, "\1\x28"), -EPROTO); /* fatal whatever its level */
	assert_says(h, "handshake_failure (40)");
	begin(HANDSHAKE_CLIENT, "TLS1.2");
	assert_int_equal(FEED(RECORD_ALERT, "\2\xc8"), -EPROTO);
	assert_says(h, "unknown (200)");
}

static void warnings_are_borne_but_not_without_end(void **state)
{
	int next = 0, count = 0;

	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_ALERT, "\1\x5a"), CONTROL_GO_ON); /* user_canceled */
	begin(HANDSHAKE_SERVER, "TLS1.2");
	assert_int_equal(FEED(RECORD_ALERT, "\1\x64"), CONTROL_GO_ON); /* no_renegotiation */
	while (next == CONTROL_GO_ON && count++ < 100000)
		next = FEED(RECORD_ALERT, "\1\x5a");
	assert_int_equal(next, -EPROTO);
	assert_int_equal(alert, ALERT_UNEXPECTED_MESSAGE);
}

static void data_between_renews_the_patience(void **state)
{
	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(FEED(RECORD_HANDSHAKE, TICKET), CONTROL_GO_ON);
		assert_int_equal(control_take_data(h, 1, &alert), CONTROL_GO_ON);
	}
	assert_int_equal(h->control.tickets, 1000);
}

static void empty_data_is_borne_but_not_without_end(void **state)
{
	int next = 0, count = 0;

	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(control_take_data(h, 0, &alert), CONTROL_GO_ON);
	while (next == CONTROL_GO_ON && count++ < 100000)
		next = control_take_data(h, 0, &alert);
	assert_int_equal(next, -EPROTO);
}

static void tickets_are_set_aside_however_they_are_cut(void **state)
{
	static const char both[] = TICKET TICKET TICKET;
	const size_t size = sizeof(both) - 1;

	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(feed(RECORD_HANDSHAKE, both, size), CONTROL_GO_ON);
	assert_int_equal(h->control.tickets, 3);
	for (size_t cut = 1; cut < size; cut++) {
		begin(HANDSHAKE_CLIENT, "TLS1.3");
		assert_int_equal(feed(RECORD_HANDSHAKE, both, cut), CONTROL_GO_ON);
		assert_int_equal(feed(RECORD_HANDSHAKE, both + cut, size - cut), CONTROL_GO_ON);
		assert_int_equal(h->control.tickets, 3);
		assert_int_equal(control_take_data(h, 1, &alert), CONTROL_GO_ON);
	}
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	for (size_t i = 0; i < size; i++)
		assert_int_equal(feed(RECORD_HANDSHAKE, both + i, 1), CONTROL_GO_ON);
	assert_int_equal(h->control.tickets, 3);
	assert_int_equal(control_take_data(h, 1, &alert), CONTROL_GO_ON);
}

static void a_ticket_too_large_is_refused(void **state)
{
	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\4\1\0\0"), CONTROL_GO_ON); /* 65536 */
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\4\1\0\1"), -EPROTO);
	assert_int_equal(alert, ALERT_DECODE_ERROR);
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\4\xff\xff\xff"), -EPROTO);
}

static void a_key_update_is_found_however_it_is_cut(void **state)
{
	static const char both[] = TICKET KEY_UPDATE;
	const size_t size = sizeof(both) - 1;

	(void)state;
	for (size_t cut = 0; cut < size; cut++) {
		begin(HANDSHAKE_CLIENT, "TLS1.3");
		if (cut)
			assert_int_equal(feed(RECORD_HANDSHAKE, both, cut), CONTROL_GO_ON);
		assert_int_equal(feed(RECORD_HANDSHAKE, both + cut, size - cut), CONTROL_UPDATE);
		assert_false(h->control.update_owed);
		assert_int_equal(h->control.failure, 0);
	}
	begin(HANDSHAKE_SERVER, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\x18\0\0\1\1"), CONTROL_UPDATE);
	assert_true(h->control.update_owed);
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, KEY_UPDATE TICKET), -EPROTO);
	assert_int_equal(alert, ALERT_UNEXPECTED_MESSAGE);
	begin(HANDSHAKE_SERVER, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\x18\0\0\1\2"), -EPROTO);
	assert_int_equal(alert, ALERT_ILLEGAL_PARAMETER);
	begin(HANDSHAKE_SERVER, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\x18\0\0\2\0\0"), -EPROTO);
	assert_int_equal(alert, ALERT_DECODE_ERROR);
}

static void key_updates_are_limited_but_for_those_that_follow_data(void **state)
{
	int next = CONTROL_UPDATE, count = 0;

	(void)state;
	begin(HANDSHAKE_SERVER, "TLS1.3");
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(FEED(RECORD_HANDSHAKE, KEY_UPDATE), CONTROL_UPDATE);
		assert_int_equal(control_take_data(h, 512, &alert), CONTROL_GO_ON);
		assert_int_equal(control_take_data(h, 512, &alert), CONTROL_GO_ON);
	}
	while (next == CONTROL_UPDATE && count++ < 100) {
		assert_int_equal(control_take_data(h, 1, &alert), CONTROL_GO_ON);
		next = FEED(RECORD_HANDSHAKE, KEY_UPDATE);
	}
	assert_int_equal(next, -EPROTO);
	assert_in_range(count, 8, 18); /* a second may have ended meanwhile */
	assert_int_equal(alert, ALERT_UNEXPECTED_MESSAGE);
	assert_says(h, "too many in a second");
}

static void messages_that_have_no_place_are_refused(void **state)
{
	static const struct {
		enum handshake_role role;
		const char *version;
		char type;
	} wrong[] = {
	    {HANDSHAKE_SERVER, "TLS1.3", 4},  {HANDSHAKE_CLIENT, "TLS1.3", 0},
	    {HANDSHAKE_CLIENT, "TLS1.3", 1},  {HANDSHAKE_SERVER, "TLS1.3", 1},
	    {HANDSHAKE_CLIENT, "TLS1.3", 13}, {HANDSHAKE_CLIENT, "TLS1.2", 4},
	    {HANDSHAKE_CLIENT, "TLS1.2", 24}, {HANDSHAKE_SERVER, "TLS1.2", 0},
	    {HANDSHAKE_CLIENT, "TLS1.2", 1},  {HANDSHAKE_SERVER, "TLS1.2", 20},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char message[] = {wrong[i].type, 0, 0, 0};

		begin(wrong[i].role, wrong[i].version);
		assert_int_equal(feed(RECORD_HANDSHAKE, message, sizeof(message)), -EPROTO);
		assert_int_equal(alert, ALERT_UNEXPECTED_MESSAGE);
		assert_true(h->control.dead);
	}
}

static void renegotiation_is_declined_and_the_connection_goes_on(void **state)
{
	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.2");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\0\0\0\0"), CONTROL_NO_RENEG);
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\0\0\0\0\0\0\0\0"), CONTROL_NO_RENEG);
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\0\0\0\0\0\0"), CONTROL_NO_RENEG);
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\0\0"), CONTROL_NO_RENEG);
	assert_int_equal(control_take_data(h, 1, &alert), CONTROL_GO_ON);
	begin(HANDSHAKE_SERVER, "TLS1.2");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\1\0\0\3he"), CONTROL_GO_ON);
	assert_int_equal(FEED(RECORD_HANDSHAKE, "y"), CONTROL_NO_RENEG);
	begin(HANDSHAKE_CLIENT, "TLS1.2");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\0\0\0\1x"), -EPROTO);
}

static void nothing_comes_amid_a_message(void **state)
{
	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\4\0"), CONTROL_GO_ON);
	assert_int_equal(control_take_data(h, 5, &alert), -EPROTO);
	assert_int_equal(alert, ALERT_UNEXPECTED_MESSAGE);
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_ALERT, "\1"), CONTROL_GO_ON);
	assert_int_equal(FEED(RECORD_HANDSHAKE, TICKET), -EPROTO);
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(RECORD_HANDSHAKE, "\4\0"), CONTROL_GO_ON);
	assert_int_equal(FEED(RECORD_ALERT, "\1\0"), CONTROL_END);
}

static void unknown_and_empty_records_are_refused(void **state)
{
	(void)state;
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(FEED(20, "\1"), -EPROTO); /* ChangeCipherSpec */
	assert_says(h, "type 20");
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(feed(RECORD_HANDSHAKE, "", 0), -EPROTO);
	begin(HANDSHAKE_CLIENT, "TLS1.3");
	assert_int_equal(feed(RECORD_ALERT, "", 0), -EPROTO);
	assert_int_equal(alert, ALERT_UNEXPECTED_MESSAGE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(close_notify_is_the_end),
	    T(a_fatal_alert_is_named),
	    T(warnings_are_borne_but_not_without_end),
	    T(data_between_renews_the_patience),
	    T(empty_data_is_borne_but_not_without_end),
	    T(tickets_are_set_aside_however_they_are_cut),
	    T(a_ticket_too_large_is_refused),
	    T(a_key_update_is_found_however_it_is_cut),
	    T(key_updates_are_limited_but_for_those_that_follow_data),
	    T(messages_that_have_no_place_are_refused),
	    T(renegotiation_is_declined_and_the_connection_goes_on),
	    T(nothing_comes_amid_a_message),
	    T(unknown_and_empty_records_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
