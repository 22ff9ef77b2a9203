/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages for the administrator, on standard error, with systemd's "<N>" prefixes where the journal
 * reads them. Never a key, never what a connection carried; names from the network are escaped. */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

void log_set_level(enum config_log_level level);
/* The name of this process in front of each line: "supervisor", "worker 2", "relay 1". */
void log_set_name(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One line each. Control characters and what is not ASCII or UTF-8 come out as \xNN. A line that
 * standard error cannot take at once is dropped, counted, and the count is told later: nobody who
 * reads slowly stops the daemon. errno stays as it was. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For lines that strangers can cause: at most 10 a second for each such object (zeroed at first). */
struct log_rate {
	int64_t second;
	unsigned count;
};
bool log_allowed(struct log_rate *rate);

#endif
