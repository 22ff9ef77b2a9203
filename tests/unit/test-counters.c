// SPDX-License-Identifier: LGPL-2.1-or-later
/* Bounds over processes are exact, and a process that dies gives back what it held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "counters.h"

static int setup(void **state)
{
	*state = counters_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	counters_free(*state);
	return 0;
}

static void every_counter_has_a_word_of_its_own(void **state)
{
	(void)state;
	for (enum counter a = 0; a < COUNTERS; a++) {
		assert_non_null(counter_word(a));
		for (enum counter b = 0; b < a; b++)
			assert_string_not_equal(counter_word(a), counter_word(b));
	}
}

static void counts_are_shared_through_the_descriptor(void **state)
{
	struct counters *counters = *state, *other = counters_map(dup(counters_fd(counters)));

	assert_non_null(other);
	counters_add(counters, COUNTER_RELOADS, 2);
	counters_add(other, COUNTER_RELOADS, 1);
	assert_int_equal(counters_get(counters, COUNTER_RELOADS), 3);
	counters_free(other);
}

static void nobody_cuts_it_off(void **state)
{
	(void)state;
	assert_int_equal(ftruncate(counters_fd(*state), 0), -1);
	assert_int_equal(counters_get(*state, COUNTER_RELOADS), 0);
}

static void foreign_memory_is_not_mapped(void **state)
{
	char path[] = "/tmp/test-counters-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	unlink(path);
	assert_null(counters_map(fd));
	close(fd);
}

static void an_outcome_is_counted_by_what_it_is(void **state)
{
	struct counters *counters = *state;
	struct outcome outcome = {.state = OUTCOME_ESTABLISHED,
				  .version = "TLS1.3",
				  .transmit = "relay",
				  .microseconds = 50};

	counters_outcome(counters, &outcome);
	outcome.version = "TLS1.2";
	outcome.transmit = "kernel";
	counters_outcome(counters, &outcome);
	outcome.state = OUTCOME_POISONED;
	outcome.failure.class = FAILURE_ALERT;
	counters_outcome(counters, &outcome);
	outcome.failure.class = FAILURE_INTERNAL;
	counters_outcome(counters, &outcome);
	assert_int_equal(counters_get(counters, COUNTER_HANDSHAKES_ESTABLISHED), 2);
	assert_int_equal(counters_get(counters, COUNTER_HANDSHAKE_MICROSECONDS), 100);
	assert_int_equal(counters_get(counters, COUNTER_TLS13), 1);
	assert_int_equal(counters_get(counters, COUNTER_TLS12), 1);
	assert_int_equal(counters_get(counters, COUNTER_RELAY_RECORDS), 1);
	assert_int_equal(counters_get(counters, COUNTER_KERNEL_RECORDS), 1);
	assert_int_equal(counters_get(counters, COUNTER_HANDSHAKES_FAILED), 2);
	assert_int_equal(counters_get(counters, COUNTER_FAILED_ALERT), 1);
	assert_int_equal(counters_get(counters, COUNTER_FAILED_INTERNAL), 1);
}

static void a_place_beyond_the_users_bound_is_refused(void **state)
{
	struct counters *counters = *state;

	assert_true(counters_take_place(counters, PLACE_HANDSHAKE, 1000, 2, 10));
	assert_true(counters_take_place(counters, PLACE_HANDSHAKE, 1000, 2, 10));
	assert_false(counters_take_place(counters, PLACE_HANDSHAKE, 1000, 2, 10));
	assert_true(counters_take_place(counters, PLACE_HANDSHAKE, 1001, 2, 10));
	assert_true(counters_take_place(counters, PLACE_CLIENT, 1000, 2, 10));
	counters_give_place(counters, PLACE_HANDSHAKE, 1000);
	assert_true(counters_take_place(counters, PLACE_HANDSHAKE, 1000, 2, 10));
}

static void a_place_beyond_the_total_is_refused_and_costs_the_user_nothing(void **state)
{
	struct counters *counters = *state;

	for (uid_t uid = 0; uid < 3; uid++)
		assert_true(counters_take_place(counters, PLACE_RELAYED, uid, 2, 3));
	for (int i = 0; i < 5; i++)
		assert_false(counters_take_place(counters, PLACE_RELAYED, 3, 2, 3));
	counters_give_place(counters, PLACE_RELAYED, 0);
	assert_true(counters_take_place(counters, PLACE_RELAYED, 3, 2, 3));
}

static void what_is_relayed_leaves_less_to_expect(void **state)
{
	struct counters *counters = *state;

	assert_true(counters_take_place(counters, PLACE_RELAYED, 1, 3, 4));
	assert_true(counters_take_place(counters, PLACE_RELAY_EXPECTED, 1, 3, 4));
	assert_true(counters_take_place(counters, PLACE_RELAY_EXPECTED, 1, 3, 4));
	assert_false(counters_take_place(counters, PLACE_RELAY_EXPECTED, 1, 3, 4));
	assert_true(counters_take_place(counters, PLACE_RELAY_EXPECTED, 2, 3, 4));
	assert_false(counters_take_place(counters, PLACE_RELAY_EXPECTED, 3, 3, 4));
	counters_give_place(counters, PLACE_RELAY_EXPECTED, 2);
	assert_true(counters_take_place(counters, PLACE_RELAYED, 2, 3, 4));
	assert_false(counters_take_place(counters, PLACE_RELAY_EXPECTED, 3, 3, 4));
	assert_true(counters_take_place(counters, PLACE_RELAY_EXPECTED, 3, 0, 0));
}

/* What a relay does in a process of its own: how many of these places it gets. */
static pid_t inherit(struct counters *counters, pid_t holder, uid_t uid, int tries)
{
	pid_t pid = fork();
	int got = 0, status;

	if (pid == 0) {
		for (int i = 0; i < tries; i++)
			got += counters_inherit_relay(counters, holder, uid);
		_exit(got);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	return pid;
}

static void an_expected_place_becomes_the_relays_own(void **state)
{
	struct counters *counters = *state;

	assert_true(counters_take_place(counters, PLACE_RELAY_EXPECTED, 1, 1, 1));
	assert_false(counters_inherit_relay(counters, getpid(), 2)); /* another user's */
	assert_false(counters_inherit_relay(counters, 0, 1));
	pid_t relay = inherit(counters, getpid(), 1, 3);
	assert_false(counters_take_place(counters, PLACE_RELAYED, 1, 1, 1));
	counters_give_place(counters, PLACE_RELAY_EXPECTED, 1); /* it is gone from here */
	assert_false(counters_take_place(counters, PLACE_RELAYED, 1, 1, 1));
	counters_forget_process(counters, getpid());
	assert_false(counters_take_place(counters, PLACE_RELAYED, 1, 1, 1));
	counters_forget_process(counters, relay);
	assert_true(counters_take_place(counters, PLACE_RELAYED, 1, 1, 1));
	assert_false(counters_take_place(counters, PLACE_RELAYED, 1, 1, 1));
}

static void a_place_that_nobody_inherited_goes_with_its_worker(void **state)
{
	struct counters *counters = *state;
	pid_t worker = fork();

	if (worker == 0)
		_exit(!counters_take_place(counters, PLACE_RELAY_EXPECTED, 1, 1, 1));
	waitpid(worker, NULL, 0);
	assert_false(counters_take_place(counters, PLACE_RELAYED, 1, 1, 1));
	counters_forget_process(counters, worker);
	assert_false(counters_inherit_relay(counters, worker, 1));
	assert_true(counters_take_place(counters, PLACE_RELAYED, 1, 1, 1));
}

static void a_socket_is_one_processs_at_a_time(void **state)
{
	struct counters *counters = *state;
	pid_t worker = fork();

	if (worker == 0)
		_exit(!counters_claim_socket(counters, 77));
	waitpid(worker, NULL, 0);
	assert_false(counters_claim_socket(counters, 77));
	counters_release_socket(counters, 77); /* it is not ours */
	assert_false(counters_claim_socket(counters, 77));
	assert_true(counters_claim_socket(counters, 78));
	counters_forget_process(counters, worker);
	assert_true(counters_claim_socket(counters, 77));
	assert_false(counters_claim_socket(counters, 77));
	counters_release_socket(counters, 77);
	assert_true(counters_claim_socket(counters, 77));
}

/* Two generations of 256 workers, and whatever else there is. */
static void as_many_processes_as_can_be_configured_find_room(void **state)
{
	enum { MANY = 1100 };
	struct counters *counters = *state;
	int hold[2], served = 0, status;

	assert_int_equal(pipe(hold), 0);
	for (int i = 0; i < MANY; i++) {
		pid_t pid = fork();
		char none;

		assert_true(pid >= 0);
		if (pid > 0)
			continue;
		close(hold[1]);
		served = counters_take_place(counters, PLACE_HANDSHAKE, 7, 0, 0);
		if (read(hold[0], &none, 1) < 0)
			served = 0;
		_exit(served ? 0 : 1);
	}
	close(hold[0]);
	close(hold[1]);
	for (int i = 0; i < MANY; i++) {
		assert_true(wait(&status) > 0);
		served += status == 0;
	}
	assert_int_equal(served, MANY);
}

static void bounds_of_zero_bind_nobody(void **state)
{
	for (int i = 0; i < 5000; i++)
		assert_true(counters_take_place(*state, PLACE_CLIENT, 7, 0, 0));
}

static void more_users_than_can_be_told_apart_are_all_served(void **state)
{
	struct counters *counters = *state;

	for (uid_t uid = 0; uid < 20000; uid++) {
		assert_true(counters_take_place(counters, PLACE_CLIENT, uid, 1, 0));
		counters_give_place(counters, PLACE_CLIENT, uid);
	}
}

/* Takes and gives many times; keeps `kept` places and says how many it got. */
static int contend(struct counters *counters, int kept)
{
	int held = 0;

	for (int i = 0; i < 20000; i++)
		if (counters_take_place(counters, PLACE_HANDSHAKE, 5, 0, 10))
			counters_give_place(counters, PLACE_HANDSHAKE, 5);
	while (held < kept && counters_take_place(counters, PLACE_HANDSHAKE, 5, 0, 10))
		held++;
	return held;
}

static void two_processes_never_take_the_same_last_place(void **state)
{
	enum { PROCESSES = 4 };
	struct counters *counters = *state;
	int total = 0, status;

	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0)
			_exit(contend(counters, 4));
	for (int i = 0; i < PROCESSES; i++) {
		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status));
		total += WEXITSTATUS(status);
	}
	assert_int_equal(total, 10);
	assert_false(counters_take_place(counters, PLACE_HANDSHAKE, 6, 0, 10));
}

