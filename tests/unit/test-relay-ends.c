// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/relay-process.o tests/unit/relay-fixture.o tests/unit/engine-pki.o */
/* A relay process between a program and a live GnuTLS peer: what each of them sees of the other's end,
 * and of an end that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handshake-protocol.h"
#include "record-layer.h"
#include "relay-process.h"

static unsigned char chunk[100000];
static unsigned char expected[100000];

static void half_closed_program_still_gets_its_answer(void **state)
{
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned version = 0; version < 2; version++) {
		struct connection connection;
		connection_open(&connection, &relay, version, CONFIG_AES_128_GCM, false);
		program_says(&connection, "question");
		shutdown(connection.program, SHUT_WR);
		peer_hears(&connection, "question");
		peer_hears_end(&connection,
			       false); /* close_notify, but no FIN: see relay-connection.c */
		peer_says(&connection, "answer");
		program_hears(&connection, "answer");
		peer_says_end(&connection);
		program_hears_end(&connection, HANDSHAKE_RELAY_CLOSE_NOTIFY << 8);
		char byte;
		await(connection.link.peer_fd, POLLIN);
		assert_int_equal(recv(connection.link.peer_fd, &byte, 1, 0), 0); /* now the FIN */
		connection_close(&connection);
	}
	relay_stop(&relay);
}

static void half_closed_program_that_closes_sends_its_fin_at_once(void **state)
{
	struct relay relay;
	struct connection connection;
	char byte;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, false);
	shutdown(connection.program, SHUT_WR);
	peer_hears_end(&connection, false);
	close(connection.program);
	connection.program = -1;
	await(connection.link.peer_fd, POLLIN);
	assert_int_equal(recv(connection.link.peer_fd, &byte, 1, 0), 0);
	connection_close(&connection);
	relay_stop(&relay);
}

static void half_closed_peer_still_gets_its_answer(void **state)
{
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned version = 0; version < 2; version++) {
		struct connection connection;
		connection_open(&connection, &relay, version, CONFIG_CHACHA20_POLY1305, true);
		peer_says(&connection, "question");
		peer_says_end(&connection);
		shutdown(connection.link.peer_fd, SHUT_WR);
		program_hears(&connection, "question");
		program_hears_end(&connection, HANDSHAKE_RELAY_CLOSE_NOTIFY << 8);
		program_says(&connection, "answer");
		peer_hears(&connection, "answer");
		close(connection.program);
		connection.program = -1;
		peer_hears_end(&connection, true);
		connection_close(&connection);
	}
	relay_stop(&relay);
}

