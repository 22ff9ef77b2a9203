// SPDX-License-Identifier: LGPL-2.1-or-later
/* The first problem stays; the nearest known word is near. */
#include "problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config-words.h"

static void keeps_the_first_problem(void **state)
{
	struct problem problem = {};

	(void)state;
	assert_int_equal(problem_set(&problem, "line %d", 1), -1);
	assert_int_equal(problem_set(&problem, "line %d", 2), -1);
	assert_string_equal(problem.text, "line 1");
}

static void cuts_a_long_problem_off(void **state)
{
	struct problem problem = {};
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	problem_set(&problem, "%s", text);
	assert_int_equal(strlen(problem.text), sizeof(problem.text) - 1);
}

static void finds_the_word_that_was_meant(void **state)
{
	static const char *const words[] = {"certificate", "private-key", "client-certificates",
					    "trust", "alpn"};

	(void)state;
	assert_string_equal(config_nearest("certifcate", words, 5), "certificate");
	assert_string_equal(config_nearest("Certificate", words, 5), "certificate");
	assert_string_equal(config_nearest("privatekey", words, 5), "private-key");
	assert_string_equal(config_nearest("rtust", words, 5), "trust");
	assert_string_equal(config_nearest("cert", words, 5), "certificate");
	assert_string_equal(config_nearest("client-certificate", words, 5), "client-certificates");
	assert_null(config_nearest("x", words, 5));
	assert_null(config_nearest("", words, 5));
	assert_null(config_nearest("bananas", words, 5));
	assert_null(config_nearest("trust", words, 0));
}

static void survives_words_of_any_length(void **state)
{
	static const char *const words[] = {"certificate"};
	char text[300];

	(void)state;
	for (size_t length = 0; length < sizeof(text); length++) {
		memset(text, 'c', length);
		text[length] = '\0';
		config_nearest(text, words, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keeps_the_first_problem),
	    cmocka_unit_test(cuts_a_long_problem_off),
	    cmocka_unit_test(finds_the_word_that_was_meant),
	    cmocka_unit_test(survives_words_of_any_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
