// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The first look at a request that came as early data. Touches its arguments alone. Never calls safe what
 * the HTTP library might read as something else: what is in doubt is not safe.
 */
#include "serve-early-head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Fields by which a request has content, or asks for more than an answer (RFC 9112, 6; RFC 9110, 7.8). */
static bool field_is_unsafe(const char *line, size_t length)
{
	static const char *const names[] = {
	    "Content-Length",
	    "Transfer-Encoding",
	    "Expect",
	    "Upgrade",
	};
	const char *colon = memchr(line, ':', length);
	size_t name = colon ? (size_t)(colon - line) : length;

	/* No colon, a blank before it, or a line that goes on: the grammar of old. */
	if (!colon || name == 0 || line[0] == ' ' || line[0] == '\t' || line[name - 1] == ' ' ||
	    line[name - 1] == '\t')
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == name && strncasecmp(names[i], line, name) == 0)
			return true;
	return false;
}

/* The end of the line at data, which is "\r\n"; NULL: there is none, or a bare '\r', '\n' or NUL. */
static const char *line_end(const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] == '\r')
			return i + 1 < size && data[i + 1] == '\n' ? data + i : NULL;
		if (data[i] == '\n' || data[i] == '\0')
			return NULL;
	}
	return NULL;
}

bool serve_early_head_is_safe(const char *data, size_t size)
{
	const char *rest = data, *end;
	bool first = true;

	if (size > SERVE_EARLY_HEAD || !((size > 4 && memcmp(data, "GET ", 4) == 0) ||
					 (size > 5 && memcmp(data, "HEAD ", 5) == 0)))
		return false;
	while ((end = line_end(rest, size - (size_t)(rest - data)))) {
		size_t length = (size_t)(end - rest);

		if (length == 0)
			return end + 2 == data + size;
		if (!first && field_is_unsafe(rest, length))
			return false;
		first = false;
		rest = end + 2;
	}
	return false;
}

void serve_early_head_name(const char *data, size_t size, char *ret_method, size_t method_size,
			   char **ret_target)
{
	const char *space, *end;
	size_t length;

	ret_method[0] = '\0';
	*ret_target = NULL;
	space = data ? memchr(data, ' ', size < method_size ? size : method_size) : NULL;
	if (!space || memchr(data, '\0', (size_t)(space - data)))
		return;
	length = (size_t)(space - data);
	if (length == 0 || length >= method_size)
		return;
	memcpy(ret_method, data, length);
	ret_method[length] = '\0';
	end = memchr(space + 1, ' ', size - length - 1);
	if (end)
		*ret_target = strndup(space + 1, (size_t)(end - space - 1));
}
