// SPDX-License-Identifier: LGPL-2.1-or-later
// Finds keyrings of the kernel, and links them to this process, which alone lets it read keys of others.
// Never makes or changes a key.
#include "keyring.h"

#include <errno.h>
#include <keyutils.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *word;
	key_serial_t serial;
} specials[] = {
    {"@t", KEY_SPEC_THREAD_KEYRING},        {"@p", KEY_SPEC_PROCESS_KEYRING},
    {"@s", KEY_SPEC_SESSION_KEYRING},       {"@u", KEY_SPEC_USER_KEYRING},
    {"@us", KEY_SPEC_USER_SESSION_KEYRING}, {NULL, 0},
};

int keyring_find(const char *what, const char *name, int32_t *ret_serial, struct problem *problem)
{
	const char *description = name;
	key_serial_t ring = 0;
	char *end;
	long number;

	for (size_t i = 0; specials[i].word; i++)
		if (!strcmp(name, specials[i].word)) {
			*ret_serial = specials[i].serial;
			return 0;
		}
	number = strtol(name, &end, 0);
	if (*name >= '0' && *name <= '9' && !*end && number > 0 && number <= INT32_MAX) {
		*ret_serial = (int32_t)number;
		return 0;
	}
	if (!strncmp(name, "%:", 2))
		description = name + 2;
	else if (!strncmp(name, "%keyring:", 9))
		description = name + 9;
	ring = find_key_by_type_and_desc("keyring", description, 0);
	if (ring <= 0)
		return problem_set(problem,
				   "%s \"%s\": there is no such keyring, or the daemon may not see"
				   " it (keyctl show, /proc/keys)",
				   what, name);
	*ret_serial = ring;
	return 0;
}

// "type;uid;gid;permissions;description": only the last may have semicolons in it.
const char *key_describe(int32_t serial, char text[KEY_TEXT_SIZE])
{
	long length = keyctl_describe(serial, text, KEY_TEXT_SIZE);
	char *cursor = text;

	if (length < 0)
		return NULL;
	for (int field = 0; field < 4 && cursor; field++) {
		cursor = length <= KEY_TEXT_SIZE ? strchr(cursor, ';') : NULL;
		if (cursor)
			*cursor++ = '\0';
	}
	if (!cursor)
		errno = EINVAL;
	return cursor;
}

int keyring_name(int32_t serial, char ret_name[KEYRING_NAME_SIZE])
{
	char text[KEY_TEXT_SIZE];
	const char *name = key_describe(serial, text);

	if (!name)
		return -errno;
	if (strcmp(text, "keyring") != 0 || strlen(name) >= KEYRING_NAME_SIZE)
		return -EINVAL;
	memcpy(ret_name, name, strlen(name) + 1);
	return 0;
}

int keyring_links_add(struct keyring_links *links, const char *what, const char *name,
		      struct problem *problem)
{
	int32_t serial = 0, *more = reallocarray(links->serials, links->count + 1, sizeof(*more));

	if (!more)
		return problem_set(problem, "out of memory");
	links->serials = more;
	if (keyring_find(what, name, &serial, problem) < 0)
		return -1;
	// Not of the process: that one is where each request of the kernel leaves its own (upcall-keys.h).
	if (keyctl_link(serial, KEY_SPEC_THREAD_KEYRING) < 0)
		return problem_set(problem, "%s \"%s\" cannot be linked to the daemon: %s", what,
				   name, strerror(errno));
	if (serial < 0)
		serial = keyctl_get_keyring_ID(serial, 0);
	links->serials[links->count++] = serial;
	return 0;
}

void keyring_links_add_known(struct keyring_links *links)
{
	static const char *const known[] = {".nfs", ".nfsd", ".nvme"};
	struct problem ignored = {""};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		keyring_links_add(links, "", known[i], &ignored);
}

static bool links_have(const struct keyring_links *links, int32_t serial)
{
	for (size_t i = 0; i < links->count; i++)
		if (links->serials[i] == serial)
			return true;
	return false;
}

void keyring_links_drop(struct keyring_links *links, const struct keyring_links *kept)
{
	for (size_t i = 0; i < links->count; i++)
		if (!links_have(kept, links->serials[i]))
			keyctl_unlink(links->serials[i], KEY_SPEC_THREAD_KEYRING);
	free(links->serials);
	*links = (struct keyring_links){0};
}
