// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake perf throughput": runs each case in turns, then looks for the size from which kernel records
 * pay. Touches the network through streams of its own; never counts before all of them move.
 */
#include "throughput.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crossover.h"
#include "ending.h"
#include "live.h"
#include "machine.h"
#include "perf.h"
#include "reach.h"
#include "server.h"
#include "statistics.h"
#include "tcp.h"

enum {
	ANSWER_TIMEOUT = 60, /* seconds */
	ACTIVE_TIMEOUT = 60,
	CROSSOVER_RUNS = 3,
};
#define CROSSOVER_LEAST ((uint64_t)1 << 10)
#define CROSSOVER_MOST  ((uint64_t)1 << 26)

struct measurement {
	const struct throughput_options *options;
	struct throughput_case *cases;
	size_t case_count;
	struct reach reach;
	json_t *machines;
	json_t *asked;  /* what the search for the crossover has measured */
	double seconds; /* of a run */
};

/* ---- The client's end ---------------------------------------------------------------------- */

static void client_run(const struct measurement *measurement, const struct throughput_case *which,
		       struct stream_counter *counter)
{
	const struct throughput_options *options = measurement->options;
	const struct reach *reach = &measurement->reach;
	struct stream stream = {.way = STREAM_GNUTLS, .counter = counter};
	char priorities[512];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	stream.fd = tcp_connect_soon((const struct sockaddr *)&reach->address, reach->address_size);
	if (stream.fd < 0)
		die("a stream cannot connect to %s, which the server's end has opened for it: %s",
		    reach->text, strerror(errno));
	if (which->path == PATH_PLAIN) {
		stream.way = options->discard ? STREAM_DISCARD : STREAM_WRITE;
	} else {
		priorities_write(priorities, sizeof(priorities), options->tls, options->cipher,
				 GROUP_CLASSICAL);
		stream_protect(&stream, priorities, NULL, NULL);
	}
	if (which->path != PATH_PLAIN && options->discard && !which->up)
		stream.way = STREAM_DISCARD;
	counter->bytes = counter->calls = 0;
	if (which->up)
		stream_send(&stream, which->size);
	else
		stream_receive(&stream, which->size);
	exit(TOOL_OK);
}

static void client_start(const struct measurement *measurement, const struct throughput_case *which,
			 struct streams *streams)
{
	fflush(stdout);
	streams_begin(streams, which->streams);
	for (unsigned i = 0; i < which->streams; i++) {
		streams->pids[i] = fork();
		if (streams->pids[i] == 0)
			client_run(measurement, which, &streams->counters[i]);
		if (streams->pids[i] < 0)
			die("cannot start a process: %s", strerror(errno));
	}
}

/* ---- One run ------------------------------------------------------------------------------- */

static void pass(double seconds)
{
	nanosleep(&(struct timespec){.tv_sec = (time_t)seconds,
				     .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)},
		  NULL);
}

static json_t *mark(struct measurement *measurement, const char *word)
{
	return link_ask(&measurement->reach.link, json_pack("{s:s}", "do", word), ANSWER_TIMEOUT);
}

/* The server's end may know why: then that is the sentence. */
__attribute__((noreturn)) static void streams_fail(struct measurement *measurement,
						   const char *sentence)
{
	json_decref(mark(measurement, "count"));
	die("%s", sentence);
}

static double client_cpu(struct measurement *measurement, const struct streams *streams)
{
	double sum = 0;

	for (unsigned i = 0; i < streams->count; i++) {
		double seconds = cpu_process(streams->pids[i]);

		if (seconds < 0 || waitpid(streams->pids[i], NULL, WNOHANG) != 0)
			streams_fail(measurement, "a stream has ended before it was measured");
		sum += seconds;
	}
	return sum;
}

