// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A ClientHello read for the sake of its early data. Touches nothing but its arguments; must never read
 * past the message, nor call a hello fit that it could not read to its end.
 */
#include "hello-early.h"

#include <errno.h>
#include <string.h>

enum { /* RFC 8446, 4.2 */
       EXTENSION_SUPPORTED_GROUPS = 10,
       EXTENSION_PROTOCOLS = 16,
       EXTENSION_PRE_SHARED_KEY = 41,
       EXTENSION_EARLY_DATA = 42,
       EXTENSION_PSK_MODES = 45,
       EXTENSION_KEY_SHARE = 51,
       RANDOM_SIZE = 32,
       PSK_DHE_KE = 1, /* 4.2.9 */
       SHA384_SIZE = 48,
};

/* ---- Bytes --------------------------------------------------------------------------------- */

/* What is left to read. Once something was missing, nothing more is there. */
struct cursor {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static uint32_t read_number(struct cursor *cursor, unsigned size)
{
	uint32_t number = 0;

	if (cursor->left < size) {
		cursor->bad = true;
		cursor->left = 0;
		return 0;
	}
	for (unsigned i = 0; i < size; i++)
		number = number << 8 | cursor->at[i];
	cursor->at += size;
	cursor->left -= size;
	return number;
}

/* A vector with its length before it (RFC 8446, 3.4). */
static struct cursor read_vector(struct cursor *cursor, unsigned length_size)
{
	size_t size = read_number(cursor, length_size);
	struct cursor vector = {cursor->at, size, false};

	if (cursor->bad || cursor->left < size) {
		cursor->bad = true;
		cursor->left = 0;
		return (struct cursor){.bad = true};
	}
	cursor->at += size;
	cursor->left -= size;
	return vector;
}

/* Nothing was missing, and nothing is left over. */
static bool is_whole(const struct cursor *cursor)
{
	return !cursor->bad && cursor->left == 0;
}

static bool read_list(struct cursor list, uint16_t *numbers, unsigned most, unsigned *ret_count)
{
	unsigned count = 0;

	while (list.left > 0 && count < most)
		numbers[count++] = (uint16_t)read_number(&list, 2);
	*ret_count = count;
	return is_whole(&list);
}

/* ---- Extensions ---------------------------------------------------------------------------- */

static bool read_shares(struct cursor *data, struct hello_early *hello)
{
	struct cursor shares = read_vector(data, 2);

	while (shares.left > 0 && hello->share_count < HELLO_EARLY_GROUPS) {
		hello->shares[hello->share_count++] = (uint16_t)read_number(&shares, 2);
		read_vector(&shares, 2);
	}
	return is_whole(&shares);
}

static bool read_modes(struct cursor *data, struct hello_early *hello)
{
	struct cursor modes = read_vector(data, 1);

	while (modes.left > 0)
		if (read_number(&modes, 1) == PSK_DHE_KE)
			hello->dhe = true;
	return is_whole(&modes);
}

/* RFC 8446, 4.2.11: identities, then as many binders. */
static bool read_keys(struct cursor *data, struct hello_early *hello)
{
	struct cursor identities = read_vector(data, 2);
	struct cursor binders = read_vector(data, 2);
	struct cursor first;

	if (identities.left == 0)
		return false;
	read_vector(&identities, 2);
	read_number(&identities, 4); /* the ticket's age */
	first = read_vector(&binders, 1);
	if (identities.bad || binders.bad || first.left == 0 || first.left > sizeof(hello->binder))
		return false;
	memcpy(hello->binder, first.at, first.left);
	hello->binder_size = (unsigned)first.left;
	return true;
}

static bool read_protocols(struct cursor *data, struct hello_early *hello)
{
	struct cursor list = read_vector(data, 2);
	struct cursor each = list;

	if (list.bad || list.left == 0 || list.left > sizeof(hello->protocols))
		return false;
	while (each.left > 0)
		if (read_vector(&each, 1).left == 0)
			return false;
	memcpy(hello->protocols, list.at, list.left);
	hello->protocols_size = (unsigned)list.left;
	return is_whole(&each);
}

static bool read_extension(unsigned number, struct cursor data, struct hello_early *hello)
{
	switch (number) {
	case EXTENSION_SUPPORTED_GROUPS:
		return read_list(read_vector(&data, 2), hello->groups, HELLO_EARLY_GROUPS,
				 &hello->group_count) &&
		       is_whole(&data);
	case EXTENSION_PROTOCOLS:
		return read_protocols(&data, hello) && is_whole(&data);
	case EXTENSION_KEY_SHARE:
		return read_shares(&data, hello) && is_whole(&data);
	case EXTENSION_PSK_MODES:
		return read_modes(&data, hello) && is_whole(&data);
	case EXTENSION_PRE_SHARED_KEY:
		return read_keys(&data, hello) && is_whole(&data);
	case EXTENSION_EARLY_DATA:
		hello->offered = true;
		return is_whole(&data);
	default:
		return true;
	}
}

static bool read_extensions(struct cursor extensions, struct hello_early *hello)
{
	uint64_t seen = 0; /* all that matter are below 64 */

	while (extensions.left > 0) {
		unsigned number = read_number(&extensions, 2);
		struct cursor data = read_vector(&extensions, 2);

		if (data.bad || (number < 64 && (seen & UINT64_C(1) << number) != 0) ||
		    !read_extension(number, data, hello))
			return false;
		if (number < 64)
			seen |= UINT64_C(1) << number;
		/* It must be the last one: its binder is over what stands before it. */
		if (number == EXTENSION_PRE_SHARED_KEY && extensions.left > 0)
			return false;
	}
	return is_whole(&extensions);
}

int hello_early_read(const gnutls_datum_t *message, struct hello_early *ret_hello)
{
	struct cursor cursor = {message->data, message->size, false};
	struct hello_early hello;

	memset(&hello, 0, sizeof(hello));
	read_number(&cursor, 2); /* legacy_version */
	for (unsigned i = 0; i < RANDOM_SIZE / 4; i++)
		read_number(&cursor, 4);
	read_vector(&cursor, 1); /* legacy_session_id */
	if (!read_list(read_vector(&cursor, 2), hello.suites, HELLO_EARLY_SUITES,
		       &hello.suite_count))
		return -EBADMSG;
	read_vector(&cursor, 1); /* legacy_compression_methods */
	/* Before TLS 1.3 there may be none at all. */
	if (cursor.left > 0 && !read_extensions(read_vector(&cursor, 2), &hello))
		return -EBADMSG;
	if (!is_whole(&cursor))
		return -EBADMSG;
	*ret_hello = hello;
	return 0;
}

/* ---- Choices ------------------------------------------------------------------------------- */

static bool has(const uint16_t *list, unsigned count, uint16_t number)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i] == number)
			return true;
	return false;
}

