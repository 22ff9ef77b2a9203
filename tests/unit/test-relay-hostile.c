// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/relay-process.o tests/unit/relay-fixture.o tests/unit/engine-pki.o */
/* A relay process among a peer, programs and workers that mean it harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "descriptors.h"
#include "handshake-protocol.h"
#include "offload-relay.h"
#include "relay-connection.h"
#include "relay-process.h"
#include "skipping.h"

/* ---- Time ---------------------------------------------------------------------------------- */

static int64_t *shift; /* seconds by which all the test's processes are ahead */

/* In place of the C library's, for the relay and for libevent. */
int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	long result = syscall(SYS_clock_gettime, clock, ret_time);

	if (result == 0 && shift)
		ret_time->tv_sec += *shift;
	return (int)result;
}

static int set_up(void **state)
{
	(void)state;
	shift =
	    mmap(NULL, sizeof(*shift), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shift == MAP_FAILED ? -1 : 0;
}

/* ---- Peers --------------------------------------------------------------------------------- */

/* Somewhere among these sizes the last byte of data fills what TCP takes, so that the close_notify behind it
 * waits. */
static void lets_go_of_a_peer_that_never_reads_when_both_have_ended(void **state)
{
	enum { MANY = 64, FIRST = 2000, STEP = 3000 };
	static struct connection connections[MANY];
	static char data[FIRST + MANY * STEP];
	const int small = 1;
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned i = 0; i < MANY; i++) {
		struct connection *connection = &connections[i];

		fixture_link_open(&connection->link, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
		setsockopt(connection->link.our_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		setsockopt(connection->link.peer_fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
		connection_hand_over(connection, &relay);
		assert_true(send(connection->program, data, FIRST + i * STEP,
				 MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
		shutdown(connection->program, SHUT_WR);
	}
	relay_await(MANY);
	for (unsigned i = 0; i < MANY; i++) {
		peer_says_end(&connections[i]);
		program_hears_end(&connections[i], HANDSHAKE_RELAY_CLOSE_NOTIFY << 8);
	}
	for (unsigned i = 0; i < MANY; i++) {
		close(connections[i].program);
		connections[i].program = -1;
	}
	nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	*shift += RELAY_STALL_MAX / 1000 + 1;
	relay_await(0);
	for (unsigned i = 0; i < MANY; i++)
		connection_close(&connections[i]);
	relay_stop(&relay);
}

/* ---- Workers ------------------------------------------------------------------------------- */

static void packets_of_no_bytes_do_not_end_it(void **state)
{
	struct connection connection;
	struct relay relay;
	int pair[2];

	(void)state;
	relay_start(&relay, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(send(relay.socket, "", 0, MSG_NOSIGNAL), 0);
	/* Nor are the descriptors kept that come with them. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(descriptors_send(relay.socket, "", 0, pair, 1), 0);
	close(pair[0]);
	await(pair[1], POLLIN);
	close(pair[1]);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	program_says(&connection, "taken");
	peer_hears(&connection, "taken");
	connection_close(&connection);
	relay_stop(&relay);
}

/* A request that cannot be taken, whose program has already put such a socket into its own. */
static void is_not_held_up_by_what_comes_with_a_bad_request(void **state)
{
	const struct relay_request request = {.version = RELAY_REQUEST_VERSION + 1};
	struct connection other;
	struct relay relay;
	int pair[2], peer, lingering = fixture_lingering_socket(&peer);

	(void)state;
	relay_start(&relay, 0);
	connection_open(&other, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(descriptors_send(pair[0], "x", 1, &lingering, 1), 0);
	close(lingering);
	assert_int_equal(descriptors_send(relay.socket, &request, sizeof(request), &pair[1], 1), 0);
	close(pair[1]);
	for (unsigned i = 0; i < 3; i++) {
		program_says(&other, "goes on");
		peer_hears(&other, "goes on");
	}
	close(pair[0]);
	close(peer);
	connection_close(&other);
	relay_stop(&relay);
}

/* A file of this directory's file system, without a name, or -1. */
static int file_make(void)
{
	char name[] = "./relay-state-XXXXXX";
	int fd = mkstemp(name);

	if (fd >= 0)
		unlink(name);
	return fd;
}

/* Whoever serves a file could keep the relay waiting. */
static void takes_only_memory_for_the_state(void **state)
{
	struct relay_request request = {.version = RELAY_REQUEST_VERSION, .uid = getuid()};
	struct fixture_link link;
	struct relay relay;
	int file = file_make(), pair[2], control[2];
	char byte;

	(void)state;
	assert_true(file >= 0);
	if (fcntl(file, F_GET_SEALS) >= 0) {
		close(file);
		skip_because("this directory lies in memory (tmpfs)");
	}
	relay_start(&relay, 0);
	fixture_link_open(&link, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	request.keys = link.keys;
	assert_int_equal(ftruncate(file, HANDSHAKE_RELAY_STATE_SIZE), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control), 0);
	assert_int_equal(descriptors_send(relay.socket, &request, sizeof(request),
					  (const int[]){link.our_fd, pair[1], file, control[1]}, 4),
			 0);
	close(pair[1]);
	close(link.our_fd);
	link.our_fd = -1;
	await(pair[0], POLLIN);
	assert_int_equal(recv(pair[0], &byte, 1, 0), 0);
	await(link.peer_fd, POLLIN);
	assert_int_equal(recv(link.peer_fd, &byte, 1, 0), -1); /* a reset, and no record */
	close(pair[0]);
	close(control[0]);
	close(control[1]);
	close(file);
	fixture_link_close(&link);
	relay_stop(&relay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lets_go_of_a_peer_that_never_reads_when_both_have_ended),
	    cmocka_unit_test(packets_of_no_bytes_do_not_end_it),
	    cmocka_unit_test(is_not_held_up_by_what_comes_with_a_bad_request),
	    cmocka_unit_test(takes_only_memory_for_the_state),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
