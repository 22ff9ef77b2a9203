// SPDX-License-Identifier: LGPL-2.1-or-later
/* What the workers share: each entry once, until its time, within its bytes, whoever dies. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"
#include "sandbox.h"
#include "shared-store.h"
#include "skipping.h"

enum { NOBODY = 65534 };

static char directory[64];
static struct shared_store *store;

static struct shared_store *store_open(size_t bytes)
{
	struct shared_store *opened = NULL;
	struct problem problem = {""};

	if (shared_store_open(directory, bytes, &opened, &problem) < 0)
		fail_msg("%s", problem.text);
	return opened;
}

static void store_prepare(bool keep)
{
	struct problem problem = {""};

	if (shared_store_prepare(directory, keep, geteuid(), getegid(), &problem) < 0)
		fail_msg("%s", problem.text);
}

static int setup(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/test-store-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return -1;
	log_set_level(CONFIG_LOG_ERROR);
	store_prepare(false);
	store = store_open(0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	shared_store_close(store);
	store = NULL;
	shared_store_remove(directory);
	return access(directory, F_OK) == 0;
}

static int put(enum shared_table table, const char *key, const char *value, int seconds)
{
	return shared_store_put(store, table, key, strlen(key), value, strlen(value),
				time(NULL) + seconds, false);
}

static int put_new(enum shared_table table, const char *key, int seconds)
{
	return shared_store_put(store, table, key, strlen(key), NULL, 0, time(NULL) + seconds,
				true);
}

static void assert_has(enum shared_table table, const char *key, const char *value)
{
	gnutls_datum_t got = {NULL, 0};

	assert_int_equal(shared_store_get(store, table, key, strlen(key), &got), 0);
	assert_int_equal(got.size, strlen(value));
	assert_memory_equal(got.data, value, got.size);
	gnutls_free(got.data);
}

static void assert_lacks(enum shared_table table, const char *key)
{
	gnutls_datum_t got = {NULL, 0};

	assert_int_equal(shared_store_get(store, table, key, strlen(key), &got), -ENOENT);
}

static void what_was_put_can_be_got(void **state)
{
	(void)state;
	assert_lacks(SHARED_SESSIONS, "a");
	assert_int_equal(put(SHARED_SESSIONS, "a", "first", 100), 0);
	assert_int_equal(put(SHARED_SESSIONS, "b", "second", 100), 0);
	assert_has(SHARED_SESSIONS, "a", "first");
	assert_has(SHARED_SESSIONS, "b", "second");
	assert_int_equal(put(SHARED_SESSIONS, "a", "third", 100), 0);
	assert_has(SHARED_SESSIONS, "a", "third");
	assert_int_equal(shared_store_count(store, SHARED_SESSIONS), 2);
	assert_int_equal(shared_store_remove_entry(store, SHARED_SESSIONS, "a", 1), 0);
	assert_int_equal(shared_store_remove_entry(store, SHARED_SESSIONS, "a", 1), -ENOENT);
	assert_lacks(SHARED_SESSIONS, "a");
	assert_int_equal(shared_store_count(store, SHARED_SESSIONS), 1);
}

static void the_tables_know_nothing_of_each_other(void **state)
{
	(void)state;
	put(SHARED_SESSIONS, "a", "session", 100);
	assert_lacks(SHARED_TICKETS, "a");
	put(SHARED_TICKETS, "a", "ticket", 100);
	assert_has(SHARED_SESSIONS, "a", "session");
	assert_has(SHARED_TICKETS, "a", "ticket");
}

static void what_is_taken_is_gone(void **state)
{
	gnutls_datum_t got = {NULL, 0};

	(void)state;
	put(SHARED_TICKETS, "a", "once", 100);
	assert_int_equal(shared_store_take(store, SHARED_TICKETS, "a", 1, &got), 0);
	assert_memory_equal(got.data, "once", 4);
	gnutls_free(got.data);
	assert_int_equal(shared_store_take(store, SHARED_TICKETS, "a", 1, &got), -ENOENT);
	assert_int_equal(shared_store_count(store, SHARED_TICKETS), 0);
}

static void an_entry_ends_with_its_time(void **state)
{
	gnutls_datum_t got = {NULL, 0};

	(void)state;
	put(SHARED_SESSIONS, "a", "late", 0);
	put(SHARED_TICKETS, "a", "late", -5);
	assert_lacks(SHARED_SESSIONS, "a");
	assert_int_equal(shared_store_take(store, SHARED_TICKETS, "a", 1, &got), -ENOENT);
	/* The next one clears it away. */
	put(SHARED_SESSIONS, "b", "next", 100);
	assert_int_equal(shared_store_count(store, SHARED_SESSIONS), 1);
}

