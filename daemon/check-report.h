/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What --check has found; for check*.c alone. */
#ifndef CHECK_REPORT_H
#define CHECK_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "config.h"

enum level { OK, WARNING, ERROR };

struct report {
	FILE *out;
	bool quiet; /* what is right is only counted: there are thousands */
	unsigned counts[3];
};

/* One line of the report. */
void tell(struct report *report, enum level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* [kernel], if it is there. */
void check_consumers(struct report *report, const struct config *config);

#endif
