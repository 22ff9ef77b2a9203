// SPDX-License-Identifier: LGPL-2.1-or-later
// What of a ClientHello decides about its early data, however it is made.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hello-early.h"

struct bytes {
	uint8_t data[1024];
	size_t size;
};

static void put(struct bytes *bytes, const void *data, size_t size)
{
	assert_true(size <= sizeof(bytes->data) - bytes->size);
	memcpy(bytes->data + bytes->size, data, size);
	bytes->size += size;
}

static void put16(struct bytes *bytes, unsigned number)
{
	const uint8_t two[] = {(uint8_t)(number >> 8), (uint8_t)number};

	put(bytes, two, sizeof(two));
}

static void put_extension(struct bytes *bytes, unsigned number, const void *data, size_t size)
{
	put16(bytes, number);
	put16(bytes, (unsigned)size);
	put(bytes, data, size);
}

static const uint8_t protocols_data[] = {0,   12,  2,   'h', '2', 8,   'h',
					 't', 't', 'p', '/', '1', '.', '1'};
static const uint8_t groups_data[] = {0, 6, 0, 29, 0, 23, 0, 24};
static const uint8_t shares_data[] = {0, 11, 0, 29, 0, 2, 7, 7, 0, 24, 0, 1, 7};
static const uint8_t modes_data[] = {2, 0, 1};

/* One identity of four bytes, and its binder. */
static void put_key(struct bytes *bytes, size_t binder)
{
	struct bytes key = {.size = 0};
	uint8_t zero[65] = {0x5a}; /* one more than a digest has */

	put16(&key, 10);
	put16(&key, 4);
	put(&key, "abcd\0\0\0\1", 8);
	put16(&key, (unsigned)binder + 1);
	put(&key, (uint8_t[]){(uint8_t)binder}, 1);
	put(&key, zero, binder);
	put_extension(bytes, 41, key.data, key.size);
}

/* RFC 8446, 4.1.2. */
static void put_hello(struct bytes *bytes, size_t binder)
{
	static const uint8_t suites[] = {0, 8, 0x13, 0x03, 0x13, 0x02, 0x13, 0x01, 0xc0, 0x2b};
	struct bytes extensions = {.size = 0};
	uint8_t start[2 + 32] = {3, 3};

	put_extension(&extensions, 16, protocols_data, sizeof(protocols_data));
	put_extension(&extensions, 10, groups_data, sizeof(groups_data));
	put_extension(&extensions, 51, shares_data, sizeof(shares_data));
	put_extension(&extensions, 45, modes_data, sizeof(modes_data));
	put_extension(&extensions, 0x6a6a, "", 0); /* GREASE (RFC 8701) */
	put_extension(&extensions, 42, "", 0);
	put_key(&extensions, binder);
	bytes->size = 0;
	put(bytes, start, sizeof(start));
	put(bytes, "\0", 1);
	put(bytes, suites, sizeof(suites));
	put(bytes, "\1\0", 2);
	put16(bytes, (unsigned)extensions.size);
	put(bytes, extensions.data, extensions.size);
}

/* The message in memory of its exact size, so that a sanitizer sees a byte too many. */
static int read_bytes(const struct bytes *bytes, size_t size, struct hello_early *ret_hello)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);
	gnutls_datum_t message = {copy, (unsigned)size};
	int r;

	assert_non_null(copy);
	memcpy(copy, bytes->data, size);
	r = hello_early_read(&message, ret_hello);
	free(copy);
	return r;
}

static void reads_what_decides(void **state)
{
	struct hello_early hello;
	struct bytes bytes;

	(void)state;
	put_hello(&bytes, 32);
	assert_int_equal(read_bytes(&bytes, bytes.size, &hello), 0);
	assert_true(hello.offered && hello.dhe);
	assert_int_equal(hello.suite_count, 4);
	assert_int_equal(hello.suites[2], 0x1301);
	assert_int_equal(hello.group_count, 3);
	assert_int_equal(hello.groups[1], 23);
	assert_int_equal(hello.share_count, 2);
	assert_int_equal(hello.shares[1], 24);
	assert_int_equal(hello.binder_size, 32);
	assert_int_equal(hello.binder[0], 0x5a);
	assert_int_equal(hello_early_protocol(&hello, "h2"), 0);
	assert_int_equal(hello_early_protocol(&hello, "http/1.1"), 1);
	assert_int_equal(hello_early_protocol(&hello, "http/1."), -1);
	assert_int_equal(hello_early_protocol(&hello, ""), -1);
}