static void what_a_dead_process_held_is_given_back(void **state)
{
	struct counters *counters = *state;
	pid_t pid = fork();

	if (pid == 0) {
		for (uid_t uid = 0; uid < 8; uid++)
			counters_take_place(counters, PLACE_HANDSHAKE, uid, 1, 8);
		counters_add(counters, COUNTER_HANDSHAKES_UNDER_WAY, 8);
		counters_add(counters, COUNTER_CLIENTS, 3);
		counters_add(counters, COUNTER_HANDSHAKES_STARTED, 8);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	counters_add(counters, COUNTER_CLIENTS, 1);
	assert_false(counters_take_place(counters, PLACE_HANDSHAKE, 0, 1, 8));
	assert_int_equal(counters_get(counters, COUNTER_CLIENTS), 4);
	counters_forget_process(counters, pid);
	assert_int_equal(counters_get(counters, COUNTER_CLIENTS), 1);
	assert_int_equal(counters_get(counters, COUNTER_HANDSHAKES_UNDER_WAY), 0);
	assert_int_equal(counters_get(counters, COUNTER_HANDSHAKES_STARTED), 8);
	assert_int_equal(counters_get(counters, COUNTER_HANDSHAKES_FAILED), 8);
	for (uid_t uid = 0; uid < 8; uid++)
		assert_true(counters_take_place(counters, PLACE_HANDSHAKE, uid, 1, 8));
	assert_false(counters_take_place(counters, PLACE_HANDSHAKE, 9, 1, 8));
}

static void a_thousand_processes_one_after_the_other_find_room(void **state)
{
	struct counters *counters = *state;
	int status;

	for (int i = 0; i < 1000; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(!counters_take_place(counters, PLACE_CLIENT, 1, 1, 1));
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
		counters_forget_process(counters, pid);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_is_relayed_leaves_less_to_expect, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_expected_place_becomes_the_relays_own, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_place_that_nobody_inherited_goes_with_its_worker,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(a_socket_is_one_processs_at_a_time, setup, teardown),
	    cmocka_unit_test(every_counter_has_a_word_of_its_own),
	    cmocka_unit_test_setup_teardown(counts_are_shared_through_the_descriptor, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(nobody_cuts_it_off, setup, teardown),
	    cmocka_unit_test(foreign_memory_is_not_mapped),
	    cmocka_unit_test_setup_teardown(an_outcome_is_counted_by_what_it_is, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_place_beyond_the_users_bound_is_refused, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(
		a_place_beyond_the_total_is_refused_and_costs_the_user_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(as_many_processes_as_can_be_configured_find_room, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(bounds_of_zero_bind_nobody, setup, teardown),
	    cmocka_unit_test_setup_teardown(more_users_than_can_be_told_apart_are_all_served, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(two_processes_never_take_the_same_last_place, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_a_dead_process_held_is_given_back, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_thousand_processes_one_after_the_other_find_room,
					    setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
