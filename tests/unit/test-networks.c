// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which network namespaces are joined and let go of. The namespaces and the upcall are stood in for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "networks.h"

struct upcall {
	int pipe[2];
	bool attends;
};

static int alive;           /* objects */
static int attending;       /* of them */
static int joins, refusing; /* how often, and with which errno */

static int upcall_make(struct upcall **ret_upcall)
{
	struct upcall *upcall = calloc(1, sizeof(*upcall));

	assert_non_null(upcall);
	assert_int_equal(pipe(upcall->pipe), 0);
	upcall->attends = true;
	alive++;
	attending++;
	*ret_upcall = upcall;
	return 0;
}

int upcall_new(struct upcall **ret_upcall, struct problem *problem)
{
	(void)problem;
	return upcall_make(ret_upcall);
}

void upcall_free(struct upcall *upcall)
{
	if (!upcall)
		return;
	alive--;
	attending -= upcall->attends;
	close(upcall->pipe[0]);
	close(upcall->pipe[1]);
	free(upcall);
}

int upcall_attend(struct upcall *upcall, bool on)
{
	attending += (int)on - (int)upcall->attends;
	upcall->attends = on;
	return 0;
}

int upcall_fd(const struct upcall *upcall)
{
	return upcall->pipe[0];
}

bool upcall_listen(struct upcall *upcall)
{
	(void)upcall;
	return false;
}

int upcall_accept(struct upcall *upcall, struct upcall_request *ret_request)
{
	(void)upcall;
	(void)ret_request;
	return 0;
}

int upcall_done(struct upcall *upcall, int fd, int status, int32_t identity)
{
	(void)upcall;
	(void)fd;
	(void)status;
	(void)identity;
	return 0;
}

void network_path(const char *name, char *ret_path)
{
	snprintf(ret_path, PATH_MAX, "%s", name);
}

int network_identify(const char *path, struct network_identity *ret_identity)
{
	*ret_identity = (struct network_identity){1, (ino_t)path[0]};
	return 0;
}

int network_join(const char *path, struct network_identity *ret_identity,
		 struct upcall **ret_upcall, struct problem *problem)
{
	joins++;
	if (refusing)
		return problem_set(problem, "refused"), -refusing;
	network_identify(path, ret_identity);
	return upcall_make(ret_upcall);
}

static char *names[] = {"blue", "green"};
static const struct config_kernel kernel = {.namespaces = names, .namespace_count = 2};

static struct networks *networks_start(void)
{
	struct networks *networks = NULL;
	struct problem problem = {""};

	joins = 0;
	assert_int_equal(networks_new(&networks, &problem), 0);
	networks_configure(networks, &kernel);
	return networks;
}

static void without_a_configuration_nobody_is_served_or_kept(void **state)
{
	struct networks *networks = networks_start();
	struct network *blue;

	(void)state;
	assert_int_equal(attending, 3);
	blue = TAILQ_NEXT(TAILQ_FIRST(networks_list(networks)), entry);
	blue->numbers.under_way = 1;
	networks_configure(networks, NULL);
	assert_int_equal(attending, 0);
	/* What is under way there is still answered. */
	networks_tend(networks, 0);
	assert_int_equal(alive, 2);
	blue->numbers.under_way = 0;
	networks_tend(networks, 0);
	assert_int_equal(alive, 1);
	networks_configure(networks, &kernel);
	assert_int_equal(attending, 3);
	networks_free(networks);
	assert_int_equal(alive, 0);
}

static int count(struct networks *networks)
{
	return (int)networks_count(networks) - 1; /* without the daemon's own */
}

static void what_is_lacking_for_a_moment_is_tried_again(void **state)
{
	static const int errors[] = {EMFILE, ENFILE, ENOMEM, EAGAIN, ENOBUFS, EIO};

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct networks *networks;
		int64_t due;

		refusing = errors[i];
		networks = networks_start();
		assert_int_equal(count(networks), 0);
		due = networks_tend(networks, 0);
		assert_true(due < INT64_MAX && joins == 2);
		/* Still not … */
		assert_true(networks_tend(networks, due) >= due && joins == 4);
		due = networks_tend(networks, 0);
		assert_true(due < INT64_MAX);
		/* … and then. */
		refusing = 0;
		assert_true(networks_tend(networks, due) == INT64_MAX && joins == 6);
		assert_int_equal(count(networks), 2);
		networks_free(networks);
	}
}

static void what_may_not_be_joined_is_tried_once(void **state)
{
	struct networks *networks;

	(void)state;
	refusing = EPERM;
	networks = networks_start();
	refusing = 0;
	assert_true(networks_tend(networks, INT64_MAX - 1) == INT64_MAX && joins == 2);
	networks_configure(networks, &kernel);
	assert_int_equal(count(networks), 2);
	networks_free(networks);
}

static void at_the_end_all_stay_for_the_next_agent(void **state)
{
	struct networks *networks = networks_start();

	(void)state;
	networks_stop(networks);
	assert_true(networks_tend(networks, INT64_MAX - 1) == INT64_MAX);
	assert_int_equal(attending, 3);
	networks_free(networks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_configuration_nobody_is_served_or_kept),
	    cmocka_unit_test(what_is_lacking_for_a_moment_is_tried_again),
	    cmocka_unit_test(what_may_not_be_joined_is_tried_once),
	    cmocka_unit_test(at_the_end_all_stay_for_the_next_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
