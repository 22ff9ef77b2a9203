// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The live display: one line of standard error. Touches nothing else; never costs a measurement more than
 * a few lines a second.
 */
#include "live.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "cpu.h"

#define SHOW_EVERY 0.2 /* seconds */

static bool shown, shows;
static double last;

void live_begin(bool quiet)
{
	shows = !quiet && isatty(STDERR_FILENO);
}

void live_show(const char *format, ...)
{
	va_list arguments;

	if (!shows || clock_seconds() - last < SHOW_EVERY)
		return;
	last = clock_seconds();
	fputs("\r\033[K", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fflush(stderr);
	shown = true;
}

void live_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = false;
}
