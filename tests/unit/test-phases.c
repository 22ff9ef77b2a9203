// SPDX-License-Identifier: LGPL-2.1-or-later
// A handshake's time is in one phase at each moment, and behind others it is in the queue.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <time.h>

#include "phases.h"

static struct event_base *base;
static struct phases first, second;

static int setup(void **state)
{
	(void)state;
	base = event_base_new();
	return base ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	event_base_free(base);
	return 0;
}

static uint64_t clock_microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void pass(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static void on_first(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what, (void)context;
	phases_wake(&first, base);
	pass(20);
	phases_enter(&first, PHASE_PEER);
}

static void on_second(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what, (void)context;
	phases_wake(&second, base);
	pass(10);
	phases_enter(&second, PHASE_PEER);
}

/* Both become ready at once; the loop calls them in this order. */
static void turn_run(void)
{
	struct event *one = event_new(base, -1, 0, on_first, NULL);
	struct event *two = event_new(base, -1, 0, on_second, NULL);

	event_active(one, EV_READ, 0);
	event_active(two, EV_READ, 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_free(one);
	event_free(two);
}

static void phases_add_up_to_the_whole(void **state)
{
	uint64_t began = clock_microseconds(), sum, queued;

	(void)state;
	phases_start(&first);
	phases_enter(&first, PHASE_PEER);
	queued = clock_microseconds() - began;
	pass(3);
	for (enum phase phase = PHASE_PEER + 1; phase < PHASE_COUNT; phase++) {
		phases_enter(&first, phase);
		pass(3);
	}
	sum = phases_end(&first);
	assert_true(sum <= clock_microseconds() - began && sum >= 4 * 3000);
	for (enum phase phase = PHASE_PEER; phase < PHASE_COUNT; phase++)
		assert_true(first.spent[phase] >= 3000);
	assert_true(first.spent[PHASE_QUEUE] <= queued);
}

static void who_comes_later_in_a_turn_was_in_the_queue(void **state)
{
	uint64_t queued;

	(void)state;
	phases_start(&first);
	phases_start(&second);
	phases_enter(&first, PHASE_PEER);
	phases_enter(&second, PHASE_PEER);
	queued = first.spent[PHASE_QUEUE];
	pass(5);
	turn_run();
	phases_end(&first);
	phases_end(&second);
	/* Nobody was before it. */
	assert_true(first.spent[PHASE_QUEUE] == queued);
	assert_true(first.spent[PHASE_COMPUTATION] >= 20000);
	assert_true(second.spent[PHASE_PEER] >= 5000);
	assert_true(second.spent[PHASE_QUEUE] >= 20000);
	assert_true(second.spent[PHASE_COMPUTATION] >= 10000);
}

static void the_next_turn_begins_anew(void **state)
{
	(void)state;
	turn_run();
	phases_start(&second);
	phases_enter(&second, PHASE_PEER);
	pass(30);
	turn_run();
	phases_end(&second);
	/* Were it the same turn, all of it would be the queue's. */
	assert_true(second.spent[PHASE_PEER] >= 30000);
	assert_true(second.spent[PHASE_QUEUE] >= 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(phases_add_up_to_the_whole, setup, teardown),
	    cmocka_unit_test_setup_teardown(who_comes_later_in_a_turn_was_in_the_queue, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(the_next_turn_begins_anew, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
