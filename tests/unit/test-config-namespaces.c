// SPDX-License-Identifier: LGPL-2.1-or-later
/* In which network namespaces the kernel's consumers are served: the keys of [kernel] for that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"

static char path[] = "/tmp/test-config-namespaces-XXXXXX";

static int path_make(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 || close(fd) < 0;
}

static int path_remove(void **state)
{
	(void)state;
	return unlink(path);
}

/* A configuration whose [kernel] has these lines. */
static int read_lines(const char *lines, struct config **ret_config, struct problem *problem)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "[daemon]\nuser = nobody\n[profile p]\nrole = client\n[kernel]\nnfs = p\n%s",
		lines);
	assert_int_equal(fclose(file), 0);
	return config_read(path, ret_config, problem);
}

static void expect_refusal(const char *lines, const char *words)
{
	struct problem problem = {""};
	struct config *config = NULL;

	assert_int_equal(read_lines(lines, &config, &problem), -1);
	if (!strstr(problem.text, words))
		fail_msg("\"%s\" does not say \"%s\"", problem.text, words);
	assert_non_null(strstr(problem.text, ":7: "));
}

static void none_are_named_by_default(void **state)
{
	struct problem problem = {""};
	struct config *config;

	(void)state;
	assert_int_equal(read_lines("", &config, &problem), 0);
	assert_int_equal(config->kernel.namespace_count, 0);
	assert_false(config->kernel.namespaces_all);
	config_free(config);
}

static void names_and_paths_in_their_order(void **state)
{
	struct problem problem = {""};
	struct config *config;

	(void)state;
	assert_int_equal(read_lines("namespace = blue\nnamespace = /run/docker/netns/1\n"
				    "namespaces = all\n",
				    &config, &problem),
			 0);
	assert_int_equal(config->kernel.namespace_count, 2);
	assert_string_equal(config->kernel.namespaces[0], "blue");
	assert_string_equal(config->kernel.namespaces[1], "/run/docker/netns/1");
	assert_true(config->kernel.namespaces_all);
	config_free(config);
	assert_int_equal(read_lines("namespaces = named\n", &config, &problem), 0);
	assert_false(config->kernel.namespaces_all);
	config_free(config);
}

static void what_names_nothing_is_refused(void **state)
{
	(void)state;
	expect_refusal("namespace =\n", "namespace");
	expect_refusal("namespace = netns/blue\n", "\"netns/blue\"");
	expect_refusal("namespace = ..\n", "\"..\"");
	expect_refusal("namespaces = some\n", "\"some\": it is \"all\"");
}

static void the_same_twice_is_refused(void **state)
{
	struct problem problem = {""};
	struct config *config = NULL;

	(void)state;
	assert_int_equal(read_lines("namespace = blue\nnamespace = blue\n", &config, &problem), -1);
	assert_non_null(strstr(problem.text, "\"blue\" is there already"));
}

static void no_more_than_256_are_named(void **state)
{
	char lines[300 * 24] = "";
	struct problem problem = {""};
	struct config *config = NULL;

	(void)state;
	for (int i = 0; i < 256; i++)
		sprintf(lines + strlen(lines), "namespace = n%d\n", i);
	assert_int_equal(read_lines(lines, &config, &problem), 0);
	assert_int_equal(config->kernel.namespace_count, 256);
	config_free(config);
	strcat(lines, "namespace = more\n");
	assert_int_equal(read_lines(lines, &config, &problem), -1);
	assert_non_null(strstr(problem.text, "more than 256 namespaces"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(none_are_named_by_default),
	    cmocka_unit_test(names_and_paths_in_their_order),
	    cmocka_unit_test(what_names_nothing_is_refused),
	    cmocka_unit_test(the_same_twice_is_refused),
	    cmocka_unit_test(no_more_than_256_are_named),
	};

	return cmocka_run_group_tests(tests, path_make, path_remove);
}
