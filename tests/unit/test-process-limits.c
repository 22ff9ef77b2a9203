// SPDX-License-Identifier: LGPL-2.1-or-later
/* Open files: there is room for all that the configuration allows at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "process-limits.h"

static void counts_what_each_request_may_hold(void **state)
{
	struct config config = {.handshakes_total = 100, .clients_total = 10};
	const rlim_t without = limits_files_needed(&config);
	rlim_t few;

	(void)state;
	config.kernel.requests_total = 1000;
	/* Without [kernel] there are none. */
	assert_int_equal(limits_files_needed(&config), without);
	config.kernel.line = 1;
	few = limits_files_needed(&config);
	/* The socket, and the keys or the certificate. */
	assert_in_range(few - without, 2 * 1000, SIZE_MAX);
	config.kernel.requests_total = 1001;
	assert_int_equal(limits_files_needed(&config), few + 2);
	config.kernel.requests_total = UINT32_MAX;
	assert_true(limits_files_needed(&config) > few);
	config.handshakes_total++;
	config.kernel.requests_total = 1000;
	assert_int_equal(limits_files_needed(&config), few + 6);
}

/* In a process of its own: a limit that was lowered stays so without privileges. */
static void raises_the_limit_as_far_as_it_may(void **state)
{
	const struct config config = {.handshakes_total = 1};
	const rlim_t needed = limits_files_needed(&config);
	struct rlimit limit;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_in_range(limit.rlim_max, 64, SIZE_MAX);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		limit.rlim_cur = 64;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			_exit(2);
		limits_raise_files(&config);
		_exit(getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
		      (limit.rlim_cur < needed && limit.rlim_cur != limit.rlim_max));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_what_each_request_may_hold),
	    cmocka_unit_test(raises_the_limit_as_far_as_it_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
