/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program itself, kept open so that what it executes anew is always of its own version. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>

#include "problem.h"

/* Once, before anything else here. 0 or -1 with a problem. */
int program_remember(struct problem *problem);
bool program_remembered(void);
/* The descriptor, for child_start() to keep; -1: it is not remembered. */
int program_descriptor(void);
/* Executes it with these arguments in place of this process; fds become descriptors 3, 4, …. Returns only
 * if that fails, with errno. */
void program_execute(char *const *arguments, const int *fds, int count);
/* For messages. */
const char *program_path(void);

#endif