static void tells_a_cut_connection_from_an_ended_one(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	peer_says(&connection, "half of it");
	shutdown(connection.link.peer_fd, SHUT_WR);
	program_hears(&connection, "half of it");
	program_hears_end(&connection, HANDSHAKE_RELAY_TRUNCATED << 8);
	connection_close(&connection);

	connection_open(&connection, &relay, CONFIG_TLS12, CONFIG_AES_128_GCM, false);
	peer_says(&connection, "half of it");
	program_hears(&connection, "half of it");
	setsockopt(connection.link.peer_fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
		   sizeof(struct linger));
	close(connection.link.peer_fd); /* a reset */
	connection.link.peer_fd = -1;
	program_hears_end(&connection, HANDSHAKE_RELAY_TRUNCATED << 8);
	relay_await(0);
	assert_int_equal(send(connection.program, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	connection_close(&connection);
	relay_stop(&relay);
}

static void names_the_alert_of_the_peer(void **state)
{
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned version = 0; version < 2; version++) {
		struct connection connection;
		connection_open(&connection, &relay, version, CONFIG_AES_256_GCM, false);
		peer_says(&connection, "before");
		assert_int_equal(gnutls_alert_send(connection.link.peer, GNUTLS_AL_FATAL,
						   GNUTLS_A_CERTIFICATE_REVOKED),
				 0);
		program_hears(&connection, "before");
		program_hears_end(&connection, HANDSHAKE_RELAY_ALERT_RECEIVED << 8 | 44);
		shutdown(connection.link.peer_fd, SHUT_RDWR);
		relay_await(0);
		connection_close(&connection);
	}
	relay_stop(&relay);
}

/* What the peer puts on the wire without its session, and the alert that it gets for it. */
static void answers_what_is_no_record_with_the_right_alert(void **state)
{
	static const struct {
		enum config_version version;
		const char *bytes;
		size_t size;
		int alert;
	} cases[] = {
	    {CONFIG_TLS13,
	     "\x17\x03\x03\0\x14"
	     "01234567890123456789",
	     25, RECORD_BAD_RECORD_MAC},
	    {CONFIG_TLS12,
	     "\x17\x03\x03\0\x1c"
	     "0123456789012345678901234567",
	     33, RECORD_BAD_RECORD_MAC},
	    {CONFIG_TLS13, "\x17\x03\x03\x41\x01", 5, RECORD_OVERFLOW},
	    {CONFIG_TLS12, "\x17\x03\x03\x41\x01", 5, RECORD_OVERFLOW},
	    {CONFIG_TLS13, "\x14\x03\x03\0\x01\x01", 6, RECORD_UNEXPECTED_MESSAGE},
	    {CONFIG_TLS13, "\x17\x03\x03\0\x02xx", 7, RECORD_DECODE_ERROR},
	    {CONFIG_TLS12, "\x17\x03\x01\0\x20", 5, RECORD_PROTOCOL_VERSION},
	    {CONFIG_TLS13, "GET / HTTP/1.1\r\n", 16, RECORD_UNEXPECTED_MESSAGE},
	};
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct connection connection;
		char byte;
		connection_open(&connection, &relay, cases[i].version, CONFIG_AES_128_GCM, true);
		peer_says(&connection, "before");
		assert_int_equal(send(connection.link.peer_fd, cases[i].bytes, cases[i].size, 0),
				 cases[i].size);
		program_hears(&connection, "before");
		program_hears_end(&connection, HANDSHAKE_RELAY_ALERT_SENT << 8 | cases[i].alert);
		assert_int_equal(peer_recv(&connection, &byte, 1), GNUTLS_E_FATAL_ALERT_RECEIVED);
		assert_int_equal(gnutls_alert_get(connection.link.peer), cases[i].alert);
		assert_int_equal(recv(connection.link.peer_fd, &byte, 1, 0), 0);
		close(connection.link.peer_fd);
		connection.link.peer_fd = -1;
		relay_await(0);
		assert_int_equal(send(connection.program, "x", 1, MSG_NOSIGNAL), -1);
		connection_close(&connection);
	}
	relay_stop(&relay);
}

static void program_that_closes_at_once_loses_nothing(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	peer_says(&connection, "never read");
	await(connection.program, POLLIN);
	size_t total = program_fills(&connection); /* the peer is slow: all is full */
	close(connection.program);
	connection.program = -1;
	size_t received = 0;
	ssize_t got;
	while ((got = peer_recv(&connection, chunk, sizeof(chunk))) > 0) {
		fixture_text(expected, got, received, 3);
		assert_memory_equal(chunk, expected, got);
		received += (size_t)got;
	}
	assert_int_equal(got, 0);
	assert_int_equal(received, total);
	connection_close(&connection);
	relay_await(0);
	relay_stop(&relay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(half_closed_program_still_gets_its_answer),
	    cmocka_unit_test(half_closed_program_that_closes_sends_its_fin_at_once),
	    cmocka_unit_test(half_closed_peer_still_gets_its_answer),
	    cmocka_unit_test(tells_a_cut_connection_from_an_ended_one),
	    cmocka_unit_test(names_the_alert_of_the_peer),
	    cmocka_unit_test(answers_what_is_no_record_with_the_right_alert),
	    cmocka_unit_test(program_that_closes_at_once_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