static void wait_active(struct measurement *measurement, const struct streams *streams)
{
	double began = clock_seconds();
	char sentence[128];

	while (streams_active(streams) < streams->count ||
	       clock_seconds() - began < measurement->options->warm_up) {
		link_look(&measurement->reach.link);
		client_cpu(measurement, streams); /* they are there */
		if (clock_seconds() - began > ACTIVE_TIMEOUT) {
			snprintf(sentence, sizeof(sentence),
				 "only %u of %u streams moved anything in %d seconds",
				 streams_active(streams), streams->count, ACTIVE_TIMEOUT);
			streams_fail(measurement, sentence);
		}
		pass(0.005);
	}
}

static json_int_t difference(const json_t *first, const json_t *last, const char *key)
{
	return json_integer_value(json_object_get(last, key)) -
	       json_integer_value(json_object_get(first, key));
}

static void show(const struct throughput_case *which, unsigned run, uint64_t bytes, double seconds)
{
	live_show("%s, %s, %llu bytes, %u stream%s, run %u: %.1f MB/s",
		  throughput_paths[which->path], throughput_directions[which->up],
		  (unsigned long long)which->size, which->streams, which->streams == 1 ? "" : "s",
		  run, seconds > 0 ? (double)bytes / seconds / 1e6 : 0.0);
}

/* What the server's end counted between the two marks. */
static void run_take(const struct throughput_options *options, const struct throughput_case *which,
		     const json_t *first, const json_t *last, const json_t *before,
		     struct throughput_run *run)
{
	uint64_t moved = (uint64_t)difference(first, last, "bytes");

	run->server_seconds = json_real_value(json_object_get(last, "clock")) -
			      json_real_value(json_object_get(first, "clock"));
	/* Where nobody opens what arrives, the program's data are what the server sent. */
	if (options->discard && !which->up) {
		run->bytes = moved;
		run->seconds = run->server_seconds;
	}
	cpu_reading_difference(json_object_get(first, "cpu"), json_object_get(last, "cpu"),
			       &run->server);
	run->calls = moved ? (double)difference(first, last, "calls") / ((double)moved / 1e6) : 0;
	run->by_nic = (unsigned)json_integer_value(json_object_get(last, "by-nic"));
	run->counters = machine_tls_difference(before, json_object_get(last, "tls-counters"));
	if (!run->bytes || run->server_seconds <= 0)
		die("%s: nothing arrived", throughput_paths[which->path]);
}

/* The daemon has said of each stream that a NIC has it; the kernel's counters must say so too. */
static void zero_copy_judge(const struct throughput_case *which, const struct throughput_run *run)
{
	json_int_t device = json_integer_value(json_object_get(run->counters, "TlsTxDevice"));

	if (which->path == PATH_ZEROCOPY && device < (json_int_t)which->streams)
		die("kernel-zerocopy: the server's kernel counts %lld of %u streams that a NIC "
		    "encrypts (TlsTxDevice)",
		    (long long)device, which->streams);
}

/* before: the kernel's counters from before the connections were there. */
static void run_count(struct measurement *measurement, const struct throughput_case *which,
		      unsigned number, const struct streams *streams, const json_t *before,
		      struct throughput_run *run)
{
	json_t *first = mark(measurement, "count"), *last;
	double began = clock_seconds(), cpu = client_cpu(measurement, streams);
	uint64_t bytes, calls, now;

	streams_read(streams, &bytes, &calls);
	while (clock_seconds() - began < measurement->seconds) {
		double left = measurement->seconds - (clock_seconds() - began);

		pass(left < 0.1 ? left : 0.1);
		link_look(&measurement->reach.link);
		streams_read(streams, &now, &calls);
		show(which, number, now - bytes, clock_seconds() - began);
	}
	streams_read(streams, &now, &calls);
	run->seconds = clock_seconds() - began;
	run->bytes = now - bytes;
	run->client_cpu = client_cpu(measurement, streams) - cpu;
	last = mark(measurement, "counted");
	run_take(measurement->options, which, first, last, before, run);
	zero_copy_judge(which, run);
	json_decref(first);
	json_decref(last);
}

