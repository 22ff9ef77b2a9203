// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What "handshake perf rate" tells: a table of medians with their spread, or every run as JSON. Touches
 * the stream it is given; never shows a figure that was not measured as 0.
 */
#include <stdlib.h>
#include <string.h>

#include "plot.h"
#include "rate.h"

typedef double run_value(const struct rate_run *run);

static double run_rate(const struct rate_run *run)
{
	return (double)run->load.done / run->load.seconds;
}

/* What the server's CPU time was spent on: its own count, where there is one, is of the same moments. */
static double run_served(const struct rate_run *run)
{
	const json_t *counted = json_object_get(run->report, "established");

	return counted ? (double)json_integer_value(counted) : (double)run->load.done;
}

/* Handshakes for each second of CPU of the server's end; only where it is known. */
static double run_cpu_rate(const struct rate_run *run)
{
	return run->server.sum > 0 ? run_served(run) / run->server.sum : 0;
}

static struct spread case_spread(const struct rate_case *which, run_value *value)
{
	double values[RATE_RUNS_MAX];

	for (unsigned i = 0; i < which->run_count; i++)
		values[i] = value(&which->runs[i]);
	return spread_of(values, which->run_count);
}

static struct spread case_percentile(const struct rate_case *which, size_t percentile)
{
	double values[RATE_RUNS_MAX];

	for (unsigned i = 0; i < which->run_count; i++)
		values[i] = which->runs[i].percentiles[percentile];
	return spread_of(values, which->run_count);
}

static uint64_t case_failed(const struct rate_case *which)
{
	uint64_t failed = 0;

	for (unsigned i = 0; i < which->run_count; i++)
		failed += which->runs[i].load.failed;
	return failed;
}

static uint64_t case_not_resumed(const struct rate_case *which)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < which->run_count; i++)
		count += which->runs[i].load.not_resumed;
	return count;
}

/* ---- Where the time went, as the server's end told ------------------------------------------ */

static const char *const times[] = {"total",       "hand-over", "queue", "peer",
				    "computation", "signer",    "keys"};
enum { TIMES = sizeof(times) / sizeof(times[0]) };

/* false: the server's end did not tell it. */
static bool case_time(const struct rate_case *which, const char *time, const char *percentile,
		      struct spread *ret_spread)
{
	double values[RATE_RUNS_MAX];

	for (unsigned i = 0; i < which->run_count; i++) {
		const json_t *told = json_object_get(which->runs[i].report, "times-us");
		const json_t *value = json_object_get(json_object_get(told, time), percentile);

		if (!value)
			return false;
		values[i] = json_real_value(value);
	}
	*ret_spread = spread_of(values, which->run_count);
	return true;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static json_t *spread_json(struct spread spread)
{
	return json_pack("{s:f, s:f, s:f}", "median", spread.median, "lowest", spread.lowest,
			 "highest", spread.highest);
}

static json_t *parts_json(const struct cpu_reading *reading)
{
	json_t *parts = json_object();

	for (unsigned i = 0; i < reading->count; i++)
		json_object_set_new(parts, reading->names[i], json_real(reading->seconds[i]));
	return parts;
}

static json_t *run_json(const struct rate_run *run)
{
	const struct load_result *load = &run->load;
	json_t *latency = json_object();
	json_t *object = json_pack(
	    "{s:I, s:I, s:I, s:I, s:f, s:f, s:i, s:o}", "handshakes", (json_int_t)load->done,
	    "failed", (json_int_t)load->failed, "not-resumed", (json_int_t)load->not_resumed,
	    "early-data-accepted", (json_int_t)load->early, "seconds", load->seconds, "client-cpu",
	    load->cpu, "silent-left", (int)load->silent_left, "latency-us", latency);

	for (size_t i = 0; i < PERCENTILE_COUNT; i++)
		json_object_set_new(latency, percentile_names[i], json_real(run->percentiles[i]));
	if (run->server.count) {
		json_object_set_new(object, "server-cpu", json_real(run->server.sum));
		json_object_set_new(object, "server-cpu-parts", parts_json(&run->server));
	}
	if (load->error[0])
		json_object_set_new(object, "first-error", json_string(load->error));
	if (run->report)
		json_object_set(object, "server", run->report);
	return object;
}

static json_t *times_json(const struct rate_case *which)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < TIMES; i++) {
		json_t *one = json_object();
		struct spread spread;

		for (unsigned j = 0; j < PERCENTILE_COUNT; j++)
			if (case_time(which, times[i], percentile_names[j], &spread))
				json_object_set_new(one, percentile_names[j], spread_json(spread));
		if (json_object_size(one))
			json_object_set_new(all, times[i], one);
		else
			json_decref(one);
	}
	return all;
}

