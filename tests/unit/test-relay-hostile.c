// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/relay-process.o tests/unit/relay-fixture.o tests/unit/engine-pki.o */
/* A relay process among a peer, programs and workers that mean it harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lets_go_of_a_peer_that_never_reads_when_both_have_ended),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
