// SPDX-License-Identifier: LGPL-2.1-or-later
/* What reaches the log is text, one line each, and nobody who does not read it stops the daemon. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"

static int saved, ends[2];

static int setup(void **state)
{
	(void)state;
	saved = dup(STDERR_FILENO);
	log_set_level(CONFIG_LOG_INFO);
	log_set_name("%s", "");
	return pipe(ends) < 0 || dup2(ends[1], STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
	(void)state;
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static const char *line_read(void)
{
	static char line[8192];
	ssize_t got;

	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	got = read(ends[0], line, sizeof(line) - 1);
	line[got > 0 ? got : 0] = '\0';
	return line;
}

static void a_line_names_its_process_and_weight(void **state)
{
	(void)state;
	log_set_name("worker %d", 2);
	log_error("no %s", "luck");
	assert_string_equal(line_read(), "handshaked worker 2: error: no luck\n");
	log_info("fine");
	assert_string_equal(line_read(), "handshaked worker 2: fine\n");
}

static void lines_below_the_level_are_left_out(void **state)
{
	(void)state;
	log_debug("detail");
	assert_string_equal(line_read(), "");
	log_set_level(CONFIG_LOG_ERROR);
	log_warning("hm");
	assert_string_equal(line_read(), "");
}

static void control_characters_and_broken_utf8_are_escaped(void **state)
{
	(void)state;
	log_info("a\nb\x1b[31m\x7f\xff\xc0\x80 \xc3\xa9 \xed\xa0\x80 \xc2\x9b");
	assert_string_equal(line_read(),
			    "handshaked: a\\x0ab\\x1b[31m\\x7f\\xff\\xc0\\x80 \xc3\xa9 "
			    "\\xed\\xa0\\x80 \\xc2\\x9b\n");
}

static void a_long_text_is_cut_and_still_one_line(void **state)
{
	char text[5000];
	const char *line;

	(void)state;
	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	line = line_read();
	assert_true(strlen(line) < 4096);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void a_reader_that_sleeps_stops_nobody_and_is_told_what_it_missed(void **state)
{
	char rest[65536];

	(void)state;
	for (int i = 0; i < 2000; i++)
		log_info("%0200d", i);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while (read(ends[0], rest, sizeof(rest)) > 0)
		;
	log_info("awake");
	assert_non_null(strstr(line_read(), "lines before this one could not be written\n"));
}

static void errno_survives(void **state)
{
	(void)state;
	errno = 77;
	log_info("x");
	assert_int_equal(errno, 77);
}

static void strangers_lines_are_bounded_per_second(void **state)
{
	struct log_rate rate = {0};
	int allowed = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		allowed += log_allowed(&rate);
	assert_in_range(allowed, 10, 30); /* a second may pass meanwhile */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_line_names_its_process_and_weight, setup, teardown),
	    cmocka_unit_test_setup_teardown(lines_below_the_level_are_left_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(control_characters_and_broken_utf8_are_escaped, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_long_text_is_cut_and_still_one_line, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_reader_that_sleeps_stops_nobody_and_is_told_what_it_missed, setup, teardown),
	    cmocka_unit_test_setup_teardown(errno_survives, setup, teardown),
	    cmocka_unit_test(strangers_lines_are_bounded_per_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
