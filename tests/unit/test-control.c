// SPDX-License-Identifier: LGPL-2.1-or-later
/* The supervisor believes no worker: what does not belong here is told, and its descriptors are closed. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control.h"
#include "foreign.h"

static int ends[2];

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0 || foreign_start(false) < 0 ? -1
											    : 0;
}

static int teardown(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static struct control listen_request(void)
{
	struct control control;

	memset(&control, 0, sizeof(control));
	control.kind = CONTROL_LISTEN;
	control.request.operation = REQUEST_LISTEN;
	return control;
}

/* What arrives of it: as control_receive(). */
static int passed(const struct control *control)
{
	struct control received;
	int fds[CONTROL_FDS], r;

	assert_int_equal(control_send(ends[0], control, (const int[]){0, 0}), 0);
	r = control_receive(ends[1], &received, fds);
	for (int i = 0; i < CONTROL_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return r;
}

static void texts_without_an_end_are_refused(void **state)
{
	struct control control = listen_request();

	(void)state;
	assert_int_equal(passed(&control), 1);
	memset(control.request.profile, 'a', sizeof(control.request.profile));
	assert_int_equal(passed(&control), -EPROTO);
	control = listen_request();
	memset(control.request.peer_name, 'a', sizeof(control.request.peer_name));
	assert_int_equal(passed(&control), -EPROTO);
	control = listen_request();
	control.request.alpn_count = REQUEST_ALPN_MAX;
	assert_int_equal(passed(&control), 1);
	memset(control.request.alpn[REQUEST_ALPN_MAX - 1], 'a', REQUEST_ALPN_SIZE);
	assert_int_equal(passed(&control), -EPROTO);
}

static void counts_beyond_their_arrays_are_refused(void **state)
{
	struct control control = listen_request();

	(void)state;
	control.request.alpn_count = REQUEST_ALPN_MAX + 1;
	assert_int_equal(passed(&control), -EPROTO);
	control = listen_request();
	control.request.psk_identity.size = sizeof(control.request.psk_identity.bytes) + 1;
	assert_int_equal(passed(&control), -EPROTO);
	control = listen_request();
	control.caller.group_count = sizeof(control.caller.groups) / sizeof(gid_t) + 1;
	assert_int_equal(passed(&control), -EPROTO);
}

/* Sends bytes with count duplicates of fd. */
static void send_with(const void *bytes, size_t size, int fd, size_t count)
{
	union {
		char space[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} rights = {0};
	struct iovec vector = {(void *)bytes, size};
	struct msghdr header = {
	    .msg_iov = &vector,
	    .msg_iovlen = 1,
	    .msg_control = rights.space,
	    .msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *part = CMSG_FIRSTHDR(&header);

	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (size_t i = 0; i < count; i++)
		memcpy(CMSG_DATA(part) + i * sizeof(int), &fd, sizeof(fd));
	assert_int_equal(sendmsg(ends[0], &header, 0), (ssize_t)size);
}

static void other_sizes_and_numbers_of_descriptors_are_refused(void **state)
{
	const struct control ready = {.kind = CONTROL_READY}, unknown = {.kind = 99};
	const struct control listening = listen_request();
	struct control received;
	int fds[CONTROL_FDS], next = dup(0);

	(void)state;
	close(next);
	send_with(&ready, offsetof(struct control, caller), 0, 1);
	assert_int_equal(control_receive(ends[1], &received, fds), -EPROTO);
	send_with(&ready, 1, 0, 2);
	assert_int_equal(control_receive(ends[1], &received, fds), -EPROTO);
	send_with(&listening, sizeof(listening), 0, 3);
	assert_int_equal(control_receive(ends[1], &received, fds), -EPROTO);
	send_with(&unknown, sizeof(unknown), 0, 5);
	assert_int_equal(control_receive(ends[1], &received, fds), -EPROTO);
	assert_int_equal(fds[0], -1);
	assert_int_equal(fds[1], -1);
	for (int i = 0; i < 200 && fcntl(next, F_GETFD) >= 0; i++)
		usleep(10000); /* a thread closes what is no socket */
	assert_int_equal(fcntl(next, F_GETFD), -1);
}

static void descriptors_without_room_are_no_wrong_packet(void **state)
{
	const struct control listening = listen_request();
	struct control received;
	struct rlimit limit, low;
	int fds[CONTROL_FDS], next = dup(0);

	(void)state;
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	for (int room = 0; room < CONTROL_FDS; room++) {
		assert_int_equal(control_send(ends[0], &listening, (const int[]){ends[0], ends[0]}),
				 0);
		low.rlim_cur = (rlim_t)(next + room);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
		assert_int_equal(control_receive(ends[1], &received, fds), -EMFILE);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		assert_int_equal(fds[0], -1);
		assert_int_equal(fds[1], -1);
		assert_int_equal(fcntl(next, F_GETFD), -1);
	}
}

static void a_lingering_socket_too_many_does_not_wait(void **state)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 3600};
	const struct control ready = {.kind = CONTROL_READY};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int listening = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), peer;
	static char block[65536];
	struct control received;
	struct timespec begun, ended;
	int fds[CONTROL_FDS];

	(void)state;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &size), 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	peer = accept(listening, NULL, NULL);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	send_with(&ready, offsetof(struct control, caller), fd, 8);
	close(fd);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	assert_int_equal(control_receive(ends[1], &received, fds), -EPROTO);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	assert_true(ended.tv_sec - begun.tv_sec < 5);
	close(peer);
	close(listening);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(texts_without_an_end_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(counts_beyond_their_arrays_are_refused, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(other_sizes_and_numbers_of_descriptors_are_refused,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(descriptors_without_room_are_no_wrong_packet, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_lingering_socket_too_many_does_not_wait, setup,
					    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