/* The first of one list that the other has too; 0: none. */
static uint16_t first_common(const uint16_t *list, unsigned count, const uint16_t *other,
			     unsigned other_count)
{
	for (unsigned i = 0; i < count; i++)
		if (has(other, other_count, list[i]))
			return list[i];
	return 0;
}

bool hello_early_has_share(const struct hello_early *hello, const struct hello_early_choice *choice)
{
	uint16_t group = choice->client_order ? first_common(hello->groups, hello->group_count,
							     choice->groups, choice->group_count)
					      : first_common(choice->groups, choice->group_count,
							     hello->groups, hello->group_count);

	/* The library may still find a finite field (0x01xx) too small, and choose another group. */
	return group != 0 && group >> 8 != 1 && has(hello->shares, hello->share_count, group);
}

uint16_t hello_early_suite(const struct hello_early *hello, const struct hello_early_choice *choice)
{
	const uint16_t *list = choice->client_order ? hello->suites : choice->suites;
	unsigned count = choice->client_order ? hello->suite_count : choice->suite_count;
	const uint16_t *other = choice->client_order ? choice->suites : hello->suites;
	unsigned other_count = choice->client_order ? choice->suite_count : hello->suite_count;
	bool long_hash = hello->binder_size == SHA384_SIZE;

	for (unsigned i = 0; i < count; i++)
		/* TLS_AES_256_GCM_SHA384 is the only one with that hash. */
		if ((list[i] == 0x1302) == long_hash && has(other, other_count, list[i]))
			return list[i];
	return 0;
}

int hello_early_protocol(const struct hello_early *hello, const char *protocol)
{
	size_t length = strlen(protocol);
	int position = 0;

	for (unsigned at = 0; at < hello->protocols_size; at += 1u + hello->protocols[at]) {
		if (hello->protocols[at] == length &&
		    memcmp(hello->protocols + at + 1, protocol, length) == 0)
			return position;
		position++;
	}
	return -1;
}
