// SPDX-License-Identifier: LGPL-2.1-or-later
/* Names and files of network namespaces, and the numbers that the status shows for each. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "network-tally.h"
#include "network.h"
#include "skipping.h"

static void a_name_lies_in_run_netns_and_a_path_anywhere(void **state)
{
	char path[PATH_MAX];

	(void)state;
	network_path("blue", path);
	assert_string_equal(path, "/run/netns/blue");
	network_path("/var/run/docker/netns/1", path);
	assert_string_equal(path, "/var/run/docker/netns/1");
}

static void a_namespace_is_told_from_other_files(void **state)
{
	struct network_identity one, two;

	(void)state;
	assert_int_equal(network_identify(NETWORK_OWN, &one), 0);
	assert_int_equal(network_identify("/proc/thread-self/ns/net", &two), 0);
	assert_true(one.device == two.device && one.inode == two.inode);
	assert_int_equal(network_identify("/proc/self/ns/uts", &two), 0);
	assert_true(one.inode != two.inode);
	assert_int_equal(network_identify("/etc/passwd", &one), -ENOTTY);
	assert_int_equal(network_identify("/nonexistent", &one), -ENOENT);
}

static void what_is_no_namespace_is_not_joined(void **state)
{
	struct network_identity identity;
	struct problem problem = {""};
	struct upcall *upcall;

	(void)state;
	assert_int_equal(network_join("/etc/passwd", &identity, &upcall, &problem), -ENOTTY);
	assert_non_null(strstr(problem.text, "\"/etc/passwd\" is no network namespace"));
	problem.text[0] = '\0';
	assert_int_equal(network_join("/nonexistent", &identity, &upcall, &problem), -ENOENT);
	assert_non_null(strstr(problem.text, "\"/nonexistent\" cannot be opened"));
	if (geteuid() != 0)
		skip_because("needs root");
	problem.text[0] = '\0';
	assert_int_equal(network_join("/proc/self/ns/uts", &identity, &upcall, &problem), -EINVAL);
	assert_non_null(strstr(problem.text, "of another kind"));
}

static void lines_are_given_shown_and_taken_back(void **state)
{
	struct network_tally *tally = network_tally_new();
	const struct network_numbers numbers = {4, 2, 1, 1};
	struct network_numbers read;
	char name[NETWORK_NAME_SIZE], longest[NETWORK_NAME_SIZE * 2];
	int line;

	(void)state;
	assert_non_null(tally);
	assert_false(network_tally_get(tally, 0, name, &read));
	line = network_tally_open(tally, "a b\n");
	network_tally_set(tally, line, &numbers);
	assert_true(network_tally_get(tally, line, name, &read));
	assert_string_equal(name, "a?b?");
	assert_memory_equal(&read, &numbers, sizeof(read));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_true(network_tally_get(tally, network_tally_open(tally, longest), name, &read));
	assert_int_equal(strlen(name), NETWORK_NAME_SIZE - 1);
	network_tally_close(tally, line);
	assert_false(network_tally_get(tally, line, name, &read));
	/* Nothing of the former is left in a line that is used again. */
	assert_int_equal(network_tally_open(tally, "next"), line);
	assert_true(network_tally_get(tally, line, name, &read));
	assert_int_equal(read.requests, 0);
	for (int i = 2; i < NETWORKS_MAX; i++)
		assert_true(network_tally_open(tally, "more") >= 0);
	assert_int_equal(network_tally_open(tally, "too many"), -1);
	network_tally_set(tally, -1, &numbers);
	network_tally_close(tally, -1);
	network_tally_free(tally);
}

/* Whoever reads while it is written sees numbers that belong together. */
static void another_process_reads_them_whole(void **state)
{
	struct network_tally *tally = network_tally_new();
	int line = network_tally_open(tally, "blue"), status;
	pid_t reader;

	(void)state;
	network_tally_set(tally, line, &(struct network_numbers){.requests = 1});
	reader = fork();
	if (reader == 0) {
		struct network_numbers read = {0};
		char name[NETWORK_NAME_SIZE];

		while (read.under_way < 100000)
			if (network_tally_get(tally, line, name, &read) &&
			    (read.requests != read.under_way + 1 ||
			     read.established != read.under_way))
				_exit(1);
		_exit(0);
	}
	for (uint64_t i = 1; i <= 100000; i++)
		network_tally_set(tally, line, &(struct network_numbers){i + 1, i, 0, i});
	/* The last one is seen, whatever the reader met before. */
	assert_int_equal(waitpid(reader, &status, 0), reader);
	assert_int_equal(status, 0);
	network_tally_free(tally);
}

/* Workers may write to the memory, too: one fills the last line without a NUL all the while. Behind the memory is
 * nothing, so who walked out of it would end. */
static void what_a_worker_writes_leads_nowhere(void **state)
{
	const size_t size = 13 * 4096; /* of all lines */
	struct network_tally *tally = network_tally_new();
	char **shared = (char **)tally; /* its first member */
	char *place = mmap(NULL, size * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int last = -1;
	pid_t writer;

	(void)state;
	assert_true(tally && place != MAP_FAILED);
	*shared = mremap(*shared, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	assert_ptr_equal(*shared, place);
	while (last < NETWORKS_MAX - 1)
		last = network_tally_open(tally, "blue");
	writer = fork();
	if (writer == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
		for (;;)
			memset(place + size - 96, '\t', 96);
	assert_true(writer > 0);
	for (int i = 0; i < 200000; i++) {
		network_tally_close(tally, last);
		assert_int_equal(network_tally_open(tally, "blue"), last);
	}
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	network_tally_free(tally);
	munmap(place + size, size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_lies_in_run_netns_and_a_path_anywhere),
	    cmocka_unit_test(a_namespace_is_told_from_other_files),
	    cmocka_unit_test(what_is_no_namespace_is_not_joined),
	    cmocka_unit_test(lines_are_given_shown_and_taken_back),
	    cmocka_unit_test(another_process_reads_them_whole),
	    cmocka_unit_test(what_a_worker_writes_leads_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
