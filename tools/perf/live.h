/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The line that shows what happens while it does: on a terminal, and nowhere else. */
#ifndef PERF_LIVE_H
#define PERF_LIVE_H

#include <stdbool.h>

/* Before anything is shown. quiet: nothing will be. */
void live_begin(bool quiet);
/* Replaces the line, a few times a second at most; the rest is let go. */
void live_show(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Takes the line away. */
void live_end(void);

#endif
