/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A trace to the terminal and to a picture, for the subcommands that have one. */
#ifndef TRACE_SHOW_H
#define TRACE_SHOW_H

#include <stddef.h>
#include <stdio.h>

/* Draws the trace on the stream (NULL: not) and into the SVG file (NULL: not), which is replaced whole. 0,
 * or -1 after it was said on stderr what went wrong; tool is "handshake trace" and the like. */
int trace_show(const char *tool, const char *text, size_t size, FILE *stream, const char *svg);

#endif
