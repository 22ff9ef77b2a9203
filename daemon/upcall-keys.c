// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads pre-shared keys from the kernel's keyrings for one request. Touches the process keyring, where the
// kernel links what the request brings; never makes, changes or shows a key.
#include "upcall-keys.h"

#include <errno.h>
#include <keyutils.h>
#include <stdlib.h>
#include <string.h>

#include "keyring.h"
#include "log.h"

#define DEFAULT_RING ".nvme"

enum { RINGS_MAX = 16 };

bool upcall_keys_may_retry(int error)
{
	return error == ENOMEM || error == ENOSPC || error == EMFILE || error == ENFILE ||
	       error == EAGAIN || error == EINTR;
}

void upcall_keys_forget(void)
{
	keyctl_clear(KEY_SPEC_PROCESS_KEYRING);
}

// 0 or -errno with a sentence.
static int key_add(struct consumer_keys *keys, key_serial_t serial, const char *identity,
		   struct problem *problem)
{
	unsigned char bytes[CONSUMER_KEY_MAX];
	struct consumer_key key = {
	    .serial = serial,
	    .identity = (const unsigned char *)identity,
	    .identity_size = strlen(identity),
	    .key = bytes,
	};
	long size = keyctl_read(serial, (char *)bytes, sizeof(bytes));
	int error;

	if (size < 0) {
		error = -errno;
		problem_set(problem, "its key %d (\"%.200s\") cannot be read: %s", serial, identity,
			    strerror(-error));
		return error;
	}
	key.key_size = (size_t)size;
	error = consumer_keys_add(keys, &key);
	explicit_bzero(bytes, sizeof(bytes));
	if (error == -EINVAL)
		problem_set(problem, "its key %d (\"%.200s\") has %ld bytes; %d to %d are needed",
			    serial, identity, size, CONSUMER_KEY_MIN, CONSUMER_KEY_MAX);
	else if (error == -E2BIG)
		problem_set(problem, "its keyring has more than %d keys", CONSUMER_KEYS_MAX);
	else if (error < 0)
		problem_set(problem, "out of memory");
	return error;
}

// ---- A client's ----

static int named_read(const struct upcall_request *request, struct consumer_keys *keys,
		      bool *ret_retry, struct problem *problem)
{
	char text[KEY_TEXT_SIZE];
	bool sha384;
	int error;

	if (!request->identity_count)
		return problem_set(problem, "it names no key");
	for (unsigned i = 0; i < request->identity_count; i++) {
		key_serial_t serial = request->identities[i];
		const char *identity = key_describe(serial, text);

		if (!identity) {
			*ret_retry = upcall_keys_may_retry(errno);
			return problem_set(problem, "its key %d cannot be looked at: %s", serial,
					   strerror(errno));
		}
		if (strcmp(text, "psk") != 0)
			return problem_set(problem,
					   "its key %d (\"%.200s\") is of the type %s, and psk is"
					   " needed",
					   serial, identity, text);
		if (!consumer_key_is_nvme(identity, strlen(identity), &sha384))
			return problem_set(problem,
					   "its key %d (\"%.200s\") has no identity of NVMe/TCP"
					   " (NVMe1R01 HOST SUBSYSTEM DIGEST)",
					   serial, identity);
		error = key_add(keys, serial, identity, problem);
		*ret_retry = upcall_keys_may_retry(-error);
		if (error < 0)
			return -1;
	}
	return 0;
}

// ---- A server's ----

// One key of a ring, if it is of use. 0 or -errno with a sentence.
static int member_read(key_serial_t serial, struct consumer_keys *keys, struct problem *problem)
{
	char text[KEY_TEXT_SIZE];
	const char *identity = key_describe(serial, text);
	struct problem one = {""};
	bool sha384;
	int error;

	if (!identity && upcall_keys_may_retry(errno)) {
		error = -errno;
		problem_set(problem, "its key %d cannot be looked at: %s", serial,
			    strerror(-error));
		return error;
	}
	if (!identity || strcmp(text, "psk") != 0 ||
	    !consumer_key_is_nvme(identity, strlen(identity), &sha384))
		return 0;
	error = key_add(keys, serial, identity, &one);
	if (error == 0)
		return 0;
	if (error == -E2BIG || upcall_keys_may_retry(-error)) {
		problem_set(problem, "%s", one.text);
		return error;
	}
	// One that has expired does not keep others from being served.
	log_debug("a request of the kernel: %s", one.text);
	return 0;
}

