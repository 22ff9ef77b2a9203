// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake perf rate": runs each case in turns and tells what came of it. Touches the network through
 * the load; never mixes a run that does not count with those that do.
 */
#include "rate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ending.h"
#include "live.h"
#include "machine.h"
#include "perf.h"
#include "rate-server.h"
#include "reach.h"
#include "server.h"

struct measurement {
	const struct rate_options *options;
	struct rate_case *cases;
	size_t case_count;
	struct reach reach; /* its link's fd is -1 where there is only a target */
	const char *server_name;
	gnutls_certificate_credentials_t credentials, mutual;
	json_t *machines;
};

enum { ANSWER_TIMEOUT = 60 }; /* seconds */

/* ---- One run ------------------------------------------------------------------------------- */

struct run_watch {
	const struct rate_options *options;
	struct link *link;
	json_t *first, *last; /* what the server's end told when counting began and ended */
	struct cpu_parts parts;
	struct cpu_reading before, after;
	const struct rate_case *which;
	const struct rate_kind *kind;
	unsigned run;
};

static void run_begun(void *context)
{
	struct run_watch *watch = context;

	if (watch->link->fd >= 0)
		watch->first =
		    link_ask(watch->link, json_pack("{s:s}", "do", "count"), ANSWER_TIMEOUT);
	if (cpu_parts_read(&watch->parts, &watch->before) < 0)
		die("a process of --pids %s is not there", watch->options->pids);
}

static void run_ended(void *context)
{
	struct run_watch *watch = context;

	if (watch->link->fd >= 0) {
		watch->last =
		    link_ask(watch->link, json_pack("{s:s}", "do", "counted"), ANSWER_TIMEOUT);
		cpu_reading_difference(json_object_get(watch->first, "cpu"),
				       json_object_get(watch->last, "cpu"), &watch->after);
		return;
	}
	if (cpu_parts_read(&watch->parts, &watch->after) < 0)
		die("a process of --pids %s has ended", watch->options->pids);
	for (unsigned i = 0; i < watch->after.count; i++)
		watch->after.seconds[i] -= watch->before.seconds[i];
	watch->after.sum -= watch->before.sum;
}

static void run_progress(void *context, const char *phase, uint64_t done, double seconds)
{
	const struct run_watch *watch = context;
	const struct rate_case *which = watch->which;

	if (watch->link->fd >= 0)
		link_look(watch->link);
	if (strcmp(phase, "warm-up") == 0)
		live_show("%s, %s, %u at once, run %u of %u: warm-up, %llu active", which->by,
			  watch->kind->name, which->at_once, watch->run, watch->options->runs,
			  (unsigned long long)done);
	else
		live_show("%s, %s, %u at once, run %u of %u: %llu handshakes, %.0f a second",
			  which->by, watch->kind->name, which->at_once, watch->run,
			  watch->options->runs, (unsigned long long)done,
			  seconds > 0 ? (double)done / seconds : 0.0);
}

static const char *priorities_for(const struct rate_options *options, const struct rate_kind *kind,
				  char *text, size_t size)
{
	if (options->priorities)
		return options->priorities;
	priorities_write(text, size, options->tls, options->cipher,
			 kind->post_quantum ? GROUP_POST_QUANTUM : GROUP_CLASSICAL);
	return text;
}

/* Has the server's end serve this case, and finds where. */
static void case_serve(struct measurement *measurement, const char *by,
		       const struct rate_kind *kind)
{
	json_t *answer =
	    link_ask(&measurement->reach.link,
		     json_pack("{s:s, s:s, s:s}", "do", "rate", "by", by, "kind", kind->name),
		     ANSWER_TIMEOUT);

	reach_port(&measurement->reach,
		   (unsigned)json_integer_value(json_object_get(answer, "port")));
	json_decref(answer);
}

static json_t *run_report(const struct run_watch *watch)
{
	json_t *report;

	if (!watch->last)
		return NULL;
	report = json_incref(json_object_get(watch->last, "counted"));
	json_object_set_new(report, "tls-counters",
			    machine_tls_difference(json_object_get(watch->first, "tls-counters"),
						   json_object_get(watch->last, "tls-counters")));
	return report;
}

/* The server's end may know better why. */
__attribute__((noreturn)) static void case_fail(struct measurement *measurement,
						const struct rate_case *which, const char *error)
{
	struct link *link = &measurement->reach.link;
	const json_t *answer = NULL;
	const char *theirs;

	if (link->fd >= 0)
		answer = link_ask(link, json_pack("{s:s}", "do", "count"), ANSWER_TIMEOUT);
	theirs =
	    json_string_value(json_object_get(json_object_get(answer, "counted"), "first-error"));
	die("%s, %s, %u at once, at %s: no figures: %s%s%s", which->by, which->kind->name,
	    which->at_once, measurement->reach.text, error,
	    theirs ? "; the server's end says: " : "", theirs ? theirs : "");
}

