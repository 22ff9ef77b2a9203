// SPDX-License-Identifier: LGPL-2.1-or-later
/* Keyrings of the kernel by their names, and who gets possession of them. */
#include "keyring.h"
#include "skipping.h"

#include <errno.h>
#include <keyutils.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char name[64];
static key_serial_t ring;

static int setup(void **state)
{
	(void)state;
	snprintf(name, sizeof(name), "handshaked-test-%d", getpid());
	ring = add_key("keyring", name, NULL, 0, KEY_SPEC_PROCESS_KEYRING);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	keyctl_clear(KEY_SPEC_PROCESS_KEYRING);
	return 0;
}

static void needs_keys(void)
{
	if (ring <= 0)
		skip_because("the kernel keeps no keys here");
}

static bool thread_has(key_serial_t serial)
{
	key_serial_t list[16];
	long size = keyctl_read(KEY_SPEC_THREAD_KEYRING, (char *)list, sizeof(list));

	for (long i = 0; i < 16 && (i + 1) * (long)sizeof(list[0]) <= size; i++)
		if (list[i] == serial)
			return true;
	return false;
}

static void finds_by_name_and_number(void **state)
{
	struct problem problem = {""};
	char text[KEYRING_NAME_SIZE], with[80];
	int32_t serial = 0;

	(void)state;
	needs_keys();
	assert_int_equal(keyring_find("x", name, &serial, &problem), 0);
	assert_int_equal(serial, ring);
	snprintf(with, sizeof(with), "%%:%s", name);
	assert_int_equal(keyring_find("x", with, &serial, &problem), 0);
	assert_int_equal(serial, ring);
	snprintf(with, sizeof(with), "%d", ring);
	assert_int_equal(keyring_find("x", with, &serial, &problem), 0);
	assert_int_equal(serial, ring);
	assert_int_equal(keyring_name(ring, text), 0);
	assert_string_equal(text, name);
	assert_int_equal(keyring_find("link-keyring", "handshaked-none", &serial, &problem), -1);
	assert_non_null(strstr(problem.text, "link-keyring \"handshaked-none\": there is no such"));
}

static void a_key_is_no_keyring(void **state)
{
	char text[KEYRING_NAME_SIZE];
	key_serial_t key;

	(void)state;
	needs_keys();
	key = add_key("user", "handshaked-test", "x", 1, ring);
	assert_true(key > 0);
	assert_int_equal(keyring_name(key, text), -EINVAL);
	assert_int_equal(keyring_name(0x7ffffff0, text), -ENOKEY);
}

/* Else anybody's keyring could be taken for one of the kernel's. */
static void a_name_is_whole_with_semicolons(void **state)
{
	char text[KEYRING_NAME_SIZE];
	key_serial_t other;

	(void)state;
	needs_keys();
	other = add_key("keyring", "x;.nfsd", NULL, 0, ring);
	assert_true(other > 0);
	assert_int_equal(keyring_name(other, text), 0);
	assert_string_equal(text, "x;.nfsd");
}

/* A child, as the daemon's workers are, must not read what the kernel gave the supervisor. */
static void possession_is_the_thread_s_alone(void **state)
{
	struct keyring_links links = {0};
	struct problem problem = {""};
	int status;
	pid_t pid;

	(void)state;
	needs_keys();
	assert_false(thread_has(ring));
	assert_int_equal(keyring_links_add(&links, "x", name, &problem), 0);
	assert_true(thread_has(ring));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(thread_has(ring) ? 1 : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(keyring_links_add(&links, "x", "2147483632", &problem), -1);
	assert_non_null(strstr(problem.text, "cannot be linked to the daemon"));
	keyring_links_drop(&links, &(struct keyring_links){0});
	assert_false(thread_has(ring));
}

/* What a reload takes out of the configuration is the daemon's no more; what it keeps is. */
static void possession_ends_with_the_configuration(void **state)
{
	struct keyring_links before = {0}, after = {0}, refused = {0};
	struct problem problem = {""};
	char numbers[2][16];
	key_serial_t other;

	(void)state;
	needs_keys();
	other = add_key("keyring", "handshaked-test-other", NULL, 0, ring);
	assert_true(other > 0);
	snprintf(numbers[0], sizeof(numbers[0]), "%d", ring);
	snprintf(numbers[1], sizeof(numbers[1]), "%d", other);
	for (int i = 0; i < 2; i++)
		assert_int_equal(keyring_links_add(&before, "x", numbers[i], &problem), 0);
	assert_int_equal(keyring_links_add(&after, "x", numbers[1], &problem), 0);
	keyring_links_drop(&before, &after);
	assert_false(thread_has(ring));
	assert_true(thread_has(other));
	for (int i = 0; i < 2; i++)
		assert_int_equal(keyring_links_add(&refused, "x", numbers[i], &problem), 0);
	keyring_links_drop(&refused, &after);
	assert_false(thread_has(ring));
	assert_true(thread_has(other));
	keyring_links_drop(&after, &(struct keyring_links){0});
	assert_false(thread_has(other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_by_name_and_number),
	    cmocka_unit_test(a_key_is_no_keyring),
	    cmocka_unit_test(a_name_is_whole_with_semicolons),
	    cmocka_unit_test(possession_is_the_thread_s_alone),
	    cmocka_unit_test(possession_ends_with_the_configuration),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
