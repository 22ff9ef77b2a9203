/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What went wrong, in one sentence for a person. The first and most specific problem stays. */
#ifndef PROBLEM_H
#define PROBLEM_H

struct problem {
	char text[640]; /* "" as long as nothing went wrong */
};

/* Sets the text unless there is one already. Returns -1, so that "return problem_set(…)" reads
 * well. */
int problem_set(struct problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
