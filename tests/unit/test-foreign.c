// SPDX-License-Identifier: LGPL-2.1-or-later
/* No stranger's descriptor holds up the process that closes it or accepts on it. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "foreign.h"

static int64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int listening_socket(struct sockaddr_in *ret_address)
{
	socklen_t size = sizeof(*ret_address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->sin_family = AF_INET;
	ret_address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)ret_address, sizeof(*ret_address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &size), 0);
	return fd;
}

static void a_socket_is_told_from_what_is_none(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), pipe_ends[2];

	(void)state;
	assert_true(foreign_is_socket(fd));
	assert_int_equal(pipe(pipe_ends), 0);
	assert_false(foreign_is_socket(pipe_ends[0]));
	assert_false(foreign_is_socket(-1));
	close(fd);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

/* A last close() with unsent data and SO_LINGER waits for the peer, O_NONBLOCK or not. */
/* A lasting watchdog goes on ticking for a while, and interrupts whatever waits. */
static void connect_to(int fd, const struct sockaddr_in *address)
{
	sigset_t ticks, before;

	sigemptyset(&ticks);
	sigaddset(&ticks, SIGALRM);
	sigprocmask(SIG_BLOCK, &ticks, &before);
	assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof(*address)), 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void a_lingering_close_does_not_wait(void **state)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 3600};
	struct sockaddr_in address;
	int listening = listening_socket(&address), fd = socket(AF_INET, SOCK_STREAM, 0), peer;
	char block[65536] = {0};
	int64_t before;

	(void)state;
	connect_to(fd, &address);
	peer = accept(listening, NULL, NULL);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	before = milliseconds();
	foreign_close(fd);
	assert_true(milliseconds() - before < 1000);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	close(peer);
	close(listening);
}

static void a_lingering_socket_in_a_queue_does_not_wait(void **state)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 3600};
	struct sockaddr_in address;
	int listening = listening_socket(&address), ends[2], peers[8];
	char block[65536] = {0};
	int64_t before;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	for (int i = 0; i < 8; i++) {
		union {
			char space[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control = {0};
		struct iovec vector = {.iov_base = block, .iov_len = 1};
		struct msghdr header = {.msg_iov = &vector,
					.msg_iovlen = 1,
					.msg_control = control.space,
					.msg_controllen = sizeof(control.space)};
		struct cmsghdr *part = CMSG_FIRSTHDR(&header);
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		connect_to(fd, &address);
		peers[i] = accept(listening, NULL, NULL);
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
		while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
			;
		part->cmsg_level = SOL_SOCKET;
		part->cmsg_type = SCM_RIGHTS;
		part->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(part), &fd, sizeof(fd));
		assert_int_equal(sendmsg(ends[0], &header, 0), 1);
		close(fd); /* not the last: the queue holds it */
	}
	close(ends[0]);
	before = milliseconds();
	foreign_close(ends[1]);
	assert_true(milliseconds() - before < 1000);
	for (int i = 0; i < 8; i++)
		close(peers[i]);
	close(listening);
}

static void many_files_are_all_closed(void **state)
{
	int fds[200], last;

	(void)state;
	for (int i = 0; i < 200; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	for (int i = 0; i < 200; i++)
		foreign_close(fds[i]);
	last = 0;
	for (int i = 0; i < 200 && last < 200; i++) {
		usleep(10000);
		for (last = 0; last < 200 && fcntl(fds[last], F_GETFD) < 0; last++)
			;
	}
	assert_int_equal(last, 200);
	assert_false(foreign_is_stuck());
	foreign_blame(7);
	assert_false(foreign_is_blamed(7));
}

/* A close() that waits as that of a FUSE file does, for as long as this is held. */
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool holding;
static int held_from;

int close(int fd)
{
	if (holding && fd >= held_from) {
		pthread_mutex_lock(&held);
		pthread_mutex_unlock(&held);
	}
	return (int)syscall(SYS_close, fd);
}

static void many_files_that_are_held_up_are_closed_in_the_end(void **state)
{
	enum { MANY = 600 };
	int fds[MANY], last = 0;

	(void)state;
	for (int i = 0; i < MANY; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	held_from = fds[0];
	pthread_mutex_lock(&held);
	holding = true;
	for (int i = 0; i < MANY; i++)
		foreign_close(fds[i]);
	assert_true(foreign_is_stuck());
	foreign_blame(7);
	assert_true(foreign_is_blamed(7));
	assert_false(foreign_is_blamed(8));
	holding = false;
	pthread_mutex_unlock(&held);
	for (int i = 0; i < 500 && last < MANY; i++) {
		usleep(10000);
		for (last = 0; last < MANY && fcntl(fds[last], F_GETFD) < 0; last++)
			;
	}
	assert_int_equal(last, MANY);
	assert_false(foreign_is_blamed(7));
}

static void an_accept_does_not_wait_and_takes_who_is_there(void **state)
{
	struct sockaddr_in address;
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	int listening = listening_socket(&address), fd = socket(AF_INET, SOCK_STREAM, 0), got;

	(void)state;
	assert_int_equal(foreign_accept(listening, (struct sockaddr *)&peer, &size), -EAGAIN);
	connect_to(fd, &address);
	got = foreign_accept(listening, (struct sockaddr *)&peer, &size);
	assert_true(got >= 0);
	assert_int_equal(fcntl(got, F_GETFD), FD_CLOEXEC);
	assert_int_equal(peer.ss_family, AF_INET);
	close(got);
	close(fd);
	/* A pipe: poll() and accept() disagree on what it is. */
	assert_true(foreign_accept(STDIN_FILENO, NULL, NULL) < 0);
	close(listening);
}

static bool timer_runs(void)
{
	struct itimerval timer;

	assert_int_equal(getitimer(ITIMER_REAL, &timer), 0);
	return timer.it_value.tv_sec || timer.it_value.tv_usec;
}

/* Only where it lasts: a socket that is closed starts it, and the second tick without another ends it. */
static void a_lasting_watchdog_ends_when_there_is_nothing_to_guard(void **state)
{
	(void)state;
	assert_int_equal(foreign_start(true), 0);
	for (int again = 0; again < 3; again++) {
		bool ran = false;

		/* A machine that pauses this process sees it end in between. */
		for (int i = 0; i < 100; i++) {
			foreign_close(socket(AF_UNIX, SOCK_STREAM, 0));
			ran = ran || timer_runs();
		}
		assert_true(ran);
		for (int i = 0; i < 500 && timer_runs(); i++)
			usleep(10000);
		assert_false(timer_runs());
	}
	a_lingering_close_does_not_wait(state);
	assert_int_equal(foreign_start(false), 0);
	foreign_close(socket(AF_UNIX, SOCK_STREAM, 0));
	assert_false(timer_runs());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_socket_is_told_from_what_is_none),
	    cmocka_unit_test(a_lingering_close_does_not_wait),
	    cmocka_unit_test(a_lingering_socket_in_a_queue_does_not_wait),
	    cmocka_unit_test(many_files_are_all_closed),
	    cmocka_unit_test(many_files_that_are_held_up_are_closed_in_the_end),
	    cmocka_unit_test(an_accept_does_not_wait_and_takes_who_is_there),
	    cmocka_unit_test(a_lasting_watchdog_ends_when_there_is_nothing_to_guard),
	};

	if (foreign_start(false) < 0 || cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return foreign_start(true) < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
