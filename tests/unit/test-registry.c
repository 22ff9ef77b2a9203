// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/message.o */
/* A listening lasts as long as its program's connection, and no longer. */
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "foreign.h"
#include "log.h"
#include "registry.h"

static struct registry registry;
static struct counters *counters;

static int setup(void **state)
{
	(void)state;
	log_set_level(CONFIG_LOG_ERROR);
	counters = counters_new();
	registry_init(&registry, counters);
	return counters ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	registry_done(&registry);
	counters_free(counters);
	return 0;
}

static int listening_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(listen(fd, 1), 0); /* the kernel chooses a port */
	return fd;
}

/* Registers one; *ret_program is the program's end. */
static int add(uid_t uid, uint64_t id, int listening_fd, int *ret_program)
{
	struct caller caller = {.uid = uid};
	struct request request = {.operation = REQUEST_LISTEN, .id = id};
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	*ret_program = ends[1];
	return registry_add(&registry, &caller, &request, listening_fd, ends[0], 4, 8);
}

static void said(int program, const char *operation, const char *key, const char *value)
{
	static struct message message;
	char wrong[256];

	assert_true(message_receive(program, &message) > 0);
	assert_int_equal(message_parse(&message, wrong, sizeof(wrong)), 0);
	assert_string_equal(message.operation, operation);
	assert_string_equal(message_get(&message, key, 0), value);
	message_done(&message);
}

static void look(void)
{
	struct pollfd polled[16];
	unsigned count = registry.count;

	registry_poll(&registry, polled);
	poll(polled, count, 0);
	registry_polled(&registry, polled, count);
}

static void a_program_is_told_and_its_listening_is_found(void **state)
{
	const struct registration *registration;
	int program;

	(void)state;
	assert_int_equal(add(7, 42, listening_socket(), &program), 0);
	said(program, "listening", "id", "42");
	registration = registry_after(&registry, 0);
	assert_non_null(registration);
	assert_int_equal(registration->caller.uid, 7);
	assert_null(registry_after(&registry, registration->number));
	assert_int_equal(counters_get(counters, COUNTER_LISTENINGS), 1);
	close(program);
}

static void it_ends_with_the_programs_connection_and_no_other(void **state)
{
	int programs[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(add(7, (uint64_t)i + 1, listening_socket(), &programs[i]), 0);
	look();
	assert_int_equal(registry.count, 3);
	assert_int_equal(send(programs[0], "x", 1, 0), 1); /* words are for the workers */
	look();
	assert_int_equal(registry.count, 3);
	close(programs[1]);
	look();
	assert_int_equal(registry.count, 2);
	assert_int_equal(registry_after(&registry, 0)->request.id, 1);
	assert_int_equal(registry_after(&registry, 1)->request.id, 3);
	assert_int_equal(counters_get(counters, COUNTER_CLIENTS), 2);
	close(programs[0]);
	close(programs[2]);
	look();
	assert_int_equal(registry.count, 0);
	assert_int_equal(counters_get(counters, COUNTER_LISTENINGS), 0);
}

static void beyond_the_bound_a_program_is_told_busy(void **state)
{
	int programs[5];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(add(7, 1, listening_socket(), &programs[i]), 0);
	assert_int_equal(add(7, 5, listening_socket(), &programs[4]), -1);
	said(programs[4], "reply", "class", "busy");
	for (int i = 0; i < 5; i++)
		close(programs[i]);
	look();
	assert_int_equal(add(7, 1, listening_socket(), &programs[0]), 0);
	close(programs[0]);
}

static void what_is_no_listening_socket_is_not_registered(void **state)
{
	int program;

	(void)state;
	assert_int_equal(add(7, 1, socket(AF_INET, SOCK_STREAM, 0), &program), -1);
	close(program);
	assert_int_equal(add(7, 1, socket(AF_INET, SOCK_DGRAM, 0), &program), -1);
	close(program);
	assert_int_equal(add(7, 1, dup(0), &program), -1);
	close(program);
	assert_int_equal(registry.count, 0);
}

static void a_program_that_left_already_is_not_registered(void **state)
{
	struct caller caller = {.uid = 1};
	struct request request = {.id = 1};
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	close(ends[1]);
	assert_int_equal(
	    registry_add(&registry, &caller, &request, listening_socket(), ends[0], 4, 8), -1);
	assert_int_equal(registry.count, 0);
	assert_int_equal(counters_get(counters, COUNTER_CLIENTS), 0);
}

static void who_watches_stands_beside_who_listens(void **state)
{
	struct caller caller = {.uid = 7};
	struct request request = {.operation = REQUEST_TRACE, .id = 5};
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	assert_int_equal(registry_add(&registry, &caller, &request, -1, ends[0], 4, 8), 0);
	said(ends[1], "tracing", "id", "5");
	assert_int_equal(registry.count, 1);
	assert_int_equal(counters_get(counters, COUNTER_LISTENINGS), 0);
	assert_int_equal(counters_get(counters, COUNTER_CLIENTS), 1);
	registry_done(&registry);
	assert_int_equal(counters_get(counters, COUNTER_LISTENINGS), 0);
	assert_int_equal(counters_get(counters, COUNTER_CLIENTS), 0);
	close(ends[1]);
}

static void at_the_end_every_program_sees_it(void **state)
{
	char byte;
	int program;

	(void)state;
	assert_int_equal(add(7, 42, listening_socket(), &program), 0);
	said(program, "listening", "id", "42");
	registry_done(&registry);
	assert_int_equal(recv(program, &byte, 1, MSG_DONTWAIT), 0);
	close(program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_program_is_told_and_its_listening_is_found, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(it_ends_with_the_programs_connection_and_no_other,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(beyond_the_bound_a_program_is_told_busy, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_listening_socket_is_not_registered, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_program_that_left_already_is_not_registered, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(who_watches_stands_beside_who_listens, setup, teardown),
	    cmocka_unit_test_setup_teardown(at_the_end_every_program_sees_it, setup, teardown),
	};

	if (foreign_start(false) < 0) /* what the guards' alarm is for */
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