/* run 0 is the warm-up of the whole and is not kept. */
static void case_run(struct measurement *measurement, struct rate_case *which, unsigned run)
{
	const struct rate_options *options = measurement->options;
	const struct rate_kind *kind = which->kind;
	struct run_watch watch = {.options = options,
				  .which = which,
				  .kind = kind,
				  .run = run,
				  .link = &measurement->reach.link};
	const struct load_watch watches = {run_begun, run_ended, run_progress, &watch};
	char priorities[512];
	struct load_settings settings = {
	    .address_size = measurement->reach.address_size,
	    .server_name = measurement->server_name,
	    .priorities = priorities_for(options, kind, priorities, sizeof(priorities)),
	    .credentials = kind->mutual ? measurement->mutual : measurement->credentials,
	    .resume = kind->resume,
	    .early_data = kind->early_data,
	    .end = options->target ? options->end : LOAD_UNTIL_CLOSE,
	    .at_once = which->at_once,
	    .threads = options->threads,
	    .silent = options->silent,
	    .warm_up = options->warm_up,
	    .seconds = options->seconds,
	    .handshakes = options->handshakes,
	    .timeout = options->timeout,
	};
	struct rate_run *kept;
	struct load_result load;

	if (!options->target)
		case_serve(measurement, which->by, kind);
	settings.address = measurement->reach.address;
	if (options->pids)
		cpu_parts_add_list(&watch.parts, options->pids, "server");
	if (load_run(&settings, &watches, &load) < 0)
		case_fail(measurement, which, load.error);
	if (run > 0) {
		kept = &which->runs[which->run_count++];
		kept->server = watch.after;
		kept->report = run_report(&watch);
		for (size_t i = 0; i < PERCENTILE_COUNT; i++)
			kept->percentiles[i] =
			    samples_percentile(&load.latencies, percentile_parts[i]);
		kept->load = load;
		kept->load.latencies = (struct samples){0};
	}
	json_decref(watch.first);
	json_decref(watch.last);
	load_result_done(&load);
	live_end();
}

/* ---- All of it ----------------------------------------------------------------------------- */

static void cases_make(struct measurement *measurement, const char *const *by, unsigned by_count)
{
	const struct rate_options *options = measurement->options;
	size_t most = (size_t)by_count * options->kind_count * options->at_once_count;
	struct rate_case *next = calloc(most, sizeof(*next));

	if (!next)
		die("out of memory");
	measurement->cases = next;
	measurement->case_count = 0;
	for (unsigned k = 0; k < options->kind_count; k++)
		for (unsigned a = 0; a < options->at_once_count; a++)
			for (unsigned b = 0; b < by_count; b++) {
				/* Safe early data needs a memory of what was taken, which GnuTLS
				 * leaves to the program: there is nothing to compare with. */
				if (options->kinds[k]->early_data && by[b] == rate_ways[0])
					continue;
				*next = (struct rate_case){.by = by[b],
							   .kind = options->kinds[k],
							   .at_once = options->at_once[a]};
				next->runs = calloc(options->runs, sizeof(*next->runs));
				if (!next->runs)
					die("out of memory");
				next++;
				measurement->case_count++;
			}
}

static json_t *begin_question(const struct rate_options *options, const char *trust)
{
	bool post_quantum = false;

	for (unsigned i = 0; i < options->kind_count; i++)
		post_quantum = post_quantum || options->kinds[i]->post_quantum;
	if (post_quantum && gnutls_group_get_id(GROUP_POST_QUANTUM) == GNUTLS_GROUP_INVALID)
		die("this GnuTLS, %s, has no post-quantum key exchange",
		    gnutls_check_version(NULL));
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:b}", "key", options->key_type, "tls",
			 options->tls, "cipher", options->cipher, "records", options->records,
			 "workers", (int)options->workers, "trust", trust, "post-quantum",
			 post_quantum);
}

