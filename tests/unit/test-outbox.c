// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/message.o */
/* Packets arrive in their order, once, with their descriptors; each held place is given back once. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "outbox.h"

/* ---- Want of memory ---- */

static bool unwatchable; /* no event can be added */

int event_add(struct event *event, const struct timeval *timeout)
{
	int (*add)(struct event *, const struct timeval *);
	void *symbol = dlsym(RTLD_NEXT, "event_add");

	memcpy(&add, &symbol, sizeof(add));
	return unwatchable ? -1 : add(event, timeout);
}

static struct {
	struct event_base *base;
	struct outbox *outbox;
	int ends[2];
	int released, moved, error;
} fixture;

static void released(void *context)
{
	(void)context;
	fixture.released++;
}

static void moved(void *context, int error)
{
	(void)context;
	fixture.moved++;
	fixture.error = error;
}

static int setup_with(bool edge_triggered, unsigned patience)
{
	memset(&fixture, 0, sizeof(fixture));
	fixture.base = event_base_new();
	if (!fixture.base || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fixture.ends) < 0)
		return -1;
	fixture.outbox = outbox_new(fixture.base, fixture.ends[0], edge_triggered, patience,
				    released, moved, NULL);
	return fixture.outbox ? 0 : -1;
}

static int setup(void **state)
{
	(void)state;
	return setup_with(false, 0);
}

static int setup_edge(void **state)
{
	(void)state;
	return setup_with(true, 0);
}

static int setup_impatient(void **state)
{
	(void)state;
	return setup_with(false, 50);
}

static int teardown(void **state)
{
	(void)state;
	outbox_free(fixture.outbox);
	if (fixture.ends[0] >= 0)
		close(fixture.ends[0]);
	if (fixture.ends[1] >= 0)
		close(fixture.ends[1]);
	event_base_free(fixture.base);
	return 0;
}

/* One packet with a number and, if asked for, a descriptor. */
static int push(uint64_t number, bool with_fd, bool holds_place)
{
	static struct message_writer writer;
	char filler[8000];
	int fd = with_fd ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;

	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	message_begin(&writer, "reply");
	message_add_number(&writer, "id", number);
	message_add(&writer, "filler", filler);
	return outbox_push(fixture.outbox, &writer, &fd, 1, holds_place);
}

/* The number of the next packet, 0 if there is none. */
static uint64_t pull(size_t fds_expected)
{
	static struct message message;
	char wrong[256];
	uint64_t number;

	if (message_receive(fixture.ends[1], &message) <= 0)
		return 0;
	assert_int_equal(message.fd_count, fds_expected);
	assert_int_equal(message_parse(&message, wrong, sizeof(wrong)), 0);
	number = strtoull(message_get(&message, "id", 0), NULL, 10);
	message_done(&message);
	return number;
}

static void tells_of_a_program_that_reads_nothing(void **state)
{
	uint64_t number = 0;

	(void)state;
	while (outbox_waiting(fixture.outbox) == 0)
		assert_int_equal(push(++number, false, false), 0);
	event_base_loop(fixture.base, EVLOOP_ONCE);
	assert_int_equal(fixture.moved, 1);
	assert_int_equal(fixture.error, -ETIMEDOUT);
}

static void with_room_a_packet_leaves_at_once(void **state)
{
	(void)state;
	assert_int_equal(push(1, true, true), 0);
	assert_int_equal(outbox_waiting(fixture.outbox), 0);
	assert_int_equal(fixture.released, 1);
	assert_int_equal(pull(1), 1);
}

