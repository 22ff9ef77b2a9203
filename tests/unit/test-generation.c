// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/message.o */
/* A worker that was taken over holds the supervisor up in nothing. The workers here are not the daemon's:
 * each says what its test wants. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control.h"
#include "foreign.h"
#include "generation.h"
#include "log.h"
#include "worker.h"

static void (*behaviour)(int control_fd);

/* ---- In place of the daemon's own ---- */

int worker_main(const struct worker_setup *setup)
{
	const struct control ready = {.kind = CONTROL_READY};

	if (control_send(setup->control_fd, &ready, NULL) < 0)
		return 1;
	behaviour(setup->control_fd);
	return 0;
}

unsigned worker_clients_per_user(const struct config *config)
{
	return config->clients_total;
}

int relays_socket(const struct relays *relays, unsigned worker)
{
	(void)relays, (void)worker;
	return -1;
}

void loaded_free(struct loaded *loaded)
{
	free(loaded->config);
	free(loaded);
}

/* ---- What a worker may do ---- */

static void waits(int control_fd)
{
	(void)control_fd;
	for (;;)
		pause();
}

/* Several threads of it, so that there is always something to hear. */
static void talks_for_ever(int control_fd)
{
	const struct control ready = {.kind = CONTROL_READY};
	struct pollfd polled = {.fd = control_fd, .events = POLLOUT};
	int r;

	if (fork() >= 0 && fork() >= 0)
		while ((r = control_send(control_fd, &ready, NULL)) == 0 || r == -EAGAIN)
			if (r == -EAGAIN)
				poll(&polled, 1, 10);
}

static void talks_nonsense(int control_fd)
{
	usleep(50000);
	send(control_fd, "nonsense", 8, MSG_NOSIGNAL);
	for (;;)
		pause();
}

/* Many such descriptors would leave the supervisor none. */
static void speaks_like_the_supervisor(int control_fd)
{
	const struct control signer = {.kind = CONTROL_SIGNER};

	usleep(50000);
	control_send(control_fd, &signer, &control_fd);
	for (;;)
		pause();
}

static void lies_about_who_watches(int control_fd)
{
	static struct control control = {.kind = CONTROL_TRACE};
	int ends[2];

	control.request.operation = REQUEST_TRACE;
	control.caller.uid = 4711;
	control.caller.group_count = 1;
	usleep(50000);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0)
		control_send(control_fd, &control, ends);
	for (;;)
		pause();
}

/* ---- The tests ---- */

static struct registry registry;

static struct generation *started(void (*does)(int control_fd), struct counters *counters)
{
	static struct unix_socket unix_socket = {.fd = -1};
	struct loaded *loaded = calloc(1, sizeof(*loaded));
	struct generation *generation;
	struct problem problem = {""};

	behaviour = does;
	loaded->config = calloc(1, sizeof(*loaded->config));
	loaded->config->workers = 2;
	loaded->config->clients_total = 8;
	generation = generation_new(loaded, 1);
	assert_non_null(generation);
	generation->unix_socket = &unix_socket;
	generation->counters = counters;
	if (generation_start(generation, &problem) < 0)
		fail_msg("%s", problem.text);
	registry_init(&registry, counters);
	return generation;
}

static void hear(struct generation *generation, int milliseconds)
{
	struct pollfd polled[2];

	generation_poll(generation, polled);
	poll(polled, 2, milliseconds);
	generation_polled(generation, polled, &registry, generation);
}

static void is_no_longer_than(int64_t begun, int64_t milliseconds)
{
	assert_true(now_ms() - begun < milliseconds);
}

static void a_worker_that_never_stops_talking_is_interrupted(void **state)
{
	struct generation *generation = started(talks_for_ever, *state);
	int64_t begun = now_ms();

	alarm(20);
	for (int i = 0; i < 20; i++)
		hear(generation, 100);
	is_no_longer_than(begun, 10000);
	assert_true(generation->workers[0].control >= 0);
	alarm(0);
	generation_free(generation);
}

static unsigned descriptors_open(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void both_are_ended(void (*does)(int control_fd), struct counters *counters)
{
	unsigned before = descriptors_open();
	struct generation *generation = started(does, counters);
	int64_t begun = now_ms();
	int status;

	for (int ended = 0; ended < 2;) {
		pid_t pid;

		is_no_longer_than(begun, 10000);
		hear(generation, 20);
		pid = waitpid(-1, &status, WNOHANG);
		if (pid <= 0)
			continue;
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_true(generation_died(generation, pid, status, &registry, generation));
		ended++;
	}
	assert_int_equal(counters_get(counters, COUNTER_WORKERS_DIED), 2);
	generation_free(generation);
	assert_int_equal(descriptors_open(), before);
}

static void a_worker_that_talks_nonsense_is_ended(void **state)
{
	both_are_ended(talks_nonsense, *state);
}

static void a_worker_that_speaks_like_the_supervisor_is_ended(void **state)
{
	both_are_ended(speaks_like_the_supervisor, *state);
}

static void who_watches_is_not_for_a_worker_to_say(void **state)
{
	struct generation *generation = started(lies_about_who_watches, *state);
	const struct registration *registration = NULL;
	int64_t begun = now_ms();

	while (registration == NULL) {
		is_no_longer_than(begun, 10000);
		hear(generation, 20);
		registration = registry_after(&registry, 0);
	}
	assert_int_equal(registration->caller.uid, geteuid());
	generation_free(generation);
	registry_done(&registry);
}

static void the_end_waits_for_nobody(void **state)
{
	struct generation *generation = started(waits, *state);
	int64_t begun = now_ms();

	generation_free(generation);
	is_no_longer_than(begun, 900);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static int setup(void **state)
{
	log_set_level(CONFIG_LOG_ERROR);
	*state = counters_new();
	return *state && foreign_start(false) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	counters_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_worker_that_never_stops_talking_is_interrupted, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_worker_that_talks_nonsense_is_ended, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_worker_that_speaks_like_the_supervisor_is_ended,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(who_watches_is_not_for_a_worker_to_say, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(the_end_waits_for_nobody, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