/* A certificate for "mutual"; the server's end is told to believe it. */
static void own_credentials_make(struct measurement *measurement)
{
	char directory[64], certificate[96], key[96], error[256];
	gnutls_datum_t text;
	json_t *question;
	int r;

	if (own_directory_make(directory, sizeof(directory), error, sizeof(error)) < 0)
		die("%s", error);
	snprintf(certificate, sizeof(certificate), "%s/client.pem", directory);
	snprintf(key, sizeof(key), "%s/client-key.pem", directory);
	r = own_certificate_make("ecdsa", certificate, key, error, sizeof(error));
	if (r == 0) {
		r = gnutls_certificate_set_x509_key_file(measurement->mutual, certificate, key,
							 GNUTLS_X509_FMT_PEM);
		snprintf(error, sizeof(error), "a certificate that was made cannot be used: %s",
			 gnutls_strerror(r));
	}
	if (r >= 0)
		r = gnutls_load_file(certificate, &text);
	own_directory_remove(directory);
	if (r < 0)
		die("%s", error);
	question = begin_question(measurement->options, (const char *)text.data);
	gnutls_free(text.data);
	reach_begin(&measurement->reach, question, measurement->machines);
}

static void credentials_make(struct measurement *measurement)
{
	const struct rate_options *options = measurement->options;
	int error;

	if (gnutls_certificate_allocate_credentials(&measurement->credentials) < 0 ||
	    gnutls_certificate_allocate_credentials(&measurement->mutual) < 0)
		die("out of memory");
	if (!options->certificate && !options->target)
		own_credentials_make(measurement);
	if (!options->certificate)
		return;
	error = gnutls_certificate_set_x509_key_file(measurement->mutual, options->certificate,
						     options->private_key, GNUTLS_X509_FMT_PEM);
	if (error < 0)
		die("cannot use --certificate %s with --private-key %s: %s", options->certificate,
		    options->private_key, gnutls_strerror(error));
}

static void report(const struct measurement *measurement)
{
	const struct rate_options *options = measurement->options;
	json_t *whole;

	if (options->plot) {
		FILE *file = fopen(options->plot, "we");

		if (!file ||
		    rate_report_plot(file, options, measurement->cases, measurement->case_count) <
			0 ||
		    fclose(file) != 0)
			die("cannot write \"%s\": %s", options->plot, strerror(errno));
	}
	if (!options->json) {
		machines_show(stdout, measurement->machines);
		rate_report_text(stdout, options, measurement->cases, measurement->case_count);
		return;
	}
	whole = rate_report_json(options, measurement->cases, measurement->case_count,
				 json_incref(measurement->machines));
	if (!whole || json_dumpf(whole, stdout, JSON_INDENT(1)) < 0)
		die("cannot write the report");
	putchar('\n');
	json_decref(whole);
}

static void server_reach(struct measurement *measurement, char *name, size_t size)
{
	const struct rate_options *options = measurement->options;

	if (options->target)
		reach_resolve(&measurement->reach, options->target, name, size);
	else
		reach_server(&measurement->reach, options->client);
}

static void rate_case_done(struct rate_case *which)
{
	for (unsigned i = 0; i < which->run_count; i++)
		json_decref(which->runs[i].report);
	free(which->runs);
}

int rate_main(int argc, char **argv)
{
	static const char *const by[] = {"target"};
	struct measurement measurement = {.reach.link.fd = -1, .reach.server = -1};
	struct rate_options options;
	char name[256] = "";
	bool help;
	int status = rate_options_read(&options, argc, argv, &help);

	if (status != TOOL_OK || help)
		return status;
	if (options.server)
		server_listen(options.server);
	measurement.machines = json_pack("{s:o}", "client", machine_describe());
	if (!measurement.machines)
		die("out of memory");
	measurement.options = &options;
	live_begin(options.quiet);
	server_reach(&measurement, name, sizeof(name));
	measurement.server_name = options.server_name ? options.server_name : *name ? name : NULL;
	credentials_make(&measurement);
	if (options.target)
		cases_make(&measurement, by, 1);
	else
		cases_make(&measurement, options.by, options.by_count);
	/* The cases take turns, so that whatever else the machine does meets them all. */
	for (unsigned run = 0; run <= options.runs; run++)
		for (size_t i = 0; i < measurement.case_count; i++)
			case_run(&measurement, &measurement.cases[i], run);
	if (!options.target)
		reach_round_trip(&measurement.reach, measurement.machines);
	report(&measurement);
	if (!options.target)
		reach_end(&measurement.reach);
	json_decref(measurement.machines);
	gnutls_certificate_free_credentials(measurement.credentials);
	gnutls_certificate_free_credentials(measurement.mutual);
	for (size_t i = 0; i < measurement.case_count; i++)
		rate_case_done(&measurement.cases[i]);
	free(measurement.cases);
	return TOOL_OK;
}
