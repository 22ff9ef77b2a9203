// SPDX-License-Identifier: LGPL-2.1-or-later
// A drawing has every point where its value puts it, and no name can break it.
/* links: tools/markup.o tools/perf/plot.o tools/perf/statistics.o */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/plot.h"

static struct plot_panel panel;
static char *drawing;

static int setup(void **state)
{
	(void)state;
	panel = (struct plot_panel){.title = "a second", .x_label = "at once"};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(drawing);
	drawing = NULL;
	return 0;
}

static void draw(const char *title)
{
	size_t size;
	FILE *stream = open_memstream(&drawing, &size);

	assert_int_equal(plot_draw(stream, title, "below", &panel, 1), 0);
	fclose(stream);
}

static unsigned count(const char *what)
{
	unsigned found = 0;

	for (const char *at = drawing; (at = strstr(at, what)); at++)
		found++;
	return found;
}

static struct spread exactly(double value)
{
	return (struct spread){value, value, value};
}

/* The vertical place of the n-th point. */
static double place(unsigned n)
{
	const char *at = drawing;

	for (unsigned i = 0; i <= n; i++)
		at = strstr(at + 1, "class=\"dot\"");
	return strtod(strstr(at, "cy=\"") + 4, NULL);
}

static void points_of_one_name_are_one_line(void **state)
{
	(void)state;
	plot_add(&panel, "one", 1, exactly(10));
	plot_add(&panel, "two", 1, exactly(20));
	plot_add(&panel, "one", 16, exactly(30));
	assert_int_equal(panel.count, 2);
	assert_int_equal(panel.series[0].count, 2);
	draw("title");
	assert_int_equal(count("class=\"dot\""), 3);
	assert_int_equal(count("<g "), 2);
}

static void twice_the_value_is_twice_as_high(void **state)
{
	double ground;

	(void)state;
	plot_add(&panel, "one", 1, exactly(0));
	plot_add(&panel, "one", 2, exactly(50));
	plot_add(&panel, "one", 4, exactly(100));
	draw("title");
	ground = place(0);
	assert_true(ground - place(2) > 100);
	assert_true(ground - place(2) - 2 * (ground - place(1)) < 0.2);
	assert_true(2 * (ground - place(1)) - (ground - place(2)) < 0.2);
}

static void a_name_is_text_and_nothing_else(void **state)
{
	(void)state;
	plot_add(&panel, "<script>&", 1, exactly(1));
	draw("a < b\x1b");
	assert_null(strstr(drawing, "<script"));
	assert_non_null(strstr(drawing, "&lt;script&gt;&amp;"));
	assert_non_null(strstr(drawing, "a &lt; b?"));
	assert_null(strchr(drawing, '\x1b'));
}

static void one_point_and_nothing_above_zero_can_be_drawn(void **state)
{
	(void)state;
	plot_add(&panel, "one", 1024, exactly(0));
	draw("title");
	assert_null(strstr(drawing, "nan"));
	assert_null(strstr(drawing, "inf"));
	assert_non_null(strstr(drawing, ">1 Ki<"));
}

static void what_is_too_much_is_left_out(void **state)
{
	char name[16];

	(void)state;
	for (unsigned i = 0; i < PLOT_SERIES_MAX + 3; i++) {
		snprintf(name, sizeof(name), "%u", i);
		plot_add(&panel, name, 1, exactly(1));
	}
	for (unsigned i = 0; i < PLOT_POINTS_MAX + 3; i++)
		plot_add(&panel, "0", i + 2, exactly(1));
	assert_int_equal(panel.count, PLOT_SERIES_MAX);
	assert_int_equal(panel.series[0].count, PLOT_POINTS_MAX);
	draw("title");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(points_of_one_name_are_one_line, setup, teardown),
	    cmocka_unit_test_setup_teardown(twice_the_value_is_twice_as_high, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_name_is_text_and_nothing_else, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_point_and_nothing_above_zero_can_be_drawn, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_is_too_much_is_left_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
