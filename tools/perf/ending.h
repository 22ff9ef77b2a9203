/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How handshake-perf, the programs of bench/ and their children end when they cannot go on: with one sentence. */
#ifndef PERF_ENDING_H
#define PERF_ENDING_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../tool.h"

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(TOOL_FAILURE);
}

#endif