static json_t *case_json(const struct rate_case *which)
{
	const struct load_result *load = &which->runs[0].load;
	json_t *runs = json_array(), *latency = json_object();
	json_t *object = json_pack(
	    "{s:s, s:s, s:i, s:s, s:s, s:s, s:o, s:I, s:I, s:o, s:o}", "by", which->by, "kind",
	    which->kind->name, "at-once", (int)which->at_once, "version", load->version, "suite",
	    load->suite, "group", load->group, "rate", spread_json(case_spread(which, run_rate)),
	    "failed", (json_int_t)case_failed(which), "not-resumed",
	    (json_int_t)case_not_resumed(which), "latency-us", latency, "runs", runs);

	for (size_t i = 0; i < PERCENTILE_COUNT; i++)
		json_object_set_new(latency, percentile_names[i],
				    spread_json(case_percentile(which, i)));
	if (which->runs[0].server.count)
		json_object_set_new(object, "rate-per-cpu-second",
				    spread_json(case_spread(which, run_cpu_rate)));
	if (which->runs[0].report)
		json_object_set_new(object, "times-us", times_json(which));
	for (unsigned i = 0; i < which->run_count; i++)
		json_array_append_new(runs, run_json(&which->runs[i]));
	return object;
}

json_t *rate_report_json(const struct rate_options *options, const struct rate_case *cases,
			 size_t count, json_t *machines)
{
	json_t *list = json_array();
	json_t *whole =
	    json_pack("{s:s, s:o, s:i, s:i, s:i, s:o}", "measured", "rate", "machine", machines,
		      "runs", (int)options->runs, "threads", (int)options->threads, "silent",
		      (int)options->silent, "cases", list);

	if (options->target)
		json_object_set_new(whole, "target", json_string(options->target));
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, case_json(&cases[i]));
	return whole;
}

/* ---- Text ---------------------------------------------------------------------------------- */

static void put_case(FILE *stream, const struct rate_case *which)
{
	char text[64];
	struct spread rate = case_spread(which, run_rate);

	fprintf(stream, "%-10s %-12s %5u", which->by, which->kind->name, which->at_once);
	snprintf(text, sizeof(text), "%.0f (%.0f to %.0f)", rate.median, rate.lowest, rate.highest);
	fprintf(stream, "  %-26s", text);
	if (which->runs[0].server.count) {
		rate = case_spread(which, run_cpu_rate);
		snprintf(text, sizeof(text), "%.0f (%.0f to %.0f)", rate.median, rate.lowest,
			 rate.highest);
	} else {
		snprintf(text, sizeof(text), "-");
	}
	fprintf(stream, "  %-26s", text);
	for (size_t i = 0; i < PERCENTILE_COUNT; i++)
		fprintf(stream, " %8.0f", case_percentile(which, i).median);
	fputc('\n', stream);
	if (case_failed(which))
		fprintf(stream, "  %llu failed, the first: %s\n",
			(unsigned long long)case_failed(which), which->runs[0].load.error);
	if (case_not_resumed(which))
		fprintf(stream, "  %llu were not resumed\n",
			(unsigned long long)case_not_resumed(which));
}

static void put_times(FILE *stream, const struct rate_case *which, const char *percentile)
{
	struct spread spread;

	fprintf(stream, "%-10s %-12s %5u  %-5s", which->by, which->kind->name, which->at_once,
		percentile);
	for (unsigned i = 0; i < TIMES; i++)
		if (case_time(which, times[i], percentile, &spread))
			fprintf(stream, " %11.0f", spread.median);
		else
			fprintf(stream, " %11s", "-");
	fputc('\n', stream);
}

