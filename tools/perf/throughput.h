/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What "handshake perf throughput" was asked for, and what came of it. */
#ifndef PERF_THROUGHPUT_H
#define PERF_THROUGHPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cpu.h"
#include "link.h"
#include "stream.h"

enum { THROUGHPUT_LIST_MAX = 12, THROUGHPUT_RUNS_MAX = 101 };

enum throughput_path {
	PATH_PLAIN,    /* TCP, sendfile */
	PATH_GNUTLS,   /* in user space */
	PATH_RELAY,    /* the daemon's relay, write */
	PATH_WRITE,    /* kernel records, write */
	PATH_SENDFILE, /* kernel records, sendfile */
	PATH_ZEROCOPY, /* the same, and the NIC reads the page cache */
	PATH_COUNT,
};
extern const char *const throughput_paths[PATH_COUNT + 1]; /* NULL behind them */
/* Which way the server's end moves the data. */
extern const char *const throughput_directions[3]; /* "down", "up", NULL */

struct throughput_options {
	const char *client, *server;
	bool paths_given;
	enum throughput_path paths[PATH_COUNT];
	unsigned path_count;
	uint64_t sizes[THROUGHPUT_LIST_MAX];
	unsigned size_count;
	unsigned streams[THROUGHPUT_LIST_MAX];
	unsigned streams_count;
	bool up[2];
	unsigned direction_count;
	unsigned runs;
	double seconds, warm_up;
	const char *tls, *key_type, *cipher, *plot;
	bool crossover, discard, json, quiet;
};

struct throughput_run {
	uint64_t bytes; /* of the program's data that arrived */
	double seconds;
	double client_cpu;
	struct cpu_reading server;
	double server_seconds; /* between the server's own two counts, a round trip longer */
	unsigned by_nic;       /* streams whose records a NIC made */
	double calls;          /* of the server's program for each MB that it moved */
	json_t *counters;      /* what moved in /proc/net/tls_stat of the server's end */
};

struct throughput_case {
	enum throughput_path path;
	uint64_t size;
	unsigned streams;
	bool up;
	char cipher[32];
	struct throughput_run *runs;
	unsigned run_count;
};

/* Fills what was not given. 0 or an exit status, told on stderr; *ret_help: the usage was shown. */
int throughput_options_read(struct throughput_options *options, int argc, char **argv,
			    bool *ret_help);

/* The server's end: starts the streams of one case, that come to the listener; which dies with its parent.
 * The parent closes the listener. said: a file for what the streams say last, or -1. */
struct server;
void throughput_serve(const struct server *server, enum throughput_path path, bool up,
		      uint64_t size, unsigned count, int listener, int said,
		      struct streams *streams);

enum throughput_value { VALUE_SPEED, VALUE_SERVER_CPU, VALUE_CLIENT_CPU, VALUE_CALLS };
/* MB/s, CPU seconds for each GB (of 10^9 bytes) at either end, system calls for each MB. */
double throughput_value(const struct throughput_run *run, enum throughput_value value);

/* crossover 0: it was not looked for; SIZE_MAX: there is none. machines and asked are taken; the latter is
 * what was measured of each size that was asked about, an array. */
json_t *throughput_report_json(const struct throughput_options *options,
			       const struct throughput_case *cases, size_t count, json_t *machines,
			       uint64_t crossover, json_t *asked);
void throughput_report_text(FILE *stream, const struct throughput_options *options,
			    const struct throughput_case *cases, size_t count, uint64_t crossover);
int throughput_report_plot(FILE *stream, const struct throughput_options *options,
			   const struct throughput_case *cases, size_t count);

#endif
