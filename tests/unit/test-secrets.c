// SPDX-License-Identifier: LGPL-2.1-or-later
/* The daemon's secrets: kept where only it can read them, rotated, the former ones accepted for a while. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "secrets.h"

static char directory[64], path[96];

static int setup(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/test-secrets-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/secrets", directory);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static struct secrets *open_with(unsigned rotation_s)
{
	struct problem problem = {""};
	struct secrets *secrets = NULL;

	if (secrets_new(directory, rotation_s, &secrets, &problem) < 0)
		fail_msg("%s", problem.text);
	return secrets;
}

/* The file with all times moved by so many seconds. */
static void file_age(long long seconds)
{
	char text[8192] = "", result[8192], word[16], id[16], key[80];
	FILE *file = fopen(path, "r+");
	long long made;
	char *line;
	size_t length;

	assert_non_null(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	assert_true(length > 0);
	line = strchr(text, '\n') + 1;
	length = (size_t)snprintf(result, sizeof(result), "%.*s", (int)(line - text), text);
	for (; sscanf(line, "%15s %15s %lld %79s", word, id, &made, key) == 4;
	     line = strchr(line, '\n') + 1)
		length += (size_t)snprintf(result + length, sizeof(result) - length,
					   "%s %s %lld %s\n", word, id, made - seconds, key);
	rewind(file);
	assert_int_equal(fwrite(result, 1, length, file), length);
	assert_int_equal(ftruncate(fileno(file), (off_t)length), 0);
	fclose(file);
}

static void assert_refused(const char *words)
{
	struct problem problem = {""};
	struct secrets *secrets = NULL;

	assert_int_equal(secrets_new(directory, 3600, &secrets, &problem), -1);
	assert_null(secrets);
	if (strstr(problem.text, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, problem.text);
}

static void without_a_directory_they_live_in_memory(void **state)
{
	struct secret first[SECRET_EPOCHS], second[SECRET_EPOCHS];
	struct problem problem = {""};
	struct secrets *secrets;

	(void)state;
	assert_int_equal(secrets_new(NULL, 3600, &secrets, &problem), 0);
	assert_int_equal(secrets_get(secrets, SECRET_TOKEN, first), 1);
	assert_int_equal(secrets_get(secrets, SECRET_TICKET, second), 1);
	assert_memory_not_equal(first[0].key, second[0].key, SECRET_SIZE);
	assert_true(secrets_rotate_due(secrets) > 3590);
	assert_true(first[0].made <= time(NULL) && first[0].made > time(NULL) - 10);
	secrets_free(secrets);
	assert_int_equal(access(path, F_OK), -1);
}

static void they_survive_in_the_state_directory(void **state)
{
	struct secret before[SECRET_EPOCHS], after[SECRET_EPOCHS];
	struct secrets *secrets = open_with(3600);
	struct stat status;

	(void)state;
	assert_int_equal(secrets_get(secrets, SECRET_TICKET, before), 1);
	secrets_free(secrets);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	secrets = open_with(3600);
	assert_int_equal(secrets_get(secrets, SECRET_TICKET, after), 1);
	assert_memory_equal(before, after, sizeof(before[0]));
	secrets_free(secrets);
}

static void the_former_one_is_accepted_and_no_older_one(void **state)
{
	struct secret first[SECRET_EPOCHS], now[SECRET_EPOCHS];
	struct secrets *secrets = open_with(3600);

	(void)state;
	secrets_get(secrets, SECRET_TICKET, first);
	secrets_free(secrets);
	file_age(3601);
	secrets = open_with(3600);
	assert_int_equal(secrets_get(secrets, SECRET_TICKET, now), 2);
	assert_memory_not_equal(now[0].key, first[0].key, SECRET_SIZE);
	assert_memory_equal(now[1].key, first[0].key, SECRET_SIZE);
	assert_int_equal(secrets_get(secrets, SECRET_TOKEN, now), 1);
	secrets_free(secrets);
	/* The former one was made 7,202 seconds ago: its time is over. */
	file_age(3601);
	secrets = open_with(3600);
	assert_int_equal(secrets_get(secrets, SECRET_TICKET, now), 2);
	for (int i = 0; i < 2; i++)
		assert_memory_not_equal(now[i].key, first[0].key, SECRET_SIZE);
	secrets_free(secrets);
	/* After a long stop not even the last one. */
	file_age(7201);
	secrets = open_with(3600);
	assert_int_equal(secrets_get(secrets, SECRET_TICKET, now), 1);
	secrets_free(secrets);
}

static void tokens_are_accepted_for_weeks(void **state)
{
	struct secret got[SECRET_EPOCHS];
	struct secrets *secrets = open_with(3600);
	unsigned count;

	(void)state;
	for (unsigned week = 1; week <= 12; week++) {
		secrets_free(secrets);
		file_age(7 * 24 * 3600);
		secrets = open_with(3600);
		count = secrets_get(secrets, SECRET_TOKEN, got);
		assert_int_equal(count, week < SECRET_EPOCHS ? week + 1 : SECRET_EPOCHS);
		for (unsigned i = 1; i < count; i++)
			assert_true(got[i].made < got[i - 1].made);
	}
	secrets_free(secrets);
}

static void a_clock_that_was_set_back_makes_a_new_one(void **state)
{
	struct secret got[SECRET_EPOCHS];
	struct secrets *secrets = open_with(3600);

	(void)state;
	secrets_free(secrets);
	file_age(-100000);
	secrets = open_with(3600);
	assert_int_equal(secrets_get(secrets, SECRET_TICKET, got), 2);
	assert_true(got[0].made <= time(NULL));
	secrets_free(secrets);
}

static void a_forked_process_sees_the_rotation(void **state)
{
	struct secret before[SECRET_EPOCHS], after[SECRET_EPOCHS];
	struct secrets *secrets = open_with(1);
	struct problem problem = {""};
	int status, ends[2];
	char go;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	secrets_get(secrets, SECRET_TICKET, before);
	pid = fork();
	if (pid == 0) {
		secrets_protect(secrets);
		if (read(ends[0], &go, 1) != 1)
			_exit(1);
		if (secrets_get(secrets, SECRET_TICKET, after) != 2)
			_exit(2);
		_exit(memcmp(before[0].key, after[1].key, SECRET_SIZE) != 0);
	}
	while (secrets_rotate_due(secrets) > 0)
		usleep(50000);
	assert_int_equal(secrets_rotate(secrets, &problem), 0);
	assert_int_equal(write(ends[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(ends[0]);
	close(ends[1]);
	secrets_free(secrets);
}

/* Where the process that was taken over finds the key that it reads. */
static void *shared_find(const struct secret *secret)
{
	unsigned long from, to, inode;
	char line[512], mode[8];
	FILE *maps = fopen("/proc/self/maps", "r");
	void *found = NULL;

	while (found == NULL && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &from, &to, mode, &inode) == 4 &&
		    mode[0] == 'r' && mode[3] == 's')
			found = memmem((void *)from, to - from, secret->key, SECRET_SIZE);
	fclose(maps);
	return found;
}

/* Whoever writes there can also say that it goes on: by the number at its beginning, which is odd then. */
static void a_writer_that_never_ends_is_not_awaited_for_ever(void **state)
{
	struct secret secret[SECRET_EPOCHS];
	struct secrets *secrets = open_with(3600);
	uint32_t *sequence;

	(void)state;
	assert_int_equal(secrets_get(secrets, SECRET_TOKEN, secret), 1);
	sequence = (uint32_t *)((uintptr_t)shared_find(&secret[0]) & ~(uintptr_t)4095);
	assert_non_null(sequence);
	*sequence += 1;
	assert_int_equal(secrets_get(secrets, SECRET_TOKEN, secret), 0);
	*sequence += 1;
	assert_int_equal(secrets_get(secrets, SECRET_TOKEN, secret), 1);
	secrets_free(secrets);
}

/* Its memory is shared, and protected from itself by nothing but itself. */
static void a_process_that_was_taken_over_changes_nothing_for_the_supervisor(void **state)
{
	struct secret before[SECRET_EPOCHS], after[SECRET_EPOCHS];
	struct secrets *secrets = open_with(1);
	struct problem problem = {""};
	int status;
	pid_t pid;

	(void)state;
	secrets_get(secrets, SECRET_TICKET, before);
	pid = fork();
	if (pid == 0) {
		uint8_t *at;
		uintptr_t page;

		secrets_protect(secrets);
		at = shared_find(&before[0]);
		page = (uintptr_t)at & ~(uintptr_t)4095;
		if (at == NULL || mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) < 0)
			_exit(1);
		memset((void *)page, 0xff, 4096);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	while (secrets_rotate_due(secrets) > 0)
		usleep(50000);
	assert_int_equal(secrets_rotate(secrets, &problem), 0);
	assert_int_equal(secrets_get(secrets, SECRET_TICKET, after), 2);
	assert_memory_equal(before[0].key, after[1].key, SECRET_SIZE);
	secrets_free(secrets);
}

static void a_file_that_others_can_read_is_refused(void **state)
{
	(void)state;
	secrets_free(open_with(3600));
	assert_int_equal(chmod(path, 0640), 0);
	assert_refused("others may use the file (mode 0640)");
}

static void what_is_no_file_of_ours_is_refused(void **state)
{
	FILE *file;

	(void)state;
	secrets_free(open_with(3600));
	file = fopen(path, "a");
	fputs("ticket 00000001 5 zz\n", file);
	fclose(file);
	assert_refused("not what the daemon wrote");
}

static void a_directory_that_others_write_to_is_refused(void **state)
{
	(void)state;
	chmod(directory, 0770);
	assert_refused("others may write to it (mode 0770)");
	chmod(directory, 0700);
}

static void a_missing_directory_is_named(void **state)
{
	struct problem problem = {""};
	struct secrets *secrets;

	(void)state;
	assert_int_equal(secrets_new("/nowhere/state", 3600, &secrets, &problem), -1);
	assert_non_null(strstr(problem.text, "\"/nowhere/state\""));
	assert_non_null(strstr(problem.text, "mkdir -p -m 700"));
}

static void the_check_looks_and_writes_nothing(void **state)
{
	struct problem problem = {""};

	(void)state;
	assert_int_equal(secrets_check(directory, &problem), 0);
	assert_int_equal(access(path, F_OK), -1);
	secrets_free(open_with(3600));
	assert_int_equal(secrets_check(directory, &problem), 0);
	chmod(path, 0604);
	assert_int_equal(secrets_check(directory, &problem), -1);
	assert_non_null(strstr(problem.text, "0604"));
}

static void a_reload_gives_another_directory_and_schedule(void **state)
{
	struct secret before[SECRET_EPOCHS], after[SECRET_EPOCHS];
	struct problem problem = {""};
	struct secrets *secrets;

	(void)state;
	assert_int_equal(secrets_new(NULL, 3600, &secrets, &problem), 0);
	secrets_get(secrets, SECRET_TICKET, before);
	assert_int_equal(secrets_change(secrets, "/nowhere/state", 60, &problem), -1);
	assert_true(secrets_rotate_due(secrets) > 3000);
	assert_int_equal(secrets_change(secrets, directory, 60, &problem), 0);
	assert_true(secrets_rotate_due(secrets) <= 60);
	secrets_free(secrets);
	secrets = open_with(60);
	secrets_get(secrets, SECRET_TICKET, after);
	assert_memory_equal(before[0].key, after[0].key, SECRET_SIZE);
	secrets_free(secrets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(without_a_directory_they_live_in_memory, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(
		a_process_that_was_taken_over_changes_nothing_for_the_supervisor, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_writer_that_never_ends_is_not_awaited_for_ever, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(they_survive_in_the_state_directory, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_former_one_is_accepted_and_no_older_one, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(tokens_are_accepted_for_weeks, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_clock_that_was_set_back_makes_a_new_one, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_forked_process_sees_the_rotation, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_file_that_others_can_read_is_refused, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_file_of_ours_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_directory_that_others_write_to_is_refused, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_missing_directory_is_named, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_check_looks_and_writes_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_reload_gives_another_directory_and_schedule, setup,
					    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
