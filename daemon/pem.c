// SPDX-License-Identifier: LGPL-2.1-or-later
// Finds the blocks of PEM text. Looks only; decoding is GnuTLS's business.
#include "pem.h"

#include <stdio.h>
#include <string.h>

#define BEGIN "-----BEGIN "
#define END   "-----END "

static unsigned lines_between(const char *from, const char *to)
{
	unsigned lines = 0;

	for (; from < to; from++)
		lines += *from == '\n';
	return lines;
}

// The next line that begins with mark.
static const char *line_find(const char *text, const char *mark)
{
	const char *found = text;

	while ((found = strstr(found, mark))) {
		if (found == text || found[-1] == '\n')
			return found;
		found++;
	}
	return NULL;
}

int pem_next(struct pem_reader *reader, struct pem_block *ret_block)
{
	const char *begin = line_find(reader->position, BEGIN), *end, *next, *stop;

	if (!begin)
		return 0;
	memset(ret_block, 0, sizeof(*ret_block));
	ret_block->line = reader->line + lines_between(reader->position, begin);
	snprintf(ret_block->label, sizeof(ret_block->label), "%.*s",
		 (int)strcspn(begin + strlen(BEGIN), "-\r\n"), begin + strlen(BEGIN));
	end = line_find(begin + 1, END);
	next = line_find(begin + 1, BEGIN);
	if (!end || (next && next < end))
		return -1;
	stop = end + strcspn(end, "\n");
	ret_block->text.data = (unsigned char *)begin;
	ret_block->text.size = (unsigned)(stop - begin);
	reader->line = ret_block->line + lines_between(begin, stop);
	reader->position = stop;
	return 1;
}
