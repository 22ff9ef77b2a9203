// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/relay-process.o tests/unit/relay-fixture.o tests/unit/engine-pki.o */
/* A relay process with more than it may take, with those who would hold it up, and on its way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handshake-protocol.h"
#include "offload-relay.h"
#include "record-layer.h"
#include "relay-process.h"

static void refuses_beyond_the_bound_and_says_so_to_both(void **state)
{
	struct relay relay;
	struct connection first, second;
	char byte;

	(void)state;
	relay_start(&relay, 1);
	connection_open(&first, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	relay_await(1);
	connection_open(&second, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	program_hears_end(&second, HANDSHAKE_RELAY_ALERT_SENT << 8 | RECORD_INTERNAL_ERROR);
	assert_int_equal(peer_recv(&second, &byte, 1), GNUTLS_E_FATAL_ALERT_RECEIVED);
	assert_int_equal(gnutls_alert_get(second.link.peer), GNUTLS_A_INTERNAL_ERROR);
	connection_close(&second);
	program_says(&first, "undisturbed");
	peer_hears(&first, "undisturbed");
	connection_close(&first);
	relay_await(0);
	connection_open(&first, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	program_says(&first, "a place again");
	peer_hears(&first, "a place again");
	connection_close(&first);
	relay_stop(&relay);
}

static bool a_place_is_free(void)
{
	if (!counters_take_place(counters, PLACE_RELAYED, getuid(), 1, 0))
		return false;
	counters_give_place(counters, PLACE_RELAYED, getuid());
	return true;
}

static void takes_the_place_that_the_worker_held_without_a_gap(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 1);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(counters_take_place(counters, PLACE_RELAY_EXPECTED, getuid(), 1, 0));
		connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
		while (counters_get(counters, COUNTER_RELAYED) == 0)
			assert_false(a_place_is_free());
		program_says(&connection, "not refused");
		peer_hears(&connection, "not refused");
		assert_false(a_place_is_free());
		connection_close(&connection);
		relay_await(0);
	}
	relay_stop(&relay);
}

static void assert_takes_no_more(const struct relay *relay)
{
	struct fixture_link late;
	char reason[256];
	struct relay_ends ends;

	fixture_link_open(&late, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	assert_int_equal(offload_relay_start(relay->socket, getuid(), late.our_fd, &late.keys, -1,
					     &ends, reason, sizeof(reason)),
			 -EPIPE);
	fixture_link_close(&late);
}

static void survives_being_told_to_stop_until_its_connections_end(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	relay_await(1);
	connection_close(&connection);
	relay_await(0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	kill(relay.pid, SIGTERM);          /* perhaps before the connection was even taken */
	for (unsigned i = 0; i < 3; i++) { /* the signal has its turn meanwhile */
		program_says(&connection, "still here");
		peer_hears(&connection, "still here");
	}
	assert_takes_no_more(&relay);
	close(relay.socket);
	program_says(&connection, "alone");
	peer_hears(&connection, "alone");
	connection_close(&connection);
	relay_reap(&relay);
}

static void is_not_killed_by_a_signal_before_it_listens(void **state)
{
	struct relay relay;
	struct connection connection;
	sigset_t term;

	(void)state;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	relay_prepare(&relay);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true); /* it waits */
	sigprocmask(SIG_BLOCK, &term, NULL); /* as the supervisor has it */
	relay_run(&relay, 0);
	kill(relay.pid, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &term, NULL);
	for (unsigned n = 0; n < 3; n++) {
		program_says(&connection, "still here");
		peer_hears(&connection, "still here");
	}
	assert_takes_no_more(&relay); /* the signal is not lost */
	connection_close(&connection);
	relay_stop(&relay);
}

static void cuts_its_connections_when_told_twice(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	relay_await(1);
	kill(relay.pid, SIGTERM);
	for (unsigned i = 0; i < 3; i++) {
		program_says(&connection, "still here");
		peer_hears(&connection, "still here");
	}
	kill(relay.pid, SIGTERM);
	program_hears_end(&connection, HANDSHAKE_RELAY_TRUNCATED << 8);
	connection_close(&connection);
	relay_stop(&relay);
}