static void put_all_times(FILE *stream, const struct rate_case *cases, size_t count)
{
	fprintf(stream,
		"\nWhere the server's time goes, µs of each handshake, medians of the runs:\n"
		"%-10s %-12s %5s  %-5s",
		"by", "kind", "once", "");
	for (unsigned i = 0; i < TIMES; i++)
		fprintf(stream, " %11s", times[i]);
	fputc('\n', stream);
	for (size_t i = 0; i < count; i++) {
		put_times(stream, &cases[i], "p50");
		put_times(stream, &cases[i], "p99");
	}
}

/* CPU time of each process of the server's end, medians of the runs. */
static void put_parts(FILE *stream, const struct rate_case *which)
{
	const struct cpu_reading *first = &which->runs[0].server;

	fprintf(stream, "%-10s %-12s %5u ", which->by, which->kind->name, which->at_once);
	for (unsigned i = 0; i < first->count; i++) {
		double values[RATE_RUNS_MAX];

		for (unsigned j = 0; j < which->run_count; j++)
			values[j] =
			    which->runs[j].server.seconds[i] / run_served(&which->runs[j]) * 1e6;
		fprintf(stream, " %s %.0f", first->names[i],
			spread_of(values, which->run_count).median);
	}
	fputc('\n', stream);
}

static const char *records_of(const struct rate_case *which)
{
	const char *records = json_string_value(json_object_get(which->runs[0].report, "records"));

	return records ? records : "";
}

static void put_evidence(FILE *stream, const struct rate_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const json_t *counters =
		    json_object_get(cases[i].runs[cases[i].run_count - 1].report, "tls-counters");

		if (!*records_of(&cases[i]))
			continue;
		fprintf(stream,
			"%-10s %-12s %5u  records: %s; /proc/net/tls_stat, last run:", cases[i].by,
			cases[i].kind->name, cases[i].at_once, records_of(&cases[i]));
		if (!json_object_size(counters))
			fputs(" nothing moved", stream);
		for (void *at = json_object_iter((json_t *)counters); at;
		     at = json_object_iter_next((json_t *)counters, at))
			fprintf(stream, " %s %+lld", json_object_iter_key(at),
				(long long)json_integer_value(json_object_iter_value(at)));
		fputc('\n', stream);
	}
}

int rate_report_plot(FILE *stream, const struct rate_options *options,
		     const struct rate_case *cases, size_t count)
{
	struct plot_panel *panels = calloc(2, sizeof(*panels));
	char subtitle[192], name[64];
	int r;

	if (!panels)
		return -1;
	panels[0].title = cases[0].runs[0].server.count ? "handshakes per CPU second of the server"
							: "handshakes per second";
	panels[1].title = "latency, p99, µs";
	panels[0].x_label = panels[1].x_label = "handshakes at once";
	for (size_t i = 0; i < count; i++) {
		const struct rate_case *which = &cases[i];

		snprintf(name, sizeof(name), "%s, %s", which->by, which->kind->name);
		plot_add(&panels[0], name, which->at_once,
			 case_spread(which, which->runs[0].server.count ? run_cpu_rate : run_rate));
		plot_add(&panels[1], name, which->at_once, case_percentile(which, 2));
	}
	snprintf(subtitle, sizeof(subtitle), "%s; medians of %u runs, bars from lowest to highest",
		 cases[0].runs[0].load.suite, options->runs);
	r = plot_draw(stream, "TLS handshakes", subtitle, panels, 2);
	free(panels);
	return r;
}

void rate_report_text(FILE *stream, const struct rate_options *options,
		      const struct rate_case *cases, size_t count)
{
	const struct load_result *load = &cases[0].runs[0].load;

	fprintf(stream, "%s, %u run%s of each after a warm-up; medians (lowest to highest)\n\n",
		load->suite, options->runs, options->runs == 1 ? "" : "s");
	fprintf(stream, "%-10s %-12s %5s  %-26s  %-26s %8s %8s %8s %8s µs\n", "by", "kind", "once",
		"a second", "a CPU second of the server", "p50", "p90", "p99", "p99.9");
	for (size_t i = 0; i < count; i++)
		put_case(stream, &cases[i]);
	if (!cases[0].runs[0].report)
		return;
	put_all_times(stream, cases, count);
	fputs("\nCPU time of the server's end, µs of each handshake:\n", stream);
	for (size_t i = 0; i < count; i++)
		put_parts(stream, &cases[i]);
	fputs("\nThe path, and the kernel's own counters:\n", stream);
	put_evidence(stream, cases, count);
}