static void all_packets_arrive_in_their_order(void **state)
{
	enum { PACKETS = 200 };
	uint64_t expected = 1;

	(void)state;
	for (uint64_t i = 1; i <= PACKETS; i++)
		assert_int_equal(push(i, true, true), 0);
	assert_true(outbox_waiting(fixture.outbox) > 0);
	assert_true(fixture.released < PACKETS);
	while (expected <= PACKETS) {
		uint64_t got = pull(1);

		if (got) {
			assert_int_equal(got, expected);
			expected++;
		} else {
			assert_int_equal(event_base_loop(fixture.base, EVLOOP_ONCE), 0);
		}
	}
	event_base_loop(fixture.base, EVLOOP_NONBLOCK);
	assert_int_equal(outbox_waiting(fixture.outbox), 0);
	assert_int_equal(fixture.released, PACKETS);
	assert_true(fixture.moved > 0);
	assert_int_equal(fixture.error, 0);
}

static void what_waits_is_discarded_with_its_places_and_descriptors(void **state)
{
	int before = dup(0), after;

	(void)state;
	close(before);
	for (uint64_t i = 1; i <= 100; i++)
		assert_int_equal(push(i, true, true), 0);
	outbox_free(fixture.outbox);
	fixture.outbox = NULL;
	assert_int_equal(fixture.released, 100);
	while (pull(1))
		;
	after = dup(0);
	close(after);
	/* foreign_close() hands what is no socket to a thread. */
	for (int i = 0; i < 100 && after != before; i++) {
		usleep(10000);
		after = dup(0);
		close(after);
	}
	assert_int_equal(after, before);
}

static void a_broken_connection_is_told_once_and_its_place_given_back(void **state)
{
	(void)state;
	close(fixture.ends[1]);
	fixture.ends[1] = -1;
	assert_int_equal(push(1, true, true), -EPIPE);
	assert_int_equal(fixture.released, 1);
	assert_int_equal(outbox_waiting(fixture.outbox), 0);
}

static void a_connection_that_breaks_while_packets_wait_is_told(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 100; i++)
		assert_int_equal(push(i, false, true), 0);
	close(fixture.ends[1]);
	fixture.ends[1] = -1;
	event_base_loop(fixture.base, EVLOOP_ONCE);
	assert_true(fixture.error < 0);
}

/* A packet that nothing would ever send is refused, and nothing of it stays. */
static void without_memory_to_wait_a_packet_is_refused(void **state)
{
	int error = 0;

	(void)state;
	unwatchable = true;
	for (int i = 0; i < 1000 && error == 0; i++) {
		fixture.released = 0;
		error = push(1, true, true);
	}
	assert_int_equal(error, -ENOMEM);
	unwatchable = false;
	assert_int_equal(push(2, true, true), 0);
	assert_int_equal(outbox_waiting(fixture.outbox), 1);
	assert_int_equal(fixture.released, 1);
	assert_int_equal(fixture.moved, 0);
	/* Where it cannot go on waiting, the connection ends. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(push(3, true, true), 0);
	while (pull(1))
		;
	unwatchable = true;
	event_base_loop(fixture.base, EVLOOP_ONCE);
	unwatchable = false;
	assert_int_equal(fixture.moved, 1);
	assert_int_equal(fixture.error, -ENOMEM);
}

static void a_packet_that_is_too_large_is_refused_alone(void **state)
{
	static struct message_writer writer;
	const int none = -1;

	(void)state;
	message_begin(&writer, "reply");
	writer.overflow = true;
	assert_int_equal(outbox_push(fixture.outbox, &writer, &none, 1, true), -EMSGSIZE);
	assert_int_equal(fixture.released, 1);
	assert_int_equal(push(2, false, false), 0);
	assert_int_equal(pull(0), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(with_room_a_packet_leaves_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(tells_of_a_program_that_reads_nothing, setup_impatient,
					    teardown),
	    cmocka_unit_test_setup_teardown(all_packets_arrive_in_their_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(all_packets_arrive_in_their_order, setup_edge,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_waits_is_discarded_with_its_places_and_descriptors,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_broken_connection_is_told_once_and_its_place_given_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_that_breaks_while_packets_wait_is_told,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(without_memory_to_wait_a_packet_is_refused, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_packet_that_is_too_large_is_refused_alone, setup,
					    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
