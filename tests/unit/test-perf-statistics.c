// SPDX-License-Identifier: LGPL-2.1-or-later
// Percentiles by the nearest rank, medians and spread of runs.
/* links: tools/perf/statistics.o */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/statistics.h"

static struct samples hundred(void)
{
	struct samples samples = {0};

	/* 37 has no factor in common with 100: all from 1 to 100, out of order. */
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(samples_add(&samples, (i * 37 % 100) + 1), 0);
	samples_sort(&samples);
	return samples;
}

static void a_percentile_is_a_sample_of_its_rank(void **state)
{
	struct samples samples = hundred();

	(void)state;
	assert_true(samples_percentile(&samples, 0.5) == 50);
	assert_true(samples_percentile(&samples, 0.9) == 90);
	assert_true(samples_percentile(&samples, 0.99) == 99);
	assert_true(samples_percentile(&samples, 0.999) == 100);
	assert_true(samples_percentile(&samples, 0.001) == 1);
	samples_done(&samples);
}

static void one_sample_is_every_percentile_and_none_is_nothing(void **state)
{
	struct samples samples = {0};

	(void)state;
	assert_true(samples_percentile(&samples, 0.5) == 0);
	samples_add(&samples, 7);
	for (unsigned i = 0; i < PERCENTILE_COUNT; i++)
		assert_true(samples_percentile(&samples, percentile_parts[i]) == 7);
	samples_done(&samples);
}

static void joined_samples_leave_nothing_behind(void **state)
{
	struct samples all = {0}, part = hundred();

	(void)state;
	samples_add(&all, 1000);
	assert_int_equal(samples_join(&all, &part), 0);
	assert_int_equal(all.count, 101);
	assert_int_equal(part.count, 0);
	assert_null(part.values);
	samples_sort(&all);
	assert_true(samples_percentile(&all, 1) == 1000);
	samples_done(&all);
}

static void a_median_is_the_middle_or_between_the_middle_two(void **state)
{
	struct spread odd = spread_of((double[]){9, 1, 5}, 3);
	struct spread even = spread_of((double[]){4, 1, 3, 2}, 4);

	(void)state;
	assert_true(odd.median == 5 && odd.lowest == 1 && odd.highest == 9);
	assert_true(even.median == 2.5 && even.lowest == 1 && even.highest == 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_percentile_is_a_sample_of_its_rank),
	    cmocka_unit_test(one_sample_is_every_percentile_and_none_is_nothing),
	    cmocka_unit_test(joined_samples_leave_nothing_behind),
	    cmocka_unit_test(a_median_is_the_middle_or_between_the_middle_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