static void what_must_be_new_is_so_once(void **state)
{
	(void)state;
	assert_int_equal(put_new(SHARED_REPLAY, "a", 100), 0);
	assert_int_equal(put_new(SHARED_REPLAY, "a", 100), -EEXIST);
	assert_int_equal(put_new(SHARED_REPLAY, "b", 0), 0);
	assert_int_equal(put_new(SHARED_REPLAY, "b", 100), 0);
	assert_int_equal(put_new(SHARED_REPLAY, "b", 100), -EEXIST);
}

static void the_nearest_to_its_end_makes_room(void **state)
{
	static char value[16384];
	uint64_t before;
	int dropped = 0, i;

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	for (i = 0; i < 1000 && dropped == 0; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%d", i);
		before = shared_store_count(store, SHARED_SESSIONS);
		dropped = put(SHARED_SESSIONS, key, value, i == 3 ? 50 : 100 + i);
	}
	/* 512 KiB are the sessions'. */
	assert_in_range(i, 20, 33);
	assert_int_equal(dropped, 1);
	assert_lacks(SHARED_SESSIONS, "3");
	assert_has(SHARED_SESSIONS, "0", value);
	assert_int_equal(shared_store_count(store, SHARED_SESSIONS), before);
	assert_true(put(SHARED_SESSIONS, "another", value, 1000) > 0);
	assert_lacks(SHARED_SESSIONS, "0");
}

static void ten_thousands_stay_within_the_bytes(void **state)
{
	struct stat status;
	char path[96];

	(void)state;
	for (int i = 0; i < 10000; i++) {
		char key[16], value[2500];

		snprintf(key, sizeof(key), "%d", i);
		memset(value, 'v', sizeof(value));
		assert_true(shared_store_put(store, SHARED_TICKETS, key, strlen(key), value,
					     (size_t)(i * 7919 % 2500), time(NULL) + i % 977 + 1,
					     false) >= 0);
	}
	snprintf(path, sizeof(path), "%s/data.mdb", directory);
	assert_int_equal(stat(path, &status), 0);
	assert_true(status.st_size <= 6 << 20);
	assert_true(shared_store_count(store, SHARED_TICKETS) > 50);
}

static void the_replay_table_refuses_and_never_forgets(void **state)
{
	char key[16];
	int added = 0, r = 0;

	(void)state;
	for (; r == 0 && added < 100000; added += r == 0) {
		snprintf(key, sizeof(key), "%d", added);
		r = put_new(SHARED_REPLAY, key, 100);
	}
	assert_int_equal(r, -ENOSPC);
	assert_in_range(added, 500, 10000);
	for (int i = 0; i < added; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(put_new(SHARED_REPLAY, key, 100), -EEXIST);
	}
	/* The others have bytes of their own. */
	assert_int_equal(put(SHARED_SESSIONS, "a", "fits", 100), 0);
}

static void what_is_too_large_is_refused(void **state)
{
	static char value[SHARED_VALUE_MAX + 1];

	(void)state;
	assert_int_equal(shared_store_put(store, SHARED_SESSIONS, "a", 1, value, sizeof(value),
					  time(NULL) + 9, false),
			 -EFBIG);
}

