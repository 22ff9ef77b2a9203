// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the kernel's consumers hear of an outcome: only ETIMEDOUT makes them try again. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "source-upcall.h"

static void consumers_try_again_where_that_may_help(void **state)
{
	static const struct {
		enum failure_class class;
		bool retry;
		int status;
	} cases[] = {
	    {FAILURE_TIMEOUT, true, ETIMEDOUT},
	    {FAILURE_BUSY, true, ETIMEDOUT},
	    {FAILURE_CANCELLED, true, ETIMEDOUT},
	    {FAILURE_CLOSED, true, ETIMEDOUT},
	    /* A server that restarts closes what it has accepted. */
	    {FAILURE_CLOSED, false, ETIMEDOUT},
	    {FAILURE_INTERNAL, true, ETIMEDOUT},
	    {FAILURE_INTERNAL, false, EIO},
	    {FAILURE_UNSUPPORTED, false, EOPNOTSUPP},
	    /* A reload has renamed the profile. */
	    {FAILURE_DENIED, true, ETIMEDOUT},
	    {FAILURE_DENIED, false, EACCES},
	    /* internal_error, and any other alert. */
	    {FAILURE_ALERT, true, ETIMEDOUT},
	    {FAILURE_ALERT, false, EACCES},
	    {FAILURE_VERIFICATION, false, EACCES},
	    {FAILURE_NEGOTIATION, false, EACCES},
	    {FAILURE_PROTOCOL, false, EACCES},
	};
	struct outcome outcome;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		outcome_init(&outcome);
		failure_set(&outcome.failure, cases[i].class, cases[i].retry, "A sentence");
		assert_int_equal(upcall_status(&outcome), cases[i].status);
	}
	outcome_init(&outcome);
	outcome.state = OUTCOME_ESTABLISHED;
	assert_int_equal(upcall_status(&outcome), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(consumers_try_again_where_that_may_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
