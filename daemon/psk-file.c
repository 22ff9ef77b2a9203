// SPDX-License-Identifier: LGPL-2.1-or-later
// Pre-shared keys from a file as psktool writes it: identity:hexadecimal key, one in each line. Opens
// that file; never shows a key, nor the line that it stands in.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "psk.h"

enum { FILE_MAX = 32 << 20 };

// As with private keys: who may read the file can be anyone it knows.
static int permissions_check(const char *path, const struct stat *status, struct problem *problem)
{
	if (status->st_mode & (S_IRWXO | S_IWGRP))
		return problem_set(
		    problem,
		    "psk-file \"%s\": others than its owner may %s (mode %04o); chmod"
		    " 600 it%s",
		    path, status->st_mode & S_IRWXO ? "use it" : "write to it",
		    (unsigned)status->st_mode & 07777,
		    status->st_mode & S_IRWXO ? ", and replace the keys if others had access" : "");
	if (status->st_uid != 0 && status->st_uid != geteuid())
		return problem_set(
		    problem,
		    "psk-file \"%s\" belongs to user %u, who can replace it; chown it"
		    " to root or to the user that starts the daemon (%u)",
		    path, (unsigned)status->st_uid, (unsigned)geteuid());
	return 0;
}

static int nibble(char c)
{
	const char *digits = "0123456789abcdef0123456789ABCDEF",
		   *found = c ? strchr(digits, c) : NULL;

	return found ? (int)((found - digits) % 16) : -1;
}

static int key_read(const char *source, const char *digits, size_t length, unsigned char *key,
		    struct problem *problem)
{
	if (length % 2)
		return problem_set(
		    problem,
		    "%s: the key has %zu hexadecimal digits, an odd number; two make a"
		    " byte",
		    source, length);
	if (length / 2 > PSK_KEY_MAX)
		return problem_set(problem, "%s: the key has %zu bytes; at most %d are taken",
				   source, length / 2, PSK_KEY_MAX);
	for (size_t i = 0; i < length; i += 2) {
		int high = nibble(digits[i]), low = nibble(digits[i + 1]);

		if (high < 0 || low < 0)
			return problem_set(problem,
					   "%s: the key is not written in hexadecimal digits (the"
					   " first other sign is digit %zu)",
					   source, i + (high < 0 ? 1 : 2));
		key[i / 2] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

static int line_read(struct psk *psk, const char *source, char *line, size_t length,
		     struct problem *problem)
{
	unsigned char key[PSK_KEY_MAX];
	struct psk_identity identity;
	char *colon;
	int error;

	if (strlen(line) != length)
		return problem_set(problem, "%s: there is a NUL byte in the line", source);
	// An identity may have colons itself (NVMe's have), a key none.
	colon = strrchr(line, ':');
	if (!colon)
		return problem_set(
		    problem,
		    "%s: the line has no \":\"; identity:hexadecimal key is expected,"
		    " as psktool writes",
		    source);
	*colon = '\0';
	if (psk_identity_read(line, &identity) < 0)
		return problem_set(problem,
				   "%s: the identity \"%.80s\" is not possible: 1 to %d bytes, or"
				   " \"#\" and their hexadecimal digits",
				   source, line, PSK_IDENTITY_MAX);
	error = key_read(source, colon + 1, length - (size_t)(colon + 1 - line), key, problem);
	if (error == 0)
		error = psk_add(psk, source, identity.bytes, identity.size, key,
				(length - (size_t)(colon + 1 - line)) / 2, problem);
	explicit_bzero(key, sizeof(key));
	return error;
}

static int lines_read(struct psk *psk, const char *path, struct file *file, struct problem *problem)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	char *line = file->data, *end = file->data + file->size;
	char source[400];
	unsigned number = 0;

	while (line < end) {
		char *next = memchr(line, '\n', (size_t)(end - line));
		size_t length = (size_t)((next ? next : end) - line);

		number++;
		line[length] = '\0'; // there is one byte behind the file's last
		if (length && line[length - 1] == '\r')
			line[--length] = '\0';
		snprintf(source, sizeof(source), "psk-file \"%.300s\", line %u", name, number);
		if (length && line_read(psk, source, line, length, problem) < 0)
			return -1;
		line = next ? next + 1 : end;
	}
	return 0;
}

int psk_file_read(struct psk *psk, const char *path, struct problem *problem)
{
	size_t before = psk_count(psk);
	struct file file;
	int error;

	if (file_read(path, "psk-file", FILE_MAX, &file, problem) < 0)
		return -1;
	error = permissions_check(path, &file.status, problem);
	if (error == 0)
		error = lines_read(psk, path, &file, problem);
	if (error == 0 && psk_count(psk) == before)
		error = problem_set(problem, "psk-file \"%s\" has no key in it; psktool makes one",
				    path);
	file_done(&file);
	return error;
}
