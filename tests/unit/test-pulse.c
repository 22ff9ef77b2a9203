// SPDX-License-Identifier: LGPL-2.1-or-later
/* Processes that are idle, busy or stopped by a signal are not taken for held up; the one that is needs a socket's
 * lock, which a test of the whole daemon holds. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pulse.h"

static pid_t child_start(bool busy)
{
	pid_t pid = fork();

	if (pid == 0)
		while (true)
			if (!busy)
				pause();
	return pid;
}

static void looks_are_apart(void **state)
{
	struct pulse pulse = {0};
	int64_t next;

	(void)state;
	assert_false(pulse_has_stopped(&pulse, getpid(), 1000, &next));
	assert_int_equal(next, 1000 + PULSE_MS);
	assert_false(pulse_has_stopped(&pulse, getpid(), 2000, &next));
	assert_int_equal(next, 1000 + PULSE_MS);
	assert_false(pulse_has_stopped(&pulse, getpid(), next, &next));
	assert_int_equal(next, 1000 + 2 * PULSE_MS);
}

static void expect_alive(pid_t pid)
{
	struct pulse pulse = {0};
	int64_t now = 1;

	for (int i = 0; i < 5; i++)
		assert_false(pulse_has_stopped(&pulse, pid, now, &now));
}

static void idle_busy_stopped_and_gone_are_not_held_up(void **state)
{
	pid_t idle = child_start(false), busy = child_start(true);
	int status;

	(void)state;
	expect_alive(idle);
	expect_alive(busy);
	kill(idle, SIGSTOP);
	assert_int_equal(waitpid(idle, &status, WUNTRACED), idle);
	expect_alive(idle);
	kill(busy, SIGKILL);
	/* Not waited for yet, and then gone. */
	expect_alive(busy);
	assert_int_equal(waitpid(busy, &status, 0), busy);
	expect_alive(busy);
	kill(idle, SIGKILL);
	waitpid(idle, &status, 0);
}

static void only_so_many_are_given_up_at_once(void **state)
{
	pid_t children[PULSE_HELD_MAX + 1];
	int status;

	(void)state;
	/* Not waited for, they are still there. */
	for (unsigned i = 0; i <= PULSE_HELD_MAX; i++) {
		children[i] = child_start(false);
		assert_int_equal(pulse_give_up(children[i]), i < PULSE_HELD_MAX);
	}
	for (unsigned i = 0; i <= PULSE_HELD_MAX; i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	children[0] = child_start(false);
	assert_true(pulse_give_up(children[0]));
	waitpid(children[0], &status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(looks_are_apart),
	    cmocka_unit_test(idle_busy_stopped_and_gone_are_not_held_up),
	    cmocka_unit_test(only_so_many_are_given_up_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
