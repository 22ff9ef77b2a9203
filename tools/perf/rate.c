// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake perf rate": runs each case in turns and tells what came of it. Touches the network through
 * the load; never mixes a run that does not count with those that do.
 */
#include "rate.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"
#include "ending.h"
#include "live.h"
#include "machine.h"
#include "perf.h"

struct measurement {
	const struct rate_options *options;
	struct rate_case *cases;
	size_t case_count;
	struct sockaddr_storage address;
	socklen_t address_size;
	const char *server_name;
	gnutls_certificate_credentials_t credentials, mutual;
};

static void resolve(struct measurement *measurement, const char *text, char *name, size_t size)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct options_address address;
	struct options_problem problem;
	struct addrinfo *found;
	struct in6_addr literal;
	int error;

	if (options_read_address(text, &address, &problem) < 0)
		die("%s", problem.text);
	error = getaddrinfo(address.host, address.port, &hints, &found);
	if (error)
		die("cannot find \"%s\": %s", text, gai_strerror(error));
	memcpy(&measurement->address, found->ai_addr, found->ai_addrlen);
	measurement->address_size = found->ai_addrlen;
	freeaddrinfo(found);
	/* RFC 6066, 3: a name, not an address. */
	if (inet_pton(AF_INET, address.host, &literal) != 1 &&
	    inet_pton(AF_INET6, address.host, &literal) != 1)
		snprintf(name, size, "%s", address.host);
}

/* ---- One run ------------------------------------------------------------------------------- */

struct run_watch {
	const struct rate_options *options;
	struct cpu_parts parts;
	struct cpu_reading before, after;
	const struct rate_case *which;
	unsigned run;
};

static void run_begun(void *context)
{
	struct run_watch *watch = context;

	if (cpu_parts_read(&watch->parts, &watch->before) < 0)
		die("a process of --pids %s is not there", watch->options->pids);
}

static void run_ended(void *context)
{
	struct run_watch *watch = context;

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

	if (strcmp(phase, "warm-up") == 0)
		live_show("%s, %s, %u at once, run %u of %u: warm-up, %llu active", which->by,
			  which->kind->name, which->at_once, watch->run, watch->options->runs,
			  (unsigned long long)done);
	else
		live_show("%s, %s, %u at once, run %u of %u: %llu handshakes, %.0f a second",
			  which->by, which->kind->name, which->at_once, watch->run,
			  watch->options->runs, (unsigned long long)done,
			  seconds > 0 ? (double)done / seconds : 0.0);
}

static const char *priorities_for(const struct rate_options *options, const struct rate_kind *kind,
				  char *text, size_t size)
{
	if (options->priorities)
		return options->priorities;
	snprintf(text, size,
		 "NONE:+VERS-TLS%s:+%s:+AEAD:+ECDHE-ECDSA:+ECDHE-RSA:%s+GROUP-X25519:+SIGN-ALL:"
		 "+CTYPE-X509",
		 options->tls, options->cipher, kind->groups);
	return text;
}

