// SPDX-License-Identifier: LGPL-2.1-or-later
/* When files count as changed, and when that is looked at. */
#include "watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];
static char trust_path[128], other_path[128];
static struct config_profile profile;
static struct config config;
static struct watch *watch;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap(unsigned milliseconds)
{
	const struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000L};

	nanosleep(&pause, NULL);
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void path_set(char *path, const char *name)
{
	snprintf(path, 128, "%s/%s", directory, name);
}

static void loaded(bool taken)
{
	watch_begin(watch);
	watch_set(watch, &config, taken);
}

static int setup(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/watch-XXXXXX");
	assert_non_null(mkdtemp(directory));
	path_set(trust_path, "trust");
	path_set(other_path, "other");
	put(trust_path, "one");
	memset(&profile, 0, sizeof(profile));
	profile.trust = trust_path;
	config.profiles = &profile;
	config.profile_count = 1;
	config.watch = true;
	watch = watch_new();
	assert_non_null(watch);
	nap(50); // what was made just now would be doubted
	loaded(true);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	watch_free(watch);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

// As the supervisor's loop does, with a clock that has gone on.
static bool changed(void)
{
	int64_t now = now_ms();

	if (watch_fd(watch) >= 0)
		watch_hear(watch, now);
	if (watch_due(watch) == INT64_MAX)
		return false;
	// Heard in between it must be quiet again.
	return watch_look(watch, now + 20000);
}

static void nothing_is_due_without_a_change(void **state)
{
	(void)state;
	assert_true(watch_fd(watch) >= 0);
	assert_true(watch_due(watch) == INT64_MAX);
	assert_false(changed());
}

static void a_write_is_seen_after_a_moment(void **state)
{
	int64_t now;

	(void)state;
	put(trust_path, "two");
	now = now_ms();
	watch_hear(watch, now);
	assert_int_equal(watch_fd(watch), -1); // deaf until the look
	assert_true(watch_due(watch) >= now + 300);
	assert_false(watch_look(watch, now + 200));
	assert_true(watch_look(watch, now + 20000));
	assert_true(watch_due(watch) == INT64_MAX);
	assert_true(watch_fd(watch) >= 0);
	assert_false(watch_look(watch, now + 40000));
}

static void a_rename_is_seen(void **state)
{
	(void)state;
	put(other_path, "two");
	assert_int_equal(rename(other_path, trust_path), 0);
	assert_true(changed());
}

static void permissions_and_the_end_are_seen(void **state)
{
	(void)state;
	chmod(trust_path, 0600);
	assert_true(changed());
	nap(50);
	loaded(true);
	unlink(trust_path);
	assert_true(changed());
	loaded(false);
	assert_false(changed());
	put(trust_path, "back");
	assert_true(changed());
}

static void other_files_do_not_count(void **state)
{
	(void)state;
	put(other_path, "x");
	assert_false(changed());
}

static void what_changes_while_it_is_read_is_read_again_once(void **state)
{
	(void)state;
	put(trust_path, "two");
	watch_begin(watch);
	watch_set(watch, &config, true);
	assert_true(watch_due(watch) < INT64_MAX);
	assert_true(watch_look(watch, now_ms() + 20000));
	loaded(true);
	assert_true(watch_due(watch) == INT64_MAX);
}

static void what_was_refused_waits_for_the_next_change(void **state)
{
	(void)state;
	put(trust_path, "bad");
	assert_true(changed());
	loaded(false);
	assert_true(watch_due(watch) == INT64_MAX);
	put(trust_path, "good");
	assert_true(changed());
}

static void busy_directories_are_looked_at_in_the_end(void **state)
{
	int64_t now = now_ms() + 10000, begin = now;
	bool seen = false;

	(void)state;
	put(trust_path, "two");
	watch_hear(watch, now);
	while (!seen && now < begin + 10000) {
		put(other_path, "noise");
		now = watch_due(watch);
		seen = watch_look(watch, now);
	}
	assert_true(seen);
	assert_true(now - begin <= 3500);
	assert_true(now - begin >= 2500);
}

static void a_directory_counts_by_its_pairs(void **state)
{
	char path[128];

	(void)state;
	profile.trust = NULL;
	profile.certificate_directory = directory;
	loaded(true);
	path_set(path, "note");
	put(path, "x");
	assert_false(changed());
	path_set(path, "a.key");
	put(path, "x");
	assert_false(changed());
	path_set(path, "a.pem");
	put(path, "x");
	assert_true(changed());
	nap(50);
	loaded(true);
	path_set(path, "a.ocsp");
	put(path, "x");
	assert_true(changed());
}

static void links_are_followed(void **state)
{
	char path[128], deep[160];

	(void)state;
	path_set(path, "one");
	mkdir(path, 0700);
	snprintf(deep, sizeof(deep), "%s/file", path);
	put(deep, "x");
	path_set(path, "two");
	mkdir(path, 0700);
	snprintf(deep, sizeof(deep), "%s/file", path);
	put(deep, "y");
	path_set(path, "current");
	assert_int_equal(symlink("one", path), 0);
	path_set(path, "link");
	assert_int_equal(symlink("../tmp/../tmp/./nothing", path), 0);
	unlink(path);
	assert_int_equal(symlink("current/file", path), 0);
	profile.trust = path;
	nap(50);
	loaded(true);
	path_set(deep, "new");
	assert_int_equal(symlink("two", deep), 0);
	path_set(other_path, "current");
	assert_int_equal(rename(deep, other_path), 0);
	assert_true(changed());
	nap(50);
	loaded(true);
	path_set(deep, "two/file");
	put(deep, "z");
	assert_true(changed());
}

static void links_in_a_circle_end(void **state)
{
	char path[128];

	(void)state;
	path_set(path, "a");
	assert_int_equal(symlink("b", path), 0);
	path_set(path, "b");
	assert_int_equal(symlink("a", path), 0);
	profile.trust = path;
	loaded(true);
	assert_false(changed());
	unlink(path);
	put(path, "x");
	assert_true(changed());
}

static void a_directory_that_comes_back_is_watched(void **state)
{
	char path[128], file[128];

	(void)state;
	path_set(path, "d");
	path_set(file, "d/file");
	mkdir(path, 0700);
	put(file, "x");
	profile.trust = file;
	nap(50);
	loaded(true);
	unlink(file);
	rmdir(path);
	assert_true(changed());
	loaded(false);
	mkdir(path, 0700);
	changed();
	loaded(false);
	put(file, "y");
	assert_true(changed());
}

static void nothing_is_watched_when_it_is_not_wanted(void **state)
{
	(void)state;
	config.watch = false;
	loaded(true);
	assert_int_equal(watch_fd(watch), -1);
	put(trust_path, "two");
	assert_false(changed());
	watch_set(watch, NULL, true);
	assert_false(changed());
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(nothing_is_due_without_a_change),
	    TEST(a_write_is_seen_after_a_moment),
	    TEST(a_rename_is_seen),
	    TEST(permissions_and_the_end_are_seen),
	    TEST(other_files_do_not_count),
	    TEST(what_changes_while_it_is_read_is_read_again_once),
	    TEST(what_was_refused_waits_for_the_next_change),
	    TEST(busy_directories_are_looked_at_in_the_end),
	    TEST(a_directory_counts_by_its_pairs),
	    TEST(links_are_followed),
	    TEST(links_in_a_circle_end),
	    TEST(a_directory_that_comes_back_is_watched),
	    TEST(nothing_is_watched_when_it_is_not_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
