// SPDX-License-Identifier: LGPL-2.1-or-later
/* Reading the command line's values. */
/* links: tools/options.o */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "options.h"

static void assert_address(const char *text, const char *host, const char *port)
{
	struct options_address address;
	struct options_problem problem = {""};

	if (options_read_address(text, &address, &problem) < 0)
		fail_msg("\"%s\": %s", text, problem.text);
	assert_string_equal(address.host, host);
	assert_string_equal(address.port, port);
}

static void assert_no_address(const char *text)
{
	struct options_address address;
	struct options_problem problem = {""};

	assert_int_equal(options_read_address(text, &address, &problem), -1);
	assert_non_null(strstr(problem.text, "\""));
}

static void takes_names_and_addresses_of_both_families(void **state)
{
	(void)state;
	assert_address("localhost:443", "localhost", "443");
	assert_address("192.0.2.1:0", "192.0.2.1", "0");
	assert_address("[2001:db8::1]:8443", "2001:db8::1", "8443");
	assert_address("[fe80::1%eth0]:1", "fe80::1%eth0", "1");
	assert_address(":80", "", "80");
	assert_address("*:80", "", "80");
	assert_address("a.example:65535", "a.example", "65535");
	assert_address("a.example:00443", "a.example", "443");
}

static void refuses_what_is_no_address(void **state)
{
	static const char *const wrong[] = {
	    "",
	    ":",
	    "localhost",
	    "localhost:",
	    "localhost:65536",
	    "localhost:-1",
	    "localhost:+1",
	    "localhost: 1",
	    "localhost:http",
	    "localhost:1x",
	    "::1:443",
	    "2001:db8::1",
	    "[::1]",
	    "[::1]443",
	    "[]:1",
	    "[localhost]:1",
	    "[::1:443",
	    "]a[:1",
	    "localhost:18446744073709551617",
	};
	char name[400];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_no_address(wrong[i]);
	memset(name, 'a', sizeof(name));
	strcpy(name + 300, ":443");
	assert_no_address(name);
}

static void numbers_keep_their_bounds(void **state)
{
	struct options_problem problem;
	uint64_t number;

	(void)state;
	assert_int_equal(options_read_number("5", 5, 7, &number, &problem), 0);
	assert_int_equal(number, 5);
	assert_int_equal(
	    options_read_number("18446744073709551615", 0, UINT64_MAX, &number, &problem), 0);
	assert_true(number == UINT64_MAX);
	assert_int_equal(options_read_number("4", 5, 7, &number, &problem), -1);
	assert_int_equal(options_read_number("8", 5, 7, &number, &problem), -1);
	assert_int_equal(options_read_number("", 0, 7, &number, &problem), -1);
	assert_int_equal(options_read_number("-1", 0, 7, &number, &problem), -1);
	assert_int_equal(options_read_number(" 6", 0, 7, &number, &problem), -1);
	assert_int_equal(
	    options_read_number("18446744073709551616", 0, UINT64_MAX, &number, &problem), -1);
	assert_non_null(strstr(problem.text, "18446744073709551616"));
}

static void times_have_units(void **state)
{
	struct options_problem problem;
	uint64_t ms;

	(void)state;
	assert_int_equal(options_read_time("250", 1, 1, 1000, &ms, &problem), 0);
	assert_int_equal(ms, 250);
	assert_int_equal(options_read_time("2", 1000, 1, 10000, &ms, &problem), 0);
	assert_int_equal(ms, 2000);
	assert_int_equal(options_read_time("250ms", 1000, 1, 10000, &ms, &problem), 0);
	assert_int_equal(ms, 250);
	assert_int_equal(options_read_time("3min", 1000, 1, 1000000, &ms, &problem), 0);
	assert_int_equal(ms, 180000);
	assert_int_equal(options_read_time("1h", 1, 1, 4000000, &ms, &problem), 0);
	assert_int_equal(ms, 3600000);
	assert_int_equal(options_read_time("0", 1, 1, 1000, &ms, &problem), -1);
	assert_int_equal(options_read_time("s", 1, 1, 1000, &ms, &problem), -1);
	assert_int_equal(options_read_time("1d", 1, 1, 1000, &ms, &problem), -1);
	assert_int_equal(options_read_time("1.5s", 1, 1, 1000, &ms, &problem), -1);
	assert_int_equal(options_read_time("5124095576030432h", 1, 1, UINT64_MAX, &ms, &problem),
			 -1);
}

static void record_paths_are_two_words(void **state)
{
	struct options_problem problem;
	enum handshake_records records = HANDSHAKE_RECORDS_DEFAULT;

	(void)state;
	assert_int_equal(options_read_records("kernel", &records, &problem), 0);
	assert_int_equal(records, HANDSHAKE_RECORDS_KERNEL);
	assert_int_equal(options_read_records("relay", &records, &problem), 0);
	assert_int_equal(records, HANDSHAKE_RECORDS_RELAY);
	assert_int_equal(options_read_records("auto", &records, &problem), -1);
	assert_non_null(strstr(problem.text, "\"auto\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_names_and_addresses_of_both_families),
	    cmocka_unit_test(refuses_what_is_no_address),
	    cmocka_unit_test(numbers_keep_their_bounds),
	    cmocka_unit_test(times_have_units),
	    cmocka_unit_test(record_paths_are_two_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