/* Run 0 does not count. */
static void case_run(struct measurement *measurement, struct throughput_case *which,
		     unsigned number)
{
	struct throughput_run run = {.bytes = 0};
	struct streams streams;
	json_t *answer = link_ask(
	    &measurement->reach.link,
	    json_pack("{s:s, s:s, s:s, s:I, s:i}", "do", "throughput", "path",
		      throughput_paths[which->path], "direction", throughput_directions[which->up],
		      "size", (json_int_t)which->size, "streams", (int)which->streams),
	    ANSWER_TIMEOUT);

	reach_port(&measurement->reach,
		   (unsigned)json_integer_value(json_object_get(answer, "port")));
	client_start(measurement, which, &streams);
	wait_active(measurement, &streams);
	run_count(measurement, which, number, &streams, json_object_get(answer, "tls-counters"),
		  &run);
	json_decref(answer);
	streams_end(&streams);
	live_end();
	if (number > 0)
		which->runs[which->run_count++] = run;
	else
		json_decref(run.counters);
}

/* ---- The crossover ------------------------------------------------------------------------- */

/* Does the kernel's way take less of the server's CPU time for each byte than GnuTLS does? */
static bool kernel_pays(void *context, uint64_t size)
{
	struct measurement *measurement = context;
	double medians[2];
	static const enum throughput_path paths[] = {PATH_GNUTLS, PATH_SENDFILE};

	for (int i = 0; i < 2; i++) {
		struct throughput_run runs[CROSSOVER_RUNS];
		double costs[CROSSOVER_RUNS];
		struct throughput_case which = {
		    .path = paths[i], .size = size, .streams = 1, .runs = runs};

		for (unsigned run = 1; run <= CROSSOVER_RUNS; run++)
			case_run(measurement, &which, run);
		for (unsigned run = 0; run < CROSSOVER_RUNS; run++) {
			costs[run] = throughput_value(&runs[run], VALUE_SERVER_CPU);
			json_decref(runs[run].counters);
		}
		medians[i] = spread_of(costs, CROSSOVER_RUNS).median;
	}
	json_array_append_new(measurement->asked,
			      json_pack("{s:I, s:f, s:f}", "size", (json_int_t)size,
					throughput_paths[paths[0]], medians[0],
					throughput_paths[paths[1]], medians[1]));
	return medians[1] < medians[0];
}

/* ---- All of it ----------------------------------------------------------------------------- */

static bool kernel_can(const struct measurement *measurement)
{
	return json_is_true(
	    json_object_get(json_object_get(measurement->machines, "server"), "kernel-tls"));
}

/* What was not said, from what the server's end has. */
static void paths_choose(const struct measurement *measurement, struct throughput_options *options)
{
	static const enum throughput_path without[] = {PATH_PLAIN, PATH_GNUTLS, PATH_RELAY};
	static const enum throughput_path with[] = {PATH_PLAIN, PATH_GNUTLS, PATH_RELAY, PATH_WRITE,
						    PATH_SENDFILE};

	if (options->paths_given)
		return;
	options->path_count = kernel_can(measurement) ? 5 : 3;
	memcpy(options->paths, kernel_can(measurement) ? with : without,
	       options->path_count * sizeof(options->paths[0]));
}

static void case_add(struct measurement *measurement, const struct throughput_case *which)
{
	struct throughput_case *added = &measurement->cases[measurement->case_count++];

	*added = *which;
	added->runs = calloc(measurement->options->runs, sizeof(*added->runs));
	if (!added->runs)
		die("out of memory");
}