static void is_not_held_up_by_descriptors_in_the_stream(void **state)
{
	struct relay relay;
	struct connection hostile, other;
	int reader;
	int hanging = fixture_lingering_socket(&reader);
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec vector = {"x", 1};
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	char byte;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&other, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	connection_open(&hostile, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	memcpy(CMSG_DATA(&control.header), &hanging, sizeof(int));
	/* The relay sleeps until the last descriptor is on its way to it. */
	kill(relay.pid, SIGSTOP);
	assert_int_equal(waitpid(relay.pid, NULL, WUNTRACED), relay.pid);
	ssize_t sent = sendmsg(hostile.program, &message, MSG_NOSIGNAL);
	if (sent < 0) { /* Linux 6.16 and newer refuse it for the relay */
		assert_int_equal(errno, EPERM);
		setsockopt(hanging, SOL_SOCKET, SO_LINGER, &(struct linger){0, 0},
			   sizeof(struct linger));
		kill(relay.pid, SIGCONT);
	} else {
		close(hanging);
		hanging = -1;
		kill(relay.pid, SIGCONT);
		assert_int_equal(peer_recv(&hostile, &byte, 1), GNUTLS_E_FATAL_ALERT_RECEIVED);
		program_hears_end(&hostile, HANDSHAKE_RELAY_TRUNCATED << 8);
	}
	program_says(&other, "goes on");
	peer_hears(&other, "goes on");
	connection_close(&hostile);
	connection_close(&other);
	relay_await(0);
	if (hanging >= 0)
		close(hanging);
	close(reader);
	relay_stop(&relay);
}

/* The program keeps a descriptor of the TCP socket and makes its close wait. */
static void is_not_held_up_by_a_lingering_connection(void **state)
{
	struct relay relay;
	struct connection connection, other;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&other, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	fixture_link_open(&connection.link, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	setsockopt(connection.link.our_fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 1000},
		   sizeof(struct linger));
	connection_hand_over(&connection, &relay);
	program_fills(&connection);
	close(connection.program);
	connection.program = -1;
	kill(relay.pid, SIGTERM);
	for (unsigned i = 0; i < 3; i++) {
		program_says(&other, "goes on");
		peer_hears(&other, "goes on");
	}
	kill(relay.pid, SIGTERM); /* cuts what cannot be flushed, without waiting for it */
	close(relay.socket);
	relay_reap(&relay);
	connection_close(&connection);
	connection_close(&other);
}

static void holds_a_hundred_connections_and_lets_them_go(void **state)
{
	enum { MANY = 100 };
	static struct connection connections[MANY];
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned i = 0; i < MANY; i++)
		connection_open(&connections[i], &relay, i & 1, i % CONFIG_CIPHERS, i >> 1 & 1);
	relay_await(MANY);
	for (unsigned i = 0; i < MANY; i++) {
		program_says(&connections[i], "each");
		peer_hears(&connections[i], "each");
	}
	for (unsigned i = 0; i < MANY; i++)
		connection_close(&connections[i]);
	relay_await(0);
	relay_stop(&relay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refuses_beyond_the_bound_and_says_so_to_both),
	    cmocka_unit_test(takes_the_place_that_the_worker_held_without_a_gap),
	    cmocka_unit_test(survives_being_told_to_stop_until_its_connections_end),
	    cmocka_unit_test(is_not_killed_by_a_signal_before_it_listens),
	    cmocka_unit_test(cuts_its_connections_when_told_twice),
	    cmocka_unit_test(is_not_held_up_by_descriptors_in_the_stream),
	    cmocka_unit_test(is_not_held_up_by_a_lingering_connection),
	    cmocka_unit_test(holds_a_hundred_connections_and_lets_them_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
