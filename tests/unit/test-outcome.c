// SPDX-License-Identifier: LGPL-2.1-or-later
// The end of a handshake as data: the first failure wins, what it owns is freed.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handshake-protocol.h"
#include "outcome.h"

static void begins_untouched_and_empty(void **state)
{
	struct outcome outcome;

	(void)state;
	memset(&outcome, 0xff, sizeof(outcome));
	outcome_init(&outcome);
	assert_int_equal(outcome.state, OUTCOME_UNTOUCHED);
	assert_int_equal(outcome.failure.class, FAILURE_NONE);
	assert_int_equal(outcome.relay_fd, -1);
	assert_int_equal(outcome.relay_state_fd, -1);
	assert_false(outcome.identity.present);
	outcome_done(&outcome);
}

static void keeps_the_first_failure(void **state)
{
	struct outcome outcome;

	(void)state;
	outcome_init(&outcome);
	outcome_fail(&outcome, FAILURE_TIMEOUT, true, "after %d milliseconds", 20);
	outcome_fail(&outcome, FAILURE_INTERNAL, false, "and then this");
	assert_int_equal(outcome.failure.class, FAILURE_TIMEOUT);
	assert_true(outcome.failure.retry);
	assert_string_equal(outcome.failure.sentence, "after 20 milliseconds");
	assert_int_equal(outcome.state, OUTCOME_UNTOUCHED);
	failure_set(&outcome.failure, FAILURE_REQUEST, false, "nor this");
	assert_string_equal(outcome.failure.sentence, "after 20 milliseconds");
	outcome_done(&outcome);
}

static void bounds_a_sentence(void **state)
{
	struct failure failure = {.class = FAILURE_NONE};
	char much[2000];

	(void)state;
	memset(much, 'x', sizeof(much) - 1);
	much[sizeof(much) - 1] = '\0';
	failure_set(&failure, FAILURE_REQUEST, false, "%s", much);
	assert_int_equal(strlen(failure.sentence), sizeof(failure.sentence) - 1);
}

static void closes_what_nobody_took(void **state)
{
	struct outcome outcome;
	int one = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int other = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	outcome_init(&outcome);
	outcome.relay_fd = one;
	outcome.relay_state_fd = other;
	outcome.identity.chain = strdup("PEM");
	outcome_done(&outcome);
	assert_int_equal(fcntl(one, F_GETFD), -1);
	assert_int_equal(fcntl(other, F_GETFD), -1);
	outcome_done(&outcome);
}

static void has_a_word_for_each_class_and_state(void **state)
{
	(void)state;
	for (int class = FAILURE_NONE; class <= FAILURE_INTERNAL; class ++)
		assert_true(strlen(failure_class_word((enum failure_class) class)) > 3);
	assert_string_equal(failure_class_word(FAILURE_REQUEST), HANDSHAKE_CLASS_REQUEST);
	assert_string_equal(failure_class_word(FAILURE_INTERNAL), HANDSHAKE_CLASS_INTERNAL);
	assert_string_equal(failure_class_word((enum failure_class)99), HANDSHAKE_CLASS_INTERNAL);
	assert_string_equal(outcome_state_word(OUTCOME_UNTOUCHED), "untouched");
	assert_string_equal(outcome_state_word(OUTCOME_ESTABLISHED), "established");
	assert_string_equal(outcome_state_word(OUTCOME_POISONED), "poisoned");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(begins_untouched_and_empty),
	    cmocka_unit_test(keeps_the_first_failure),
	    cmocka_unit_test(bounds_a_sentence),
	    cmocka_unit_test(closes_what_nobody_took),
	    cmocka_unit_test(has_a_word_for_each_class_and_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
