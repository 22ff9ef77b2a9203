/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages for the administrator, on standard error, with systemd's "<N>" prefixes where the journal
 * reads them. Never a key, never what a connection carried; names from the network are escaped. */
#ifndef LOG_H
#define LOG_H

#include "config.h"

void log_set_level(enum config_log_level level);
/* The name of this process in front of each line: "supervisor", "worker 2", "relay 1". */
void log_set_name(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
