// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/tickets.o */
/* Tickets on their way back to the daemon: whole, a few, and never at the connection's cost. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "internal.h"

static struct tickets tickets;
static int daemon_end;

static int setup(void **state)
{
	int ends[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0)
		return -1;
	tickets = (struct tickets){.fd = ends[0]};
	daemon_end = ends[1];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tickets_done(&tickets);
	if (daemon_end >= 0)
		close(daemon_end);
	return 0;
}

static void send_one(size_t body, size_t piece)
{
	static uint8_t bytes[40000];
	const uint8_t header[] = {4, (uint8_t)(body >> 16), (uint8_t)(body >> 8), (uint8_t)body};

	for (size_t i = 0; i < body; i++)
		bytes[i] = (uint8_t)i;
	tickets_begin(&tickets, header, sizeof(header), body);
	for (size_t at = 0; at < body; at += piece)
		tickets_add(&tickets, bytes + at, body - at < piece ? body - at : piece);
	tickets_end(&tickets);
}

static ssize_t receive_one(void)
{
	static uint8_t bytes[40000];
	ssize_t size = recv(daemon_end, bytes, sizeof(bytes), MSG_DONTWAIT);

	for (ssize_t i = 4; i < size; i++)
		assert_int_equal(bytes[i], (uint8_t)(i - 4));
	if (size > 0)
		assert_int_equal(bytes[0], 4);
	return size;
}

static void a_ticket_arrives_whole_however_it_came(void **state)
{
	(void)state;
	send_one(300, 1);
	assert_int_equal(receive_one(), 304);
	send_one(301, 300);
	assert_int_equal(receive_one(), 305);
	send_one(16380, 5000);
	assert_int_equal(receive_one(), 16384);
}

static void a_ticket_too_large_is_set_aside(void **state)
{
	(void)state;
	send_one(16381, 1000);
	assert_int_equal(receive_one(), -1);
	send_one(20, 20);
	assert_int_equal(receive_one(), 24);
}

static void after_four_the_way_is_closed(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		send_one(10, 10);
	for (int i = 0; i < 4; i++)
		assert_int_equal(receive_one(), 14);
	assert_int_equal(receive_one(), 0);
	assert_int_equal(tickets.fd, -1);
}

static void a_daemon_that_waits_no_more_does_no_harm(void **state)
{
	(void)state;
	close(daemon_end);
	daemon_end = -1;
	send_one(10, 10);
	assert_int_equal(tickets.fd, -1);
	send_one(10, 10);
}

static void one_that_is_not_awaited_is_not_copied(void **state)
{
	(void)state;
	tickets_done(&tickets);
	send_one(10, 10);
	assert_null(tickets.message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_ticket_arrives_whole_however_it_came, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_ticket_too_large_is_set_aside, setup, teardown),
	    cmocka_unit_test_setup_teardown(after_four_the_way_is_closed, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_daemon_that_waits_no_more_does_no_harm, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(one_that_is_not_awaited_is_not_copied, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
