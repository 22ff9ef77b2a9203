// SPDX-License-Identifier: LGPL-2.1-or-later
// The way of a session's bytes: never beyond a record, never waiting, and counted.
/* links: tests/unit/engine-peer.o */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-peer.h"
#include "transport.h"

struct line {
	struct transport transport;
	gnutls_session_t session;
	int ours, theirs;
};

static int setup(void **state)
{
	struct line *line = calloc(1, sizeof(*line));

	engine_connect(&line->ours, &line->theirs);
	gnutls_init(&line->session, GNUTLS_SERVER | GNUTLS_NONBLOCK);
	gnutls_set_default_priority(line->session);
	transport_init(&line->transport, line->ours);
	transport_bind(&line->transport, line->session);
	*state = line;
	return 0;
}

static int teardown(void **state)
{
	struct line *line = *state;

	gnutls_deinit(line->session);
	transport_done(&line->transport);
	close(line->ours);
	if (line->theirs >= 0)
		close(line->theirs);
	free(line);
	return 0;
}

static size_t left_in_socket(const struct line *line)
{
	char bytes[256];
	ssize_t got = recv(line->ours, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	return got < 0 ? 0 : (size_t)got;
}

static void moves_nothing_by_itself(void **state)
{
	struct line *line = *state;

	assert_false(transport_touched(&line->transport));
	assert_true(transport_at_boundary(&line->transport));
	assert_true(transport_looks_like_tls(&line->transport));
	assert_int_equal(transport_plain_alert(&line->transport), -1);
	assert_int_equal(gnutls_handshake(line->session), GNUTLS_E_AGAIN);
	assert_false(transport_touched(&line->transport));
	assert_int_equal(line->transport.error, 0);
}

static void stops_at_the_end_of_a_record(void **state)
{
	/* An alert, and the beginning of another record behind it. */
	static const unsigned char bytes[] = {21, 3, 3, 0, 2, 1, 100, 22, 3, 1, 0};
	struct line *line = *state;
	size_t record = 7;

	assert_int_equal(send(line->theirs, bytes, 3, 0), 3);
	assert_int_equal(gnutls_handshake(line->session), GNUTLS_E_AGAIN);
	assert_int_equal(line->transport.bytes_in, 3);
	assert_false(transport_at_boundary(&line->transport));
	assert_true(transport_touched(&line->transport));
	assert_int_equal(send(line->theirs, bytes + 3, sizeof(bytes) - 3, 0), sizeof(bytes) - 3);
	assert_int_equal(gnutls_handshake(line->session), GNUTLS_E_FATAL_ALERT_RECEIVED);
	assert_int_equal(line->transport.bytes_in, record);
	assert_true(transport_at_boundary(&line->transport));
	assert_int_equal(left_in_socket(line), sizeof(bytes) - record);
	assert_int_equal(transport_plain_alert(&line->transport), 100);
}

static void tells_what_is_no_tls(void **state)
{
	struct line *line = *state;

	assert_int_equal(send(line->theirs, "SSH-2.0", 7, 0), 7);
	assert_true(gnutls_handshake(line->session) < 0);
	assert_false(transport_looks_like_tls(&line->transport));
	assert_memory_equal(line->transport.first, "SSH-2", 5);
}

static void sees_the_end(void **state)
{
	struct line *line = *state;

	close(line->theirs);
	line->theirs = -1;
	assert_int_equal(gnutls_handshake(line->session), GNUTLS_E_PREMATURE_TERMINATION);
	assert_true(line->transport.end);
	assert_false(transport_touched(&line->transport));
}

static void sees_a_reset(void **state)
{
	const struct linger hard = {.l_onoff = 1};
	struct line *line = *state;

	setsockopt(line->theirs, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(line->theirs);
	line->theirs = -1;
	assert_int_equal(gnutls_handshake(line->session), GNUTLS_E_PULL_ERROR);
	assert_int_equal(line->transport.error, ECONNRESET);
	assert_false(transport_touched(&line->transport));
}

static void counts_what_it_writes_and_raises_no_signal(void **state)
{
	struct line *line = *state;
	int error = 0;

	assert_int_equal(gnutls_alert_send(line->session, GNUTLS_AL_FATAL, GNUTLS_A_INTERNAL_ERROR),
			 0);
	assert_false(transport_touched(&line->transport));
	assert_true(transport_holds(&line->transport));
	assert_int_equal(transport_flush(&line->transport), 0);
	assert_false(transport_holds(&line->transport));
	assert_int_equal(line->transport.bytes_out, 7);
	assert_true(transport_touched(&line->transport));
	close(line->theirs);
	line->theirs = -1;
	/* The first write is answered by a reset, the next one fails: without SIGPIPE. */
	for (int i = 0; i < 100 && error == 0; i++) {
		gnutls_alert_send(line->session, GNUTLS_AL_FATAL, GNUTLS_A_INTERNAL_ERROR);
		error = transport_flush(&line->transport);
		usleep(1000);
	}
	assert_true(error < 0);
	assert_true(line->transport.error == EPIPE || line->transport.error == ECONNRESET);
}

static void never_waits_for_a_full_socket(void **state)
{
	static char much[65536];
	struct line *line = *state;

	while (send(line->ours, much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(gnutls_alert_send(line->session, GNUTLS_AL_FATAL, GNUTLS_A_INTERNAL_ERROR),
			 0);
	assert_int_equal(transport_flush(&line->transport), -EAGAIN);
	assert_true(transport_holds(&line->transport));
	assert_int_equal(line->transport.bytes_out, 0);
	assert_int_equal(fcntl(line->ours, F_GETFL) & O_NONBLOCK, 0);
}

static void hears_the_last_words_of_a_peer_that_is_gone(void **state)
{
	static const unsigned char alert[] = {21, 3, 3, 0, 2, 2, 48};
	const struct linger hard = {.l_onoff = 1};
	struct line *line = *state;

	assert_int_equal(send(line->theirs, alert, sizeof(alert), 0), sizeof(alert));
	setsockopt(line->theirs, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(line->theirs);
	line->theirs = -1;
	gnutls_deinit(line->session);
	gnutls_init(&line->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
	gnutls_set_default_priority(line->session);
	transport_bind(&line->transport, line->session);
	/* Sending fails, reading does not. */
	assert_int_equal(gnutls_handshake(line->session), GNUTLS_E_FATAL_ALERT_RECEIVED);
	assert_int_equal(gnutls_alert_get(line->session), 48);
	assert_true(transport_holds(&line->transport));
	assert_true(transport_flush(&line->transport) < 0);
	assert_false(transport_holds(&line->transport));
}

static void bounds_what_it_reads(void **state)
{
	/* A record that announces 16000 bytes and goes on and on. */
	static const unsigned char bytes[30] = {22, 3, 1, 0x3e, 0x80, 1, 0, 0x3e, 0x00};
	struct line *line = *state;

	line->transport.bytes_in = TRANSPORT_BYTES_MAX - sizeof(bytes);
	assert_int_equal(send(line->theirs, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(send(line->theirs, "more", 4, 0), 4);
	for (int i = 0; i < 10 && !line->transport.too_much; i++)
		assert_true(gnutls_handshake(line->session) < 0);
	assert_true(line->transport.too_much);
	assert_in_range(line->transport.bytes_in, TRANSPORT_BYTES_MAX, TRANSPORT_BYTES_MAX + 4);
}

static void throws_away_what_is_left(void **state)
{
	struct line *line = *state;

	assert_int_equal(send(line->theirs, "leftover", 8, 0), 8);
	transport_drain(&line->transport);
	assert_int_equal(left_in_socket(line), 0);
	assert_true(transport_touched(&line->transport));
	transport_drain(&line->transport); /* an empty socket does not stop it */
}

#define line_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    line_test(moves_nothing_by_itself),
	    line_test(stops_at_the_end_of_a_record),
	    line_test(tells_what_is_no_tls),
	    line_test(sees_the_end),
	    line_test(sees_a_reset),
	    line_test(counts_what_it_writes_and_raises_no_signal),
	    line_test(never_waits_for_a_full_socket),
	    line_test(hears_the_last_words_of_a_peer_that_is_gone),
	    line_test(bounds_what_it_reads),
	    line_test(throws_away_what_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
