// SPDX-License-Identifier: LGPL-2.1-or-later
/* Peers' certificates as keys of the kernel: found again by serial number, bounded, and nothing else taken. */
#include "peer-keys.h"

#include <errno.h>
#include <fcntl.h>
#include <keyutils.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "sealed-memory.h"
#include "skipping.h"

static struct peer_keys *peers;

static int setup(void **state)
{
	(void)state;
	peers = peer_keys_new();
	return peers ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	peer_keys_free(peers);
	return 0;
}

static int32_t add_text(const char *text, int *ret_error)
{
	int fd = sealed_memory_new("test", text, strlen(text));
	int32_t serial = peer_keys_add(peers, fd, ret_error);

	close(fd);
	return serial;
}

static int32_t add(const char *text)
{
	int error;
	int32_t serial = add_text(text, &error);

	if (serial == 0)
		skip_because("the kernel keeps no keys here");
	assert_int_equal(error, 0);
	return serial;
}

static void holds_the_certificate(void **state)
{
	int32_t serial = add("certificate"), other;
	char *description;
	void *text;

	(void)state;
	assert_int_equal(keyctl_read_alloc(serial, &text), 11);
	assert_string_equal(text, "certificate");
	free(text);
	assert_true(keyctl_describe_alloc(serial, &description) > 0);
	assert_int_equal(strncmp(description, "user;", 5), 0);
	/* SHA-256 of "certificate" */
	assert_non_null(strstr(description, ";handshaked:peer:"));
	assert_int_equal(strlen(strstr(description, "peer:")), 5 + 64);
	free(description);
	other = add("another");
	assert_int_not_equal(other, serial);
	assert_int_equal(add("certificate"), serial);
}

static void keeps_so_many_only(void **state)
{
	int32_t first = add("number 0"), second = add("number 1"), last = 0;
	char text[32];
	void *list;

	(void)state;
	for (int i = 2; i < PEER_KEYS_MAX; i++) {
		snprintf(text, sizeof(text), "number %d", i);
		last = add(text);
	}
	/* Used again: now the youngest. */
	assert_int_equal(add("number 0"), first);
	add("one more");
	assert_int_equal(add("number 0"), first);
	assert_true(keyctl_read_alloc(last, &list) > 0);
	free(list);
	assert_int_equal(add("number 0"), first);
	assert_int_not_equal(add("number 1"), second);
}

static void takes_nothing_that_can_change(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING), error, ends[2];
	int32_t ring = peer_keys_add(peers, -1, &error);

	(void)state;
	if (ring == 0)
		skip_because("the kernel keeps no keys here");
	assert_int_equal(error, 0);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(peer_keys_add(peers, fd, &error), ring);
	assert_int_equal(error, -EPROTO);
	close(fd);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(peer_keys_add(peers, ends[0], &error), ring);
	assert_int_equal(error, -EPROTO);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(add_text("", &error), ring);
	assert_int_equal(error, -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(holds_the_certificate, setup, teardown),
	    cmocka_unit_test_setup_teardown(keeps_so_many_only, setup, teardown),
	    cmocka_unit_test_setup_teardown(takes_nothing_that_can_change, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
