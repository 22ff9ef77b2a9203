// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What "handshake perf throughput" tells: a table of medians with their spread, every run as JSON, a
 * drawing. Touches the stream it is given; never shows a figure that was not measured as 0.
 */
#include <stdlib.h>
#include <string.h>

#include "plot.h"
#include "statistics.h"
#include "throughput.h"

double throughput_value(const struct throughput_run *run, enum throughput_value value)
{
	double gigabytes = (double)run->bytes / 1e9;

	switch (value) {
	case VALUE_SPEED:
		return gigabytes * 1e3 / run->seconds;
	case VALUE_SERVER_CPU:
		/* Of two spans of time that are not equally long. */
		return run->server.sum / run->server_seconds / (gigabytes / run->seconds);
	case VALUE_CLIENT_CPU:
		return run->client_cpu / gigabytes;
	default:
		return run->calls;
	}
}

static struct spread case_spread(const struct throughput_case *which, enum throughput_value value)
{
	double values[THROUGHPUT_RUNS_MAX];

	for (unsigned i = 0; i < which->run_count; i++)
		values[i] = throughput_value(&which->runs[i], value);
	return spread_of(values, which->run_count);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static const char *const value_names[] = {"mb-per-second", "server-cpu-seconds-per-gb",
					  "client-cpu-seconds-per-gb", "server-calls-per-mb"};
enum { VALUES = sizeof(value_names) / sizeof(value_names[0]) };

static json_t *spread_json(struct spread spread)
{
	return json_pack("{s:f, s:f, s:f}", "median", spread.median, "lowest", spread.lowest,
			 "highest", spread.highest);
}

static json_t *run_json(const struct throughput_run *run)
{
	json_t *parts = json_object();
	json_t *object =
	    json_pack("{s:I, s:f, s:f, s:f, s:i, s:o, s:O}", "bytes", (json_int_t)run->bytes,
		      "seconds", run->seconds, "client-cpu", run->client_cpu, "server-seconds",
		      run->server_seconds, "nic-streams", (int)run->by_nic, "server-cpu-parts",
		      parts, "tls-counters", run->counters);

	for (unsigned i = 0; i < run->server.count; i++)
		json_object_set_new(parts, run->server.names[i], json_real(run->server.seconds[i]));
	for (int i = 0; i < VALUES; i++)
		json_object_set_new(object, value_names[i],
				    json_real(throughput_value(run, (enum throughput_value)i)));
	return object;
}

static json_t *case_json(const struct throughput_case *which)
{
	json_t *runs = json_array();
	json_t *object =
	    json_pack("{s:s, s:s, s:I, s:i, s:o}", "path", throughput_paths[which->path],
		      "direction", throughput_directions[which->up], "size",
		      (json_int_t)which->size, "streams", (int)which->streams, "runs", runs);

	for (int i = 0; i < VALUES; i++)
		json_object_set_new(object, value_names[i],
				    spread_json(case_spread(which, (enum throughput_value)i)));
	for (unsigned i = 0; i < which->run_count; i++)
		json_array_append_new(runs, run_json(&which->runs[i]));
	return object;
}

json_t *throughput_report_json(const struct throughput_options *options,
			       const struct throughput_case *cases, size_t count, json_t *machines,
			       uint64_t crossover, json_t *asked)
{
	json_t *list = json_array();
	json_t *whole =
	    json_pack("{s:s, s:o, s:i, s:s, s:s, s:b, s:o}", "measured", "throughput", "machine",
		      machines, "runs", (int)options->runs, "tls", options->tls, "cipher",
		      options->cipher, "discarded", options->discard, "cases", list);

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, case_json(&cases[i]));
	if (crossover) {
		json_object_set_new(whole, "kernel-pays-from",
				    crossover == UINT64_MAX ? json_null()
							    : json_integer((json_int_t)crossover));
		json_object_set_new(whole, "kernel-pays-asked", asked);
	}
	return whole;
}

/* ---- Text ---------------------------------------------------------------------------------- */

static void size_write(char *text, size_t room, uint64_t size)
{
	static const char *const units[] = {"", " KiB", " MiB", " GiB"};
	unsigned unit = 0;

	while (size >= 1024 && size % 1024 == 0 && unit < 3) {
		size /= 1024;
		unit++;
	}
	snprintf(text, room, "%llu%s", (unsigned long long)size, units[unit]);
}