static int ring_read(key_serial_t ring, struct consumer_keys *keys, bool *ret_retry,
		     struct problem *problem)
{
	void *list = NULL;
	long size = keyctl_read_alloc(ring, &list);
	int error = 0;

	if (size < 0) {
		*ret_retry = upcall_keys_may_retry(errno);
		return problem_set(problem, "its keyring %d cannot be read: %s", ring,
				   strerror(errno));
	}
	for (long at = 0; error == 0 && at + (long)sizeof(key_serial_t) <= size;
	     at += (long)sizeof(key_serial_t)) {
		key_serial_t serial;

		memcpy(&serial, (char *)list + at, sizeof(serial));
		error = member_read(serial, keys, problem);
	}
	free(list);
	*ret_retry = upcall_keys_may_retry(-error);
	return error < 0 ? -1 : 0;
}

static int default_link(bool *ret_retry, struct problem *problem)
{
	key_serial_t ring = find_key_by_type_and_desc("keyring", DEFAULT_RING, 0);

	if (ring <= 0)
		return problem_set(problem, "it brings no keyring, and there is no " DEFAULT_RING);
	if (keyctl_link(ring, KEY_SPEC_PROCESS_KEYRING) < 0) {
		*ret_retry = upcall_keys_may_retry(errno);
		return problem_set(problem, "the keyring " DEFAULT_RING " cannot be used: %s",
				   strerror(errno));
	}
	return 0;
}

// Those that are linked in the process keyring.
static int rings_find(key_serial_t rings[RINGS_MAX], bool *ret_retry, struct problem *problem)
{
	key_serial_t serials[RINGS_MAX];
	long size = keyctl_read(KEY_SPEC_PROCESS_KEYRING, (char *)serials, sizeof(serials));
	char text[KEY_TEXT_SIZE];
	int count = 0;

	if (size < 0 && errno != ENOKEY) {
		*ret_retry = upcall_keys_may_retry(errno);
		return problem_set(problem, "the process keyring cannot be read: %s",
				   strerror(errno));
	}
	for (long i = 0; i < RINGS_MAX && (i + 1) * (long)sizeof(*serials) <= size; i++) {
		if (key_describe(serials[i], text)) {
			if (!strcmp(text, "keyring"))
				rings[count++] = serials[i];
		} else if (upcall_keys_may_retry(errno)) {
			// It may be the one that was brought: others must not stand in for it.
			*ret_retry = true;
			return problem_set(problem, "its key %d cannot be looked at: %s",
					   serials[i], strerror(errno));
		}
	}
	return count;
}

static int rings_read(struct consumer_keys *keys, bool *ret_retry, struct problem *problem)
{
	key_serial_t rings[RINGS_MAX] = {0};
	int count = rings_find(rings, ret_retry, problem);

	if (count == 0)
		count = default_link(ret_retry, problem) < 0
			    ? -1
			    : rings_find(rings, ret_retry, problem);
	if (count < 0)
		return -1;
	for (int i = 0; i < count; i++)
		if (ring_read(rings[i], keys, ret_retry, problem) < 0)
			return -1;
	return 0;
}

int upcall_keys_read(const struct upcall_request *request, struct consumer_keys **ret_keys,
		     bool *ret_retry, struct problem *problem)
{
	struct consumer_keys *keys = consumer_keys_new();
	int r;

	*ret_retry = !keys;
	if (!keys)
		return problem_set(problem, "out of memory");
	if (!request->is_server)
		r = named_read(request, keys, ret_retry, problem);
	else if (request->keyring != 0)
		r = ring_read(request->keyring, keys, ret_retry, problem);
	else
		r = rings_read(keys, ret_retry, problem);
	if (r == 0)
		*ret_keys = keys;
	else
		consumer_keys_free(keys);
	return r;
}
