// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Targets and paths. Touches text alone. Never decides what may be opened: the kernel does, when the
 * path is opened beneath the root.
 */
#include "serve-path.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return -1;
}

/* A server must take the absolute form too (RFC 9112, 3.2.2): the path behind scheme and host. */
static const char *origin_skip(const char *target)
{
	static const char *const schemes[] = {"https://", "http://"};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t length = strlen(schemes[i]);

		if (strncasecmp(target, schemes[i], length) != 0)
			continue;
		target += length;
		target += strcspn(target, "/?");
		return *target == '/' ? target : "/";
	}
	return target;
}

/* Undoes the escapes (RFC 3986, 2.1) up to the query. The length, or -errno. */
static int target_decode(const char *target, char *ret_text, size_t size)
{
	size_t length = 0;

	for (; *target && *target != '?'; target++) {
		int byte = (unsigned char)*target;

		if (byte <= 0x20 || byte == 0x7f || byte == '#')
			return -EINVAL;
		if (byte == '%') {
			int high = hex_digit(target[1]);
			int low = high < 0 ? -1 : hex_digit(target[2]);

			if (low < 0)
				return -EINVAL;
			byte = high << 4 | low;
			/* Neither can be part of a file's name. */
			if (byte == 0 || byte == '/')
				return -ENOENT;
			target += 2;
		}
		if (length + 1 >= size)
			return -ENAMETOOLONG;
		ret_text[length++] = (char)byte;
	}
	ret_text[length] = '\0';
	return (int)length;
}

int serve_path_read(const char *target, struct serve_path *ret_path)
{
	char text[SERVE_PATH_SIZE];
	size_t first, length;
	int r;

	target = origin_skip(target);
	if (*target != '/')
		return -EINVAL;
	r = target_decode(target, text, sizeof(text));
	if (r <= 0)
		return r < 0 ? r : -EINVAL;
	length = (size_t)r;
	ret_path->directory = text[length - 1] == '/';
	while (length && text[length - 1] == '/')
		text[--length] = '\0';
	first = strspn(text, "/");
	if (first == length)
		strcpy(ret_path->text, ".");
	else
		memcpy(ret_path->text, text + first, length - first + 1);
	return 0;
}

int serve_path_link(const char *path, bool directory, char *ret_link, size_t size)
{
	size_t used = 0;

	if (strcmp(path, ".") == 0) {
		path = "";
		directory = false;
	}
	/* The longest step is three bytes, the end needs two. */
	if (size < 6)
		return -ENAMETOOLONG;
	ret_link[used++] = '/';
	for (; *path; path++) {
		unsigned char byte = (unsigned char)*path;

		if (used + 6 > size)
			return -ENAMETOOLONG;
		if (isalnum(byte) || strchr("-._~/", byte))
			ret_link[used++] = (char)byte;
		else
			used += (size_t)snprintf(ret_link + used, size - used, "%%%02X", byte);
	}
	if (directory)
		ret_link[used++] = '/';
	ret_link[used] = '\0';
	return 0;
}