/* run 0 is the warm-up of the whole and is not kept. */
static void case_run(const struct measurement *measurement, struct rate_case *which, unsigned run)
{
	const struct rate_options *options = measurement->options;
	struct run_watch watch = {.options = options, .which = which, .run = run};
	const struct load_watch watches = {run_begun, run_ended, run_progress, &watch};
	char priorities[512];
	struct load_settings settings = {
	    .address = measurement->address,
	    .address_size = measurement->address_size,
	    .server_name = measurement->server_name,
	    .priorities = priorities_for(options, which->kind, priorities, sizeof(priorities)),
	    .credentials = which->kind->mutual ? measurement->mutual : measurement->credentials,
	    .resume = which->kind->resume,
	    .early_data = which->kind->early_data,
	    .end = options->end,
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

	if (options->pids)
		cpu_parts_add_list(&watch.parts, options->pids, "server");
	if (load_run(&settings, &watches, &load) < 0)
		die("%s, %s, %u at once: no figures: %s", which->by, which->kind->name,
		    which->at_once, load.error);
	if (run > 0) {
		kept = &which->runs[which->run_count++];
		kept->server = watch.after;
		for (size_t i = 0; i < PERCENTILE_COUNT; i++)
			kept->percentiles[i] =
			    samples_percentile(&load.latencies, percentile_parts[i]);
		kept->load = load;
		kept->load.latencies = (struct samples){0};
	}
	load_result_done(&load);
	live_end();
}

/* ---- All of it ----------------------------------------------------------------------------- */

static void cases_make(struct measurement *measurement, const char *const *by, unsigned by_count)
{
	const struct rate_options *options = measurement->options;
	size_t count = (size_t)by_count * options->kind_count * options->at_once_count;
	struct rate_case *next = calloc(count, sizeof(*next));

	if (!next)
		die("out of memory");
	measurement->cases = next;
	measurement->case_count = count;
	for (unsigned k = 0; k < options->kind_count; k++)
		for (unsigned a = 0; a < options->at_once_count; a++)
			for (unsigned b = 0; b < by_count; b++, next++) {
				*next = (struct rate_case){.by = by[b],
							   .kind = options->kinds[k],
							   .at_once = options->at_once[a]};
				next->runs = calloc(options->runs, sizeof(*next->runs));
				if (!next->runs)
					die("out of memory");
			}
}

static void credentials_make(struct measurement *measurement)
{
	const struct rate_options *options = measurement->options;
	int error;

	if (gnutls_certificate_allocate_credentials(&measurement->credentials) < 0 ||
	    gnutls_certificate_allocate_credentials(&measurement->mutual) < 0)
		die("out of memory");
	if (!options->certificate)
		return;
	error = gnutls_certificate_set_x509_key_file(measurement->mutual, options->certificate,
						     options->private_key, GNUTLS_X509_FMT_PEM);
	if (error < 0)
		die("cannot use --certificate %s with --private-key %s: %s", options->certificate,
		    options->private_key, gnutls_strerror(error));
}

static void report(const struct measurement *measurement, json_t *machine)
{
	const struct rate_options *options = measurement->options;
	json_t *whole;

	if (!options->json) {
		machine_show(stdout, machine);
		rate_report_text(stdout, options, measurement->cases, measurement->case_count);
		json_decref(machine);
		return;
	}
	whole = rate_report_json(options, measurement->cases, measurement->case_count,
				 json_pack("{s:o}", "client", machine));
	if (!whole || json_dumpf(whole, stdout, JSON_INDENT(1)) < 0)
		die("cannot write the report");
	putchar('\n');
	json_decref(whole);
}

int rate_main(int argc, char **argv)
{
	static const char *const by[] = {"target"};
	struct measurement measurement = {.case_count = 0};
	struct rate_options options;
	char name[256] = "";
	json_t *machine;
	bool help;
	int status = rate_options_read(&options, argc, argv, &help);

	if (status != TOOL_OK || help)
		return status;
	machine = machine_describe();
	if (!machine)
		die("out of memory");
	measurement.options = &options;
	live_begin(options.quiet);
	resolve(&measurement, options.target, name, sizeof(name));
	measurement.server_name = options.server_name ? options.server_name : *name ? name : NULL;
	credentials_make(&measurement);
	cases_make(&measurement, by, 1);
	/* The cases take turns, so that whatever else the machine does meets them all. */
	for (unsigned run = 0; run <= options.runs; run++)
		for (size_t i = 0; i < measurement.case_count; i++)
			case_run(&measurement, &measurement.cases[i], run);
	report(&measurement, machine);
	gnutls_certificate_free_credentials(measurement.credentials);
	gnutls_certificate_free_credentials(measurement.mutual);
	for (size_t i = 0; i < measurement.case_count; i++)
		free(measurement.cases[i].runs);
	free(measurement.cases);
	return TOOL_OK;
}
