// SPDX-License-Identifier: LGPL-2.1-or-later
// Calls on stacks of their own: each goes on where it stopped, and a pool has an end.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fiber.h"

struct count {
	int from, to;
	int now;
};

/* Keeps its place and its numbers while others run. */
static void counts(void *context)
{
	struct count *count = context;
	volatile int kept[64];

	for (int i = 0; i < 64; i++)
		kept[i] = count->from;
	for (int i = count->from; i < count->to; i++) {
		count->now = i;
		assert_non_null(fiber_current());
		fiber_suspend();
		assert_int_equal(kept[i % 64], count->from);
	}
	count->now = -1;
}

static void go_on_where_they_stopped(void **state)
{
	struct fibers *fibers = fibers_new(8);
	struct count counters[8];
	struct fiber *fiber[8];

	(void)state;
	for (int i = 0; i < 8; i++) {
		counters[i] = (struct count){.from = 100 * i, .to = 100 * i + 10 + i};
		fiber[i] = fiber_take(fibers);
		assert_non_null(fiber[i]);
		assert_int_equal(fiber_number(fiber[i]), i);
		fiber_start(fiber[i], counts, &counters[i]);
		assert_null(fiber_current());
		assert_false(fiber_ended(fiber[i]));
		assert_int_equal(counters[i].now, 100 * i);
	}
	for (int step = 1; step <= 17; step++)
		for (int i = 7; i >= 0; i--) {
			if (fiber_ended(fiber[i]))
				continue;
			fiber_resume(fiber[i]);
			assert_int_equal(fiber_ended(fiber[i]), step == 10 + i);
			assert_int_equal(counters[i].now, step == 10 + i ? -1 : 100 * i + step);
		}
	for (int i = 0; i < 8; i++) {
		assert_true(fiber_ended(fiber[i]));
		fiber_give_back(fibers, fiber[i]);
	}
	fibers_free(fibers);
}

static void ends_at_once(void *context)
{
	++*(int *)context;
}

static void are_used_again_and_no_more_than_the_pool_has(void **state)
{
	struct fibers *fibers = fibers_new(2);
	struct fiber *one = fiber_take(fibers), *two = fiber_take(fibers);
	int runs = 0;

	(void)state;
	assert_non_null(one);
	assert_non_null(two);
	assert_null(fiber_take(fibers));
	for (int i = 0; i < 10000; i++) {
		fiber_start(two, ends_at_once, &runs);
		assert_true(fiber_ended(two));
		fiber_give_back(fibers, two);
		assert_ptr_equal(fiber_take(fibers), two);
	}
	assert_int_equal(runs, 10000);
	fiber_give_back(fibers, one);
	fiber_give_back(fibers, two);
	fibers_free(fibers);
}

#ifndef SANITIZED
static int falls(int depth)
{
	volatile char frame[4096];

	memset((char *)frame, depth, sizeof(frame));
	return depth == 0 ? 0 : falls(depth - 1) + frame[0];
}

static void runs_deep(void *context)
{
	int *depth = context;

	*depth = falls(*depth);
}

static void have_a_guard_and_not_their_neighbours_memory(void **state)
{
	int fits = FIBER_STACK_SIZE / 4096 / 2, status;
	struct fibers *fibers = fibers_new(3);
	struct fiber *fiber = NULL;
	pid_t pid;

	(void)state;
	for (int i = 0; i < 3; i++)
		fiber = fiber_take(fibers);
	fiber_start(fiber, runs_deep, &fits);
	assert_true(fiber_ended(fiber));
	pid = fork();
	if (pid == 0) {
		int too_deep = FIBER_STACK_SIZE / 4096 + 1;

		signal(SIGSEGV, SIG_DFL);
		fiber_start(fiber, runs_deep, &too_deep);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	fibers_free(fibers);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(go_on_where_they_stopped),
	    cmocka_unit_test(are_used_again_and_no_more_than_the_pool_has),
#ifndef SANITIZED
	    cmocka_unit_test(have_a_guard_and_not_their_neighbours_memory),
#endif
	};

	return cmocka_run_group_tests_name("fiber", tests, NULL, NULL);
}
