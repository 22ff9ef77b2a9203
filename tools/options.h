/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading command lines: values that several subcommands take, and sentences that quote what was
 * wrong. The readers judge form only and print nothing. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handshake.h"

enum { OPTIONS_HOST_SIZE = 256, OPTIONS_PORT_SIZE = 32 };

struct options_problem {
	char text[320]; /* one sentence that quotes the input and says what is wanted */
};

struct options_address {
	char host[OPTIONS_HOST_SIZE]; /* without brackets; "" for all addresses of this machine */
	char port[OPTIONS_PORT_SIZE]; /* decimal, 0 to 65535 */
};

/* HOST:PORT, ADDRESS:PORT, [ADDRESS6]:PORT, :PORT or *:PORT. 0 or -1. */
int options_read_address(const char *text, struct options_address *ret_address,
			 struct options_problem *problem);
/* A whole number from least to most. 0 or -1. */
int options_read_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number,
			struct options_problem *problem);
/* A length of time with its unit, "250ms", "60s", "5min", or bare in the unit_ms given. */
int options_read_time(const char *text, uint64_t unit_ms, uint64_t least_ms, uint64_t most_ms,
		      uint64_t *ret_ms, struct options_problem *problem);
/* "kernel" or "relay". */
int options_read_records(const char *text, enum handshake_records *ret_records,
			 struct options_problem *problem);

/* The next option like getopt_long(3), which is kept silent: an unknown option or a missing value is
 * told on stderr and gives '?'. tool is "handshake serve" and the like. */
int options_next(const char *tool, int argc, char **argv, const struct option *options);
/* Says on stderr what is wrong with the command line. Returns TOOL_USAGE. */
int options_refuse(const char *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