/* Of many processes that put the same, or take the same, one succeeds. */
static void one_of_many_processes_wins(void **state)
{
	enum { PROCESSES = 4, KEYS = 200 };
	unsigned won[2] = {0, 0};
	pid_t pids[PROCESSES];
	int ends[2];

	(void)state;
	for (int i = 0; i < KEYS; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%d", i);
		put(SHARED_TICKETS, key, "x", 100);
	}
	shared_store_close(store);
	store = NULL;
	assert_int_equal(pipe(ends), 0);
	for (int process = 0; process < PROCESSES; process++) {
		pids[process] = fork();
		if (pids[process] != 0)
			continue;
		store = store_open(0);
		for (int i = 0; i < KEYS; i++) {
			gnutls_datum_t got = {NULL, 0};
			char key[16];

			snprintf(key, sizeof(key), "%d", i);
			won[0] +=
			    shared_store_take(store, SHARED_TICKETS, key, strlen(key), &got) == 0;
			gnutls_free(got.data);
			won[1] += put_new(SHARED_REPLAY, key, 100) == 0;
		}
		_exit(write(ends[1], won, sizeof(won)) != sizeof(won));
	}
	for (int process = 0; process < PROCESSES; process++) {
		unsigned theirs[2];
		int status;

		assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
		won[0] += theirs[0];
		won[1] += theirs[1];
		waitpid(pids[process], &status, 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(won[0], KEYS);
	assert_int_equal(won[1], KEYS);
	close(ends[0]);
	close(ends[1]);
}

/* Killed at any moment, it leaves nothing that the others would wait for. */
static void a_process_that_dies_holds_nobody_up(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		char key[32];
		pid_t pid;

		shared_store_close(store);
		store = NULL;
		pid = fork();
		if (pid == 0) {
			store = store_open(0);
			for (unsigned i = 0;; i++) {
				snprintf(key, sizeof(key), "%d/%u", round, i);
				put(SHARED_SESSIONS, key, "value", 100);
			}
		}
		store = store_open(0);
		usleep((useconds_t)(3000 + round * 400));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		alarm(20);
		snprintf(key, sizeof(key), "mine/%d", round);
		assert_true(put(SHARED_SESSIONS, key, "value", 1000) >= 0);
		assert_has(SHARED_SESSIONS, key, "value");
		alarm(0);
	}
}

static int in_sandbox(void)
{
	struct problem problem = {""};
	char key[16];

	store = store_open(0);
	if (sandbox_enter(SANDBOX_WORKER, 65534, 65534, &problem) < 0)
		return 1;
	for (int i = 0; i < 3000; i++) {
		static char value[3000];

		snprintf(key, sizeof(key), "%d", i);
		if (shared_store_put(store, SHARED_SESSIONS, key, strlen(key), value,
				     (size_t)(i % 3000), time(NULL) + 100, false) < 0)
			return 2;
	}
	return 0;
}

static void it_works_in_the_sandbox(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	shared_store_close(store);
	store = NULL;
	pid = fork();
	if (pid == 0) {
		gnutls_datum_t got;
		int r = in_sandbox();

		if (r == 0 && (shared_store_take(store, SHARED_SESSIONS, "2999", 4, &got) != 0 ||
			       got.size != 2999))
			r = 3;
		_exit(r);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void a_larger_one_is_seen_by_who_opened_it_before(void **state)
{
	struct shared_store *small = store;
	static char value[60000];

	(void)state;
	/* LMDB allows a process one opening: the other is another process's. */
	if (fork() == 0) {
		store = store_open(64 << 20);
		for (int i = 0; i < 300; i++)
			shared_store_put(store, SHARED_SESSIONS, &i, sizeof(i), value,
					 sizeof(value), time(NULL) + 100, false);
		_exit(0);
	}
	wait(NULL);
	store = small;
	assert_true(put(SHARED_SESSIONS, "a", "after", 1000) >= 0);
	assert_has(SHARED_SESSIONS, "a", "after");
}

static void it_is_kept_only_if_asked_for(void **state)
{
	(void)state;
	put(SHARED_SESSIONS, "a", "kept", 100);
	shared_store_close(store);
	store_prepare(true);
	store = store_open(0);
	assert_has(SHARED_SESSIONS, "a", "kept");
	shared_store_close(store);
	store_prepare(false);
	store = store_open(0);
	assert_lacks(SHARED_SESSIONS, "a");
}

static void after_a_start_of_the_machine_it_is_made_anew(void **state)
{
	char path[96];
	FILE *file;

	(void)state;
	put(SHARED_SESSIONS, "a", "old", 100);
	shared_store_close(store);
	snprintf(path, sizeof(path), "%s/boot", directory);
	file = fopen(path, "w");
	fputs("another\n", file);
	fclose(file);
	store_prepare(true);
	store = store_open(0);
	assert_lacks(SHARED_SESSIONS, "a");
}

static void what_is_no_store_is_made_anew(void **state)
{
	char path[96];
	FILE *file;

	(void)state;
	shared_store_close(store);
	snprintf(path, sizeof(path), "%s/data.mdb", directory);
	file = fopen(path, "w");
	for (int i = 0; i < 4096; i++)
		fputs("rubbish ", file);
	fclose(file);
	store_prepare(true);
	store = store_open(0);
	assert_int_equal(put(SHARED_SESSIONS, "a", "new", 100), 0);
}

/* A process that only looked at it would be ended by SIGBUS. */
static void a_store_that_was_cut_off_is_made_anew(void **state)
{
	char path[96], key[16];

	(void)state;
	for (int i = 0; i < 300; i++) {
		static const char value[500];

		snprintf(key, sizeof(key), "%d", i);
		assert_true(shared_store_put(store, SHARED_SESSIONS, key, strlen(key), value,
					     sizeof(value), time(NULL) + 100, false) >= 0);
	}
	shared_store_close(store);
	snprintf(path, sizeof(path), "%s/data.mdb", directory);
	assert_int_equal(truncate(path, 8192), 0);
	store_prepare(true);
	store = store_open(0);
	assert_lacks(SHARED_SESSIONS, "1");
	assert_int_equal(put(SHARED_SESSIONS, "a", "new", 100), 0);
}

static int without_privileges(void)
{
	struct problem problem = {""};
	struct shared_store_way way;

	if (shared_store_reach(directory, &way, &problem) < 0 ||
	    sandbox_drop(SANDBOX_WORKER, NOBODY, NOBODY, &problem) < 0)
		return 1;
	if (shared_store_open(way.path, 0, &store, &problem) < 0)
		return 2;
	close(way.fd);
	if (sandbox_close(SANDBOX_WORKER, &problem) < 0)
		return 3;
	return put(SHARED_SESSIONS, "a", "1", 100) == 0 ? 0 : 4;
}

/* A worker that was taken over may have written anything into it. */
static void it_is_opened_without_privileges(void **state)
{
	struct problem problem = {""};
	struct stat status;
	char path[96];
	pid_t pid;
	int ended;

	(void)state;
	if (geteuid() != 0)
		skip_because("needs root");
	shared_store_close(store);
	store = NULL;
	if (shared_store_prepare(directory, false, NOBODY, NOBODY, &problem) < 0)
		fail_msg("%s", problem.text);
	pid = fork();
	if (pid == 0)
		_exit(without_privileges());
	waitpid(pid, &ended, 0);
	assert_int_equal(ended, 0);
	assert_int_equal(stat(directory, &status), 0);
	assert_int_equal(status.st_uid, 0);
	assert_int_equal(status.st_mode & 07777, 0710);
	snprintf(path, sizeof(path), "%s/data.mdb", directory);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_uid, NOBODY);
	assert_int_equal(status.st_mode & 07777, 0600);
	/* What is kept is for whoever the workers are now. */
	store_prepare(true);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_uid, 0);
	store = store_open(0);
	assert_has(SHARED_SESSIONS, "a", "1");
}

static void a_directory_of_others_is_refused(void **state)
{
	struct problem problem = {""};

	(void)state;
	chmod(directory, 0777);
	assert_int_equal(shared_store_prepare(directory, true, geteuid(), getegid(), &problem), -1);
	assert_non_null(strstr(problem.text, directory));
	chmod(directory, 0700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_was_put_can_be_got, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_tables_know_nothing_of_each_other, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_taken_is_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_entry_ends_with_its_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_must_be_new_is_so_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_nearest_to_its_end_makes_room, setup, teardown),
	    cmocka_unit_test_setup_teardown(ten_thousands_stay_within_the_bytes, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_replay_table_refuses_and_never_forgets, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_is_too_large_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_of_many_processes_wins, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_process_that_dies_holds_nobody_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(it_works_in_the_sandbox, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_larger_one_is_seen_by_who_opened_it_before, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(it_is_kept_only_if_asked_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(after_a_start_of_the_machine_it_is_made_anew, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_store_is_made_anew, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_store_that_was_cut_off_is_made_anew, setup, teardown),
	    cmocka_unit_test_setup_teardown(it_is_opened_without_privileges, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_directory_of_others_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
