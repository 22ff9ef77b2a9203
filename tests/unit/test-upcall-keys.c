// SPDX-License-Identifier: LGPL-2.1-or-later
/* The keys of a request, and which of the kernel's errors are told as passing. The functions of keyutils are
 * this test's own, since kernels without NVMe/TCP have no keys of this type. */
#include <errno.h>
#include <keyutils.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "upcall-keys.h"

enum { RING = 9000, DEFAULT_RING = 9001, KEYS_AT_MOST = CONSUMER_KEYS_MAX + 1 };

static struct {
	unsigned count;                 /* of the ring: 1, 2, 3, … */
	int ring_error;                 /* of reading the ring */
	int describe_error, read_error; /* of the key below */
	key_serial_t wrong;             /* 0: all are good */
	long size;                      /* of that one */
	bool linked;                    /* the ring, in the process keyring */
	int link_error;
} kernel;

static long kernel_error(int error)
{
	errno = error;
	return -1;
}

long keyctl_clear(key_serial_t ring)
{
	assert_int_equal(ring, KEY_SPEC_PROCESS_KEYRING);
	kernel.linked = false;
	return 0;
}

long keyctl_describe(key_serial_t serial, char *buffer, size_t room)
{
	if (serial == RING || serial == DEFAULT_RING)
		return snprintf(buffer, room, "keyring;0;0;3f010000;of a test") + 1;
	if (serial == kernel.wrong && kernel.describe_error)
		return kernel_error(kernel.describe_error);
	return snprintf(buffer, room, "psk;0;0;3f010000;NVMe1R01 host %d", serial) + 1;
}

long keyctl_read(key_serial_t serial, char *buffer, size_t room)
{
	const key_serial_t ring = DEFAULT_RING;

	if (serial == KEY_SPEC_PROCESS_KEYRING) {
		if (!kernel.linked)
			return 0;
		assert_true(room >= sizeof(ring));
		memcpy(buffer, &ring, sizeof(ring));
		return sizeof(ring);
	}
	if (serial == kernel.wrong && kernel.read_error)
		return kernel_error(kernel.read_error);
	assert_true(room >= 32);
	memset(buffer, serial % 100, 32);
	return serial == kernel.wrong && kernel.size ? kernel.size : 32;
}

int keyctl_read_alloc(key_serial_t ring, void **ret_list)
{
	key_serial_t *list;

	assert_true(ring == RING || ring == DEFAULT_RING);
	if (kernel.ring_error)
		return (int)kernel_error(kernel.ring_error);
	list = calloc(KEYS_AT_MOST, sizeof(*list));
	assert_non_null(list);
	for (unsigned i = 0; i < kernel.count; i++)
		list[i] = (key_serial_t)i + 1;
	*ret_list = list;
	return (int)(kernel.count * sizeof(*list));
}

long keyctl_link(key_serial_t key, key_serial_t ring)
{
	assert_int_equal(key, DEFAULT_RING);
	assert_int_equal(ring, KEY_SPEC_PROCESS_KEYRING);
	if (kernel.link_error)
		return kernel_error(kernel.link_error);
	kernel.linked = true;
	return 0;
}

key_serial_t find_key_by_type_and_desc(const char *type, const char *description, key_serial_t ring)
{
	(void)ring;
	assert_string_equal(type, "keyring");
	assert_string_equal(description, ".nvme");
	return DEFAULT_RING;
}

static int kernel_clear(void **state)
{
	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	kernel.count = 3;
	return 0;
}

static const struct upcall_request target = {.is_server = true, .keyring = RING};
static const struct upcall_request target_without = {.is_server = true};
static const struct upcall_request host = {.identities = {2}, .identity_count = 1};

static void gives(const struct upcall_request *request, unsigned count)
{
	struct problem problem = {""};
	struct consumer_keys *keys;
	bool retry;

	assert_int_equal(upcall_keys_read(request, &keys, &retry, &problem), 0);
	assert_int_equal(consumer_keys_count(keys), count);
	consumer_keys_free(keys);
}

static void fails(const struct upcall_request *request, bool expected, const char *words)
{
	struct problem problem = {""};
	struct consumer_keys *keys;
	bool retry;

	assert_int_equal(upcall_keys_read(request, &keys, &retry, &problem), -1);
	assert_int_equal(retry, expected);
	assert_non_null(strstr(problem.text, words));
}

static void reads_what_a_request_may_use(void **state)
{
	(void)state;
	gives(&target, 3);
	gives(&target_without, 3);
	gives(&host, 1);
	kernel.count = 0;
	gives(&target, 0);
	kernel.count = CONSUMER_KEYS_MAX;
	gives(&target, CONSUMER_KEYS_MAX);
	kernel.count = CONSUMER_KEYS_MAX + 1;
	fails(&target, false, "more than 4096 keys");
	/* A useless one is not counted. */
	kernel.wrong = CONSUMER_KEYS_MAX + 1;
	kernel.read_error = EKEYEXPIRED;
	gives(&target, CONSUMER_KEYS_MAX);
}

static void a_key_that_is_gone_is_final_for_who_named_it(void **state)
{
	static const int errors[] = {EKEYEXPIRED, EKEYREVOKED, ENOKEY, EACCES};

	(void)state;
	kernel.wrong = 2;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		kernel.read_error = errors[i];
		gives(&target, 2);
		fails(&host, false, "its key 2 (\"NVMe1R01 host 2\") cannot be read");
		kernel.read_error = 0;
		kernel.describe_error = errors[i];
		gives(&target, 2);
		fails(&host, false, "its key 2 cannot be looked at");
		kernel.describe_error = 0;
	}
	kernel.size = 5;
	gives(&target, 2);
	fails(&host, false, "has 5 bytes");
	kernel.ring_error = EACCES;
	fails(&target, false, "its keyring 9000 cannot be read");
	kernel.link_error = EACCES;
	fails(&target_without, false, "cannot be used");
}

/* A key that could not be read for that must not seem unknown to the peer. */
static void want_of_memory_is_told_as_passing(void **state)
{
	(void)state;
	kernel.wrong = 2;
	kernel.read_error = ENOMEM;
	fails(&target, true, "its key 2");
	fails(&target_without, true, "its key 2");
	fails(&host, true, "its key 2");
	kernel.read_error = 0;
	kernel.describe_error = ENOMEM;
	fails(&target, true, "its key 2");
	fails(&host, true, "its key 2");
	kernel.describe_error = 0;
	kernel.ring_error = ENOMEM;
	fails(&target, true, "its keyring 9000");
	upcall_keys_forget();
	kernel.link_error = ENOMEM;
	fails(&target_without, true, "cannot be used");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(reads_what_a_request_may_use, kernel_clear),
	    cmocka_unit_test_setup(a_key_that_is_gone_is_final_for_who_named_it, kernel_clear),
	    cmocka_unit_test_setup(want_of_memory_is_told_as_passing, kernel_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
