// SPDX-License-Identifier: LGPL-2.1-or-later
// The size from which something pays is found by few questions.
/* links: tools/perf/crossover.o */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/crossover.h"

enum { LEAST = 1 << 10, MOST = 1 << 26 };

struct asked {
	uint64_t from; /* from here on it pays; 0: never */
	unsigned questions;
};

static bool pays(void *context, uint64_t size)
{
	struct asked *asked = context;

	assert_true(size >= LEAST && size <= MOST && (size & (size - 1)) == 0);
	asked->questions++;
	return asked->from && size >= asked->from;
}

static void every_crossover_is_found_by_few_questions(void **state)
{
	(void)state;
	for (uint64_t from = LEAST; from <= MOST; from *= 2) {
		struct asked asked = {.from = from};

		assert_true(crossover_find(LEAST, MOST, pays, &asked) == from);
		assert_true(asked.questions <= 6);
	}
}

static void between_two_sizes_it_is_the_larger(void **state)
{
	struct asked asked = {.from = 5000};

	(void)state;
	assert_true(crossover_find(LEAST, MOST, pays, &asked) == 8192);
}

static void what_never_pays_has_none_and_is_asked_once(void **state)
{
	struct asked asked = {.from = 0};

	(void)state;
	assert_true(crossover_find(LEAST, MOST, pays, &asked) == 0);
	assert_int_equal(asked.questions, 1);
}

static void one_size_is_a_range_too(void **state)
{
	struct asked asked = {.from = LEAST};

	(void)state;
	assert_true(crossover_find(LEAST, LEAST, pays, &asked) == LEAST);
	assert_int_equal(asked.questions, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_crossover_is_found_by_few_questions),
	    cmocka_unit_test(between_two_sizes_it_is_the_larger),
	    cmocka_unit_test(what_never_pays_has_none_and_is_asked_once),
	    cmocka_unit_test(one_size_is_a_range_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
