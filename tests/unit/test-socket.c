// SPDX-License-Identifier: LGPL-2.1-or-later
// What kind of socket a descriptor is, told in words; and closing one without waiting.
/* links: tests/unit/engine-peer.o */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-peer.h"
#include "offload-kernel.h"
#include "skipping.h"
#include "socket.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* Takes fd. */
static void refuses(int fd, int (*check)(int, struct failure *), enum failure_class class,
		    const char *part)
{
	struct failure failure = {.class = FAILURE_NONE};

	assert_true(fd >= 0);
	assert_int_equal(check(fd, &failure), -1);
	if (failure.class != class || strstr(failure.sentence, part) == NULL)
		fail_msg("%s: \"%s\" instead of \"%s\"", failure_class_word(failure.class),
			 failure.sentence, part);
	assert_false(failure.retry);
	close(fd);
}

static int listening(int domain, int protocol)
{
	struct sockaddr_in6 address = {.sin6_family = (sa_family_t)domain};
	int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, protocol);

	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address,
		 domain == AF_INET6 ? sizeof(address) : sizeof(struct sockaddr_in)) < 0 ||
	    listen(fd, 1) < 0)
		return -1;
	return fd;
}

static void tells_what_is_no_tcp_socket(void **state)
{
	int pipes[2], pair[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	close(pipes[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	refuses(open("/dev/null", O_RDWR), socket_check_connected, FAILURE_REQUEST,
		"a character device");
	refuses(open("/", O_RDONLY), socket_check_connected, FAILURE_REQUEST, "a directory");
	refuses(memfd_create("x", 0), socket_check_connected, FAILURE_REQUEST, "a regular file");
	refuses(epoll_create1(0), socket_check_connected, FAILURE_REQUEST, "no socket");
	refuses(pipes[0], socket_check_connected, FAILURE_REQUEST, "a pipe");
	refuses(pair[0], socket_check_connected, FAILURE_REQUEST, "a Unix socket");
	refuses(socket(AF_NETLINK, SOCK_RAW, 0), socket_check_connected, FAILURE_REQUEST,
		"a netlink socket");
	refuses(socket(AF_INET, SOCK_DGRAM, 0), socket_check_connected, FAILURE_REQUEST,
		"a UDP socket");
	refuses(socket(AF_INET6, SOCK_DGRAM, 0), socket_check_listening, FAILURE_REQUEST,
		"a UDP socket");
}

static void tells_what_state_a_tcp_socket_is_in(void **state)
{
	int one, other;

	(void)state;
	refuses(socket(AF_INET, SOCK_STREAM, 0), socket_check_connected, FAILURE_REQUEST,
		"not connected");
	refuses(listening(AF_INET, 0), socket_check_connected, FAILURE_REQUEST, "listening");
	refuses(socket(AF_INET, SOCK_STREAM, 0), socket_check_listening, FAILURE_REQUEST,
		"not listening");
	engine_connect(&one, &other);
	refuses(other, socket_check_listening, FAILURE_REQUEST, "not listening");
	close(one);
	engine_connect(&one, &other);
	shutdown(one, SHUT_WR);
	refuses(one, socket_check_connected, FAILURE_REQUEST, "shut down for writing");
	close(other);
}

static void tells_mptcp(void **state)
{
	int fd = listening(AF_INET, IPPROTO_MPTCP);

	(void)state;
	if (fd < 0)
		skip_because("this kernel has no MPTCP");
	refuses(fd, socket_check_listening, FAILURE_UNSUPPORTED, "MPTCP");
}

static void accepts_what_fits(void **state)
{
	struct failure failure = {.class = FAILURE_NONE};
	int one, other, fd;

	(void)state;
	engine_connect(&one, &other);
	assert_int_equal(socket_check_connected(one, &failure), 0);
	assert_int_equal(socket_check_connected(other, &failure), 0);
	/* The peer's FIN is for the handshake to find. */
	shutdown(other, SHUT_WR);
	assert_int_equal(socket_check_connected(one, &failure), 0);
	close(one);
	close(other);
	fd = listening(AF_INET, 0);
	assert_int_equal(socket_check_listening(fd, &failure), 0);
	close(fd);
	fd = listening(AF_INET6, 0);
	if (fd >= 0)
		assert_int_equal(socket_check_listening(fd, &failure), 0);
	close(fd);
	assert_int_equal(failure.class, FAILURE_NONE);
}

static void tells_an_upgraded_socket_from_an_attached_one(void **state)
{
	struct traffic_keys keys = {.version = CONFIG_TLS13, .cipher = CONFIG_AES_128_GCM};
	struct failure failure = {.class = FAILURE_NONE};
	char reason[256];
	int one, other;

	(void)state;
	engine_connect(&one, &other);
	if (offload_kernel_attach(one, reason, sizeof(reason)) < 0) {
		close(one);
		close(other);
		skip_because("%s", reason);
	}
	assert_int_equal(socket_check_connected(one, &failure), 0);
	assert_int_equal(offload_kernel_install(one, &keys, reason, sizeof(reason)), 0);
	refuses(one, socket_check_connected, FAILURE_REQUEST, "already upgraded");
	close(other);
}

static void closes_without_waiting_for_somebody_elses_linger(void **state)
{
	static char much[65536];
	const struct linger long_time = {.l_onoff = 1, .l_linger = 30};
	struct timespec start, end;
	int one, other;

	(void)state;
	engine_connect(&one, &other);
	setsockopt(one, SOL_SOCKET, SO_LINGER, &long_time, sizeof(long_time));
	while (send(one, much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	clock_gettime(CLOCK_MONOTONIC, &start);
	socket_close(one);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(end.tv_sec - start.tv_sec < 5);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tells_what_is_no_tcp_socket),
	    cmocka_unit_test(tells_what_state_a_tcp_socket_is_in),
	    cmocka_unit_test(tells_mptcp),
	    cmocka_unit_test(accepts_what_fits),
	    cmocka_unit_test(tells_an_upgraded_socket_from_an_attached_one),
	    cmocka_unit_test(closes_without_waiting_for_somebody_elses_linger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