static void reads_nothing_that_is_not_whole(void **state)
{
	struct hello_early hello;
	struct bytes bytes;

	(void)state;
	put_hello(&bytes, 48);
	/* All but the end of the compression methods, where there may be no extensions. */
	for (size_t size = 0; size < bytes.size; size++)
		assert_int_equal(read_bytes(&bytes, size, &hello), size == 47 ? 0 : -EBADMSG);
	put(&bytes, "", 1);
	assert_int_equal(read_bytes(&bytes, bytes.size, &hello), -EBADMSG);
	put_hello(&bytes, 65);
	assert_int_equal(read_bytes(&bytes, bytes.size, &hello), -EBADMSG);
	put_hello(&bytes, 0);
	assert_int_equal(read_bytes(&bytes, bytes.size, &hello), -EBADMSG);
}

static void reads_no_byte_too_many(void **state)
{
	struct hello_early hello;
	struct bytes bytes;

	(void)state;
	put_hello(&bytes, 32);
	for (size_t at = 0; at < bytes.size; at++)
		for (unsigned value = 0; value < 256; value += 15) {
			uint8_t saved = bytes.data[at];

			bytes.data[at] = (uint8_t)value;
			read_bytes(&bytes, bytes.size, &hello);
			bytes.data[at] = saved;
		}
}

static const uint16_t server_groups[] = {24, 29, 23};
static const uint16_t server_suites[] = {0x1301, 0x1302, 0x1303};
static const struct hello_early_choice by_server = {
    .groups = server_groups, .group_count = 3, .suites = server_suites, .suite_count = 3};
static const struct hello_early_choice by_client = {.groups = server_groups,
						    .group_count = 3,
						    .suites = server_suites,
						    .suite_count = 3,
						    .client_order = true};

static void knows_when_another_share_is_asked_for(void **state)
{
	struct hello_early hello = {.groups = {29, 23, 24}, .group_count = 3};

	(void)state;
	assert_false(hello_early_has_share(&hello, &by_server));
	hello.shares[0] = 29;
	hello.share_count = 1;
	assert_false(hello_early_has_share(&hello, &by_server));
	assert_true(hello_early_has_share(&hello, &by_client));
	hello.shares[0] = 24;
	assert_true(hello_early_has_share(&hello, &by_server));
	assert_false(hello_early_has_share(&hello, &by_client));
	/* A finite field is as good as none; nor does a share without its group help. */
	hello = (struct hello_early){
	    .groups = {0x100}, .group_count = 1, .shares = {0x100}, .share_count = 1};
	assert_false(hello_early_has_share(
	    &hello, &(struct hello_early_choice){.groups = (uint16_t[]){0x100}, .group_count = 1}));
	hello = (struct hello_early){.shares = {24}, .share_count = 1};
	assert_false(hello_early_has_share(&hello, &by_server));
}

static void knows_the_suite_of_the_ticket(void **state)
{
	struct hello_early hello = {
	    .suites = {0x1303, 0x1302, 0x1301}, .suite_count = 3, .binder_size = 32};

	(void)state;
	assert_int_equal(hello_early_suite(&hello, &by_server), 0x1301);
	assert_int_equal(hello_early_suite(&hello, &by_client), 0x1303);
	hello.binder_size = 48;
	assert_int_equal(hello_early_suite(&hello, &by_server), 0x1302);
	hello.suite_count = 1;
	assert_int_equal(hello_early_suite(&hello, &by_server), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_decides),
	    cmocka_unit_test(reads_nothing_that_is_not_whole),
	    cmocka_unit_test(reads_no_byte_too_many),
	    cmocka_unit_test(knows_when_another_share_is_asked_for),
	    cmocka_unit_test(knows_the_suite_of_the_ticket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