static void cases_make(struct measurement *measurement)
{
	const struct throughput_options *options = measurement->options;
	size_t most = (size_t)options->direction_count * options->streams_count *
		      options->size_count * options->path_count;

	measurement->cases = calloc(most + 1, sizeof(*measurement->cases));
	if (!measurement->cases)
		die("out of memory");
	for (unsigned d = 0; d < options->direction_count; d++)
		for (unsigned n = 0; n < options->streams_count; n++)
			for (unsigned s = 0; s < options->size_count; s++)
				for (unsigned p = 0; p < options->path_count; p++) {
					struct throughput_case which = {
					    .path = options->paths[p],
					    .size = options->sizes[s],
					    .streams = options->streams[n],
					    .up = options->up[d],
					};

					/* What is received is read, however it would be sent. */
					if (which.up && which.path > PATH_WRITE)
						continue;
					case_add(measurement, &which);
				}
	if (!measurement->case_count)
		die("there is nothing to measure: no path is left for this direction");
}

static void report(const struct measurement *measurement, uint64_t crossover)
{
	const struct throughput_options *options = measurement->options;
	json_t *whole;

	if (options->plot) {
		FILE *file = fopen(options->plot, "we");

		if (!file ||
		    throughput_report_plot(file, options, measurement->cases,
					   measurement->case_count) < 0 ||
		    fclose(file) != 0)
			die("cannot write \"%s\": %s", options->plot, strerror(errno));
	}
	if (!options->json) {
		machines_show(stdout, measurement->machines);
		throughput_report_text(stdout, options, measurement->cases, measurement->case_count,
				       crossover);
		return;
	}
	whole = throughput_report_json(options, measurement->cases, measurement->case_count,
				       json_incref(measurement->machines), crossover,
				       json_incref(measurement->asked));
	if (!whole || json_dumpf(whole, stdout, JSON_INDENT(1)) < 0)
		die("cannot write the report");
	putchar('\n');
	json_decref(whole);
}

static void begin(struct measurement *measurement)
{
	const struct throughput_options *options = measurement->options;

	measurement->machines = json_pack("{s:o}", "client", machine_describe());
	if (!measurement->machines)
		die("out of memory");
	reach_begin(&measurement->reach,
		    json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "key", options->key_type, "tls",
			      options->tls, "cipher", options->cipher, "records", "auto", "workers",
			      1, "trust", ""),
		    measurement->machines);
}

int throughput_main(int argc, char **argv)
{
	struct measurement measurement = {.case_count = 0};
	struct throughput_options options;
	uint64_t crossover = 0;
	bool help;
	int status = throughput_options_read(&options, argc, argv, &help);

	if (status != TOOL_OK || help)
		return status;
	if (options.server)
		server_listen(options.server);
	measurement.options = &options;
	measurement.seconds = options.seconds;
	live_begin(options.quiet);
	reach_server(&measurement.reach, options.client);
	begin(&measurement);
	paths_choose(&measurement, &options);
	cases_make(&measurement);
	/* The cases take turns, so that whatever else the machine does meets them all. */
	for (unsigned run = 0; run <= options.runs; run++)
		for (size_t i = 0; i < measurement.case_count; i++)
			case_run(&measurement, &measurement.cases[i], run);
	if (options.crossover && !kernel_can(&measurement))
		die("--crossover: the server's kernel has no TLS");
	if (options.crossover) {
		measurement.asked = json_array();
		crossover =
		    crossover_find(CROSSOVER_LEAST, CROSSOVER_MOST, kernel_pays, &measurement);
		crossover = crossover ? crossover : UINT64_MAX;
	}
	reach_round_trip(&measurement.reach, measurement.machines);
	report(&measurement, crossover);
	reach_end(&measurement.reach);
	for (size_t i = 0; i < measurement.case_count; i++) {
		for (unsigned j = 0; j < measurement.cases[i].run_count; j++)
			json_decref(measurement.cases[i].runs[j].counters);
		free(measurement.cases[i].runs);
	}
	free(measurement.cases);
	json_decref(measurement.machines);
	json_decref(measurement.asked);
	return TOOL_OK;
}
