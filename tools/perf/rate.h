/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What "handshake perf rate" was asked for, and what came of it. */
#ifndef PERF_RATE_H
#define PERF_RATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cpu.h"
#include "load.h"

enum { RATE_LIST_MAX = 8, RATE_RUNS_MAX = 101 };

struct rate_kind {
	const char *name;
	bool resume;
	bool mutual;
	bool post_quantum;
	size_t early_data;
	const char *what;
};
/* NULL: there is none of this name. */
const struct rate_kind *rate_kind_find(const char *name);

struct rate_options {
	const char *target, *client, *server;
	const char *server_name;
	const char *by[RATE_LIST_MAX];
	unsigned by_count;
	const struct rate_kind *kinds[RATE_LIST_MAX];
	unsigned kind_count;
	unsigned at_once[RATE_LIST_MAX];
	unsigned at_once_count;
	unsigned runs, threads, silent;
	double seconds, warm_up, timeout;
	uint64_t handshakes;
	const char *records; /* "auto", "kernel", "relay" */
	unsigned workers;
	const char *tls, *key_type, *cipher; /* "1.3", "ecdsa", "AES-128-GCM" */
	enum load_end end;
	const char *priorities; /* NULL: from the three above */
	const char *certificate, *private_key, *pids, *plot;
	bool json, quiet;
};

/* One run of one case. */
struct rate_run {
	struct load_result load;              /* without its samples */
	double percentiles[PERCENTILE_COUNT]; /* microseconds */
	struct cpu_reading server;            /* count 0: not known */
	json_t *report;                       /* what the server's end told; NULL: nothing */
};

struct rate_case {
	const char *by;
	const struct rate_kind *kind;
	unsigned at_once;
	struct rate_run *runs;
	unsigned run_count;
};

/* Fills what was not given. 0 or an exit status, told on stderr; *ret_help: the usage was shown. */
int rate_options_read(struct rate_options *options, int argc, char **argv, bool *ret_help);

/* The whole as JSON, and as a table for people. */
json_t *rate_report_json(const struct rate_options *options, const struct rate_case *cases,
			 size_t count, json_t *machines);
/* As a drawing. 0, or -1: the stream failed. */
int rate_report_plot(FILE *stream, const struct rate_options *options,
		     const struct rate_case *cases, size_t count);
void rate_report_text(FILE *stream, const struct rate_options *options,
		      const struct rate_case *cases, size_t count);

#endif
