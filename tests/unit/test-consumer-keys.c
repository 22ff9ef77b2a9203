// SPDX-License-Identifier: LGPL-2.1-or-later
/* Keys on their way to a worker: whole identities, bounds, and nothing left behind. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumer-keys.h"

static int add(struct consumer_keys *keys, int32_t serial, const char *identity, const char *secret)
{
	const struct consumer_key key = {
	    .serial = serial,
	    .identity = (const unsigned char *)identity,
	    .identity_size = strlen(identity),
	    .key = (const unsigned char *)secret,
	    .key_size = strlen(secret),
	};

	return consumer_keys_add(keys, &key);
}

static bool find(const struct consumer_keys *keys, const char *identity,
		 struct consumer_key *ret_key)
{
	return consumer_keys_find(keys, identity, strlen(identity), ret_key);
}

static void identities_say_their_hash(void **state)
{
	static const struct {
		const char *text;
		bool is, sha384;
	} cases[] = {
	    {"NVMe1R01 host subsystem digest", true, false},
	    {"NVMe1R02 host subsystem digest", true, true},
	    {"NVMe0G01 host subsystem", true, false},
	    {"NVMe0G02 host subsystem", true, true},
	    {"NVMe2R01 host subsystem", false, false},
	    {"NVMe1X01 host subsystem", false, false},
	    {"NVMe1R00 host subsystem", false, false},
	    {"NVMe1R03 host subsystem", false, false},
	    {"NVMe1R11 host subsystem", false, false},
	    {"NVMe1R01host subsystem", false, false},
	    {"nvme1R01 host subsystem", false, false},
	    {"NVMe1R01 ", false, false},
	    {"", false, false},
	};
	char longest[CONSUMER_KEY_IDENTITY_MAX + 2] = "NVMe1R01 ";
	bool sha384;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sha384 = false;
		assert_int_equal(
		    consumer_key_is_nvme(cases[i].text, strlen(cases[i].text), &sha384),
		    cases[i].is);
		assert_int_equal(sha384, cases[i].sha384);
	}
	memset(longest + 9, 'x', sizeof(longest) - 9);
	assert_true(consumer_key_is_nvme(longest, CONSUMER_KEY_IDENTITY_MAX, &sha384));
	assert_false(consumer_key_is_nvme(longest, CONSUMER_KEY_IDENTITY_MAX + 1, &sha384));
}

static void only_the_whole_identity_finds(void **state)
{
	struct consumer_keys *keys = consumer_keys_new();
	struct consumer_key key;

	(void)state;
	assert_false(consumer_keys_first(keys, &key));
	assert_false(find(keys, "", &key));
	assert_int_equal(add(keys, 11, "NVMe1R01 a b", "0123456789abcdef"), 0);
	assert_int_equal(add(keys, 12, "NVMe1R01 a bc", "fedcba9876543210"), 0);
	assert_int_equal(consumer_keys_count(keys), 2);
	assert_true(find(keys, "NVMe1R01 a b", &key));
	assert_int_equal(key.serial, 11);
	assert_memory_equal(key.key, "0123456789abcdef", 16);
	assert_true(find(keys, "NVMe1R01 a bc", &key));
	assert_int_equal(key.serial, 12);
	assert_int_equal(key.key_size, 16);
	assert_false(find(keys, "NVMe1R01 a ", &key));
	assert_false(find(keys, "NVMe1R01 a bcd", &key));
	assert_false(find(keys, "", &key));
	assert_true(consumer_keys_first(keys, &key));
	assert_int_equal(key.serial, 11);
	consumer_keys_free(keys);
	consumer_keys_free(NULL);
}

static void sizes_have_bounds(void **state)
{
	char text[CONSUMER_KEY_IDENTITY_MAX + 2];
	struct consumer_keys *keys = consumer_keys_new();

	(void)state;
	memset(text, 'x', sizeof(text));
	text[CONSUMER_KEY_IDENTITY_MAX + 1] = '\0';
	assert_int_equal(add(keys, 1, text, "0123456789abcdef"), -EINVAL);
	assert_int_equal(add(keys, 1, text + 1, "0123456789abcdef"), 0);
	assert_int_equal(add(keys, 1, "", "0123456789abcdef"), -EINVAL);
	assert_int_equal(add(keys, 1, "a", "0123456789abcde"), -EINVAL);
	text[CONSUMER_KEY_MAX + 1] = '\0';
	assert_int_equal(add(keys, 1, "a", text), -EINVAL);
	assert_int_equal(add(keys, 1, "a", text + 1), 0);
	for (int i = 2; i < CONSUMER_KEYS_MAX; i++)
		assert_int_equal(add(keys, i, "another", "0123456789abcdef"), 0);
	assert_int_equal(add(keys, 1, "one more", "0123456789abcdef"), -E2BIG);
	consumer_keys_free(keys);
}

static void they_travel_and_are_wiped(void **state)
{
	struct consumer_keys *keys = consumer_keys_new(), *there;
	char byte, identity[32];
	struct consumer_key key;
	int32_t *serials;
	int fd, copy;

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(identity, sizeof(identity), "NVMe1R01 h s%d", i);
		assert_int_equal(add(keys, 1000 + i, identity, "0123456789abcdef"), 0);
	}
	assert_int_equal(consumer_keys_serials(keys, &serials), 0);
	assert_int_equal(serials[0], 1000);
	assert_int_equal(serials[299], 1299);
	assert_int_equal(serials[300], 0);
	free(serials);
	fd = consumer_keys_pack(keys);
	assert_true(fd >= 0);
	copy = dup(fd);
	assert_int_equal(ftruncate(copy, 0), -1);
	assert_int_equal(consumer_keys_unpack(fd, &there), 0);
	assert_int_equal(consumer_keys_count(there), 300);
	assert_true(find(there, "NVMe1R01 h s299", &key));
	assert_int_equal(key.serial, 1299);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	for (off_t at = 0; pread(copy, &byte, 1, at) == 1; at++)
		assert_int_equal(byte, 0);
	close(copy);
	consumer_keys_free(there);
	consumer_keys_free(keys);
}

static void none_travel_as_none(void **state)
{
	struct consumer_keys *keys = consumer_keys_new(), *there;
	struct consumer_key key;

	(void)state;
	assert_int_equal(consumer_keys_unpack(consumer_keys_pack(keys), &there), 0);
	assert_int_equal(consumer_keys_count(there), 0);
	assert_false(find(there, "NVMe1R01 a b", &key));
	consumer_keys_free(there);
	consumer_keys_free(keys);
}

static void what_is_no_set_is_refused(void **state)
{
	struct consumer_keys *keys = consumer_keys_new(), *there = NULL;
	int fd;

	(void)state;
	assert_int_equal(add(keys, 1, "NVMe1R01 a b", "0123456789abcdef"), 0);
	for (off_t cut = 1; cut < 36; cut++) {
		unsigned char bytes[36];
		int whole = consumer_keys_pack(keys);

		assert_int_equal(pread(whole, bytes, sizeof(bytes), 0), 36);
		consumer_keys_discard(whole);
		fd = memfd_create("cut", MFD_CLOEXEC);
		assert_int_equal(write(fd, bytes, (size_t)cut), cut);
		assert_int_equal(consumer_keys_unpack(fd, &there), -EPROTO);
	}
	fd = memfd_create("large", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	assert_int_equal(consumer_keys_unpack(fd, &there), -EPROTO);
	assert_null(there);
	consumer_keys_free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(identities_say_their_hash),
	    cmocka_unit_test(only_the_whole_identity_finds),
	    cmocka_unit_test(sizes_have_bounds),
	    cmocka_unit_test(they_travel_and_are_wiped),
	    cmocka_unit_test(none_travel_as_none),
	    cmocka_unit_test(what_is_no_set_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
