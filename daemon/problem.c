// SPDX-License-Identifier: LGPL-2.1-or-later
// One sentence about what went wrong. Touches nothing but the object; never logs, never replaces
// the first problem by a later one.
#include "problem.h"

#include <stdarg.h>
#include <stdio.h>

int problem_set(struct problem *problem, const char *format, ...)
{
	va_list arguments;

	if (problem->text[0])
		return -1;
	va_start(arguments, format);
	vsnprintf(problem->text, sizeof(problem->text), format, arguments);
	va_end(arguments);
	return -1;
}
