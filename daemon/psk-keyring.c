// SPDX-License-Identifier: LGPL-2.1-or-later
// Pre-shared keys from a keyring of the kernel: a key's description is its identity. Reads them; never
// makes, changes or links a key.
#include <errno.h>
#include <keyutils.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keyring.h"
#include "psk.h"

static int key_take(struct psk *psk, const char *ring, key_serial_t serial, struct problem *problem)
{
	char text[KEY_TEXT_SIZE], source[400];
	const char *identity = key_describe(serial, text);
	void *key = NULL;
	int error = -1;
	long size;

	if (!identity)
		return problem_set(problem,
				   "psk-keyring \"%s\": the key %d cannot be looked at: %s", ring,
				   serial, strerror(errno));
	snprintf(source, sizeof(source), "psk-keyring \"%.300s\", key %d", ring, serial);
	if (!strcmp(text, "logon")) {
		problem_set(
		    problem,
		    "%s (\"%.120s\") is of the type logon, which no program can read; add it"
		    " with the type user",
		    source, identity);
	} else if (strcmp(text, "user") != 0 && strcmp(text, "psk") != 0) {
		error = 0; // Other things may lie in the same ring.
	} else if ((size = keyctl_read_alloc(serial, &key)) < 0) {
		problem_set(problem, "%s (\"%.120s\") cannot be read: %s", source, identity,
			    strerror(errno));
	} else {
		error =
		    psk_add(psk, source, identity, strlen(identity), key, (size_t)size, problem);
		explicit_bzero(key, (size_t)size);
	}
	free(key);
	return error;
}

int psk_keyring_read(struct psk *psk, const char *name, struct problem *problem)
{
	size_t before = psk_count(psk);
	key_serial_t ring = 0;
	void *list = NULL;
	long size;
	int error = 0;

	if (keyring_find("psk-keyring", name, &ring, problem) < 0)
		return -1;
	size = keyctl_read_alloc(ring, &list);
	if (size < 0)
		return problem_set(problem, "psk-keyring \"%s\" cannot be read: %s", name,
				   errno == ENOKEY ? "there is no such keyring" : strerror(errno));
	for (long i = 0; error == 0 && i + (long)sizeof(key_serial_t) <= size;
	     i += (long)sizeof(key_serial_t)) {
		key_serial_t serial;

		memcpy(&serial, (char *)list + i, sizeof(serial));
		error = key_take(psk, name, serial, problem);
	}
	free(list);
	if (error == 0 && psk_count(psk) == before)
		error = problem_set(problem,
				    "psk-keyring \"%s\" has no key of the type user or psk in it;"
				    " keyctl padd user IDENTITY adds one",
				    name);
	return error;
}
