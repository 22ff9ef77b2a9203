/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text that stands in HTML or XML as it is, whoever wrote it. */
#ifndef MARKUP_H
#define MARKUP_H

#include <stddef.h>
#include <stdio.h>

/* Writes size bytes of UTF-8 text, or up to a NUL before that, for use between tags and in attributes. What XML
 * cannot say at all (controls: XML 1.0, 2.2) becomes '?'. */
void markup_write(FILE *stream, const char *text, size_t size);

#endif