static void put_case(FILE *stream, const struct throughput_case *which)
{
	struct spread speed = case_spread(which, VALUE_SPEED);
	char size[32], text[64];

	size_write(size, sizeof(size), which->size);
	snprintf(text, sizeof(text), "%.1f (%.1f to %.1f)", speed.median, speed.lowest,
		 speed.highest);
	fprintf(stream, "%-16s %-5s %9s %7u  %-28s", throughput_paths[which->path],
		throughput_directions[which->up], size, which->streams, text);
	fprintf(stream, " %10.3f %10.3f", case_spread(which, VALUE_SERVER_CPU).median,
		case_spread(which, VALUE_CLIENT_CPU).median);
	fprintf(stream, " %10.2f%s\n", case_spread(which, VALUE_CALLS).median,
		which->path == PATH_RELAY ? "*" : "");
}

static void put_evidence(FILE *stream, const struct throughput_case *which)
{
	json_t *counters = which->runs[which->run_count - 1].counters;
	char size[32];

	size_write(size, sizeof(size), which->size);
	fprintf(stream, "%-16s %-5s %9s %7u ", throughput_paths[which->path],
		throughput_directions[which->up], size, which->streams);
	for (unsigned i = 0; i < which->runs[0].server.count; i++)
		fprintf(stream, " %s %.3f", which->runs[0].server.names[i],
			which->runs[which->run_count - 1].server.seconds[i]);
	if (which->runs[which->run_count - 1].by_nic)
		fprintf(stream, " records of %u by a NIC;",
			which->runs[which->run_count - 1].by_nic);
	for (void *at = json_object_iter(counters); at; at = json_object_iter_next(counters, at))
		fprintf(stream, " %s %+lld", json_object_iter_key(at),
			(long long)json_integer_value(json_object_iter_value(at)));
	fputc('\n', stream);
}

static void put_crossover(FILE *stream, uint64_t crossover)
{
	char size[32];

	if (!crossover)
		return;
	size_write(size, sizeof(size), crossover);
	if (crossover == UINT64_MAX)
		fprintf(stream,
			"\nKernel records (sendfile) take no less CPU time than GnuTLS at any "
			"size from 1 KiB to 64 MiB\n");
	else
		fprintf(stream,
			"\nKernel records (sendfile) take less CPU time of the server than GnuTLS "
			"from %s on\n",
			size);
}

void throughput_report_text(FILE *stream, const struct throughput_options *options,
			    const struct throughput_case *cases, size_t count, uint64_t crossover)
{
	bool relayed = false;

	fprintf(stream,
		"TLS %s, %s, %u run%s of each after a warm-up; medians (lowest to highest)%s\n\n",
		options->tls, options->cipher, options->runs, options->runs == 1 ? "" : "s",
		options->discard ? "; the client opens nothing" : "");
	fprintf(stream, "%-16s %-5s %9s %7s  %-28s %10s %10s %10s\n", "path", "", "size", "streams",
		"MB/s", "server", "client", "calls/MB");
	fprintf(stream, "%-16s %-5s %9s %7s  %-28s %21s\n", "", "", "", "", "",
		"CPU seconds for a GB");
	for (size_t i = 0; i < count; i++) {
		put_case(stream, &cases[i]);
		relayed = relayed || cases[i].path == PATH_RELAY;
	}
	if (relayed)
		fputs("* of the program alone: the relay's own calls are not counted\n", stream);
	fputs("\nThe last run's CPU seconds by process, and what moved in /proc/net/tls_stat:\n",
	      stream);
	for (size_t i = 0; i < count; i++)
		put_evidence(stream, &cases[i]);
	put_crossover(stream, crossover);
}

/* ---- Drawing ------------------------------------------------------------------------------- */

int throughput_report_plot(FILE *stream, const struct throughput_options *options,
			   const struct throughput_case *cases, size_t count)
{
	struct plot_panel *panels = calloc(2, sizeof(*panels));
	char subtitle[192], name[64];
	int r;

	if (!panels)
		return -1;
	panels[0].title = "MB/s";
	panels[1].title = "CPU seconds of the server for a GB";
	panels[0].x_label = panels[1].x_label = "bytes of one piece of data";
	for (size_t i = 0; i < count; i++) {
		const struct throughput_case *which = &cases[i];

		snprintf(name, sizeof(name), "%s%s", throughput_paths[which->path],
			 which->up ? ", up" : "");
		if (options->streams_count > 1)
			snprintf(name + strlen(name), sizeof(name) - strlen(name), ", %u",
				 which->streams);
		plot_add(&panels[0], name, (double)which->size, case_spread(which, VALUE_SPEED));
		plot_add(&panels[1], name, (double)which->size,
			 case_spread(which, VALUE_SERVER_CPU));
	}
	snprintf(subtitle, sizeof(subtitle),
		 "TLS %s, %s; medians of %u runs, bars from lowest to highest", options->tls,
		 options->cipher, options->runs);
	r = plot_draw(stream, "Throughput", subtitle, panels, 2);
	free(panels);
	return r;
}
