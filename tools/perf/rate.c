// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake perf rate": runs each case in turns and tells what came of it. Touches the network through
 * the load; never mixes a run that does not count with those that do.
 */
#include "rate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../options.h"
#include "ending.h"
#include "live.h"
#include "machine.h"
#include "perf.h"
#include "server.h"

struct measurement {
	const struct rate_options *options;
	struct rate_case *cases;
	size_t case_count;
	struct sockaddr_storage address;
	socklen_t address_size;
	const char *server_name;
	gnutls_certificate_credentials_t credentials, mutual;
	struct link link; /* to the server's end; fd -1: there is none, only a target */
	pid_t server;
	json_t *machines;
};

enum { ANSWER_TIMEOUT = 60, BEGIN_TIMEOUT = 120 }; /* seconds */

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
	struct link *link;
	json_t *first, *last; /* what the server's end told when counting began and ended */
	struct cpu_parts parts;
	struct cpu_reading before, after;
	const struct rate_case *which;
	unsigned run;
};

/* The parts of a server's end by the names that they have. */
static void cpu_difference(const json_t *before, const json_t *after, struct cpu_reading *ret)
{
	static const char *const names[] = {"program", "supervisor", "worker", "signer", "relay"};

	*ret = (struct cpu_reading){.count = 0};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *value = json_object_get(after, names[i]);

		if (!value)
			continue;
		ret->names[ret->count] = names[i];
		ret->seconds[ret->count] =
		    json_real_value(value) - json_real_value(json_object_get(before, names[i]));
		ret->sum += ret->seconds[ret->count++];
	}
}

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
		cpu_difference(json_object_get(watch->first, "cpu"),
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
	priorities_write(text, size, options->tls, options->cipher, kind->groups);
	return text;
}

/* Has the server's end serve this case, and finds where. */
static void case_serve(struct measurement *measurement, const struct rate_case *which)
{
	json_t *answer = link_ask(
	    &measurement->link,
	    json_pack("{s:s, s:s, s:s}", "do", "rate", "by", which->by, "kind", which->kind->name),
	    ANSWER_TIMEOUT);
	in_port_t port = htons((uint16_t)json_integer_value(json_object_get(answer, "port")));

	/* Both families have the port at the same place. */
	((struct sockaddr_in *)&measurement->address)->sin_port = port;
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

/* run 0 is the warm-up of the whole and is not kept. */
static void case_run(struct measurement *measurement, struct rate_case *which, unsigned run)
{
	const struct rate_options *options = measurement->options;
	const struct rate_kind *kind = which->kind ? which->kind : &rate_kinds[0];
	struct run_watch watch = {
	    .options = options, .which = which, .run = run, .link = &measurement->link};
	const struct load_watch watches = {run_begun, run_ended, run_progress, &watch};
	char priorities[512];
	struct load_settings settings = {
	    .address_size = measurement->address_size,
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
		case_serve(measurement, which);
	settings.address = measurement->address;
	if (options->pids)
		cpu_parts_add_list(&watch.parts, options->pids, "server");
	if (load_run(&settings, &watches, &load) < 0)
		die("%s, %s, %u at once: no figures: %s", which->by, which->kind->name,
		    which->at_once, load.error);
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
	size_t count = (size_t)by_count * options->kind_count * options->at_once_count;
	struct rate_case *next = calloc(count, sizeof(*next));

	if (!next)
		die("out of memory");
	measurement->cases = next;
	measurement->case_count = count;
	for (unsigned k = 0; k < options->kind_count; k++)
		for (unsigned a = 0; a < options->at_once_count; a++)
			for (unsigned b = 0; b < by_count; b++) {
				/* Safe early data needs a memory of what was taken, which GnuTLS
				 * leaves to the program: there is nothing to compare with. */
				if (options->kinds[k]->early_data && by[b] == rate_ways[0]) {
					measurement->case_count--;
					continue;
				}
				*next = (struct rate_case){.by = by[b],
							   .kind = options->kinds[k],
							   .at_once = options->at_once[a]};
				next->runs = calloc(options->runs, sizeof(*next->runs));
				if (!next->runs)
					die("out of memory");
				next++;
			}
}

static json_t *begin_question(const struct rate_options *options, const char *trust)
{
	bool post_quantum = false;

	for (unsigned i = 0; i < options->kind_count; i++)
		post_quantum = post_quantum || options->kinds[i]->groups[0];
	if (post_quantum && gnutls_group_get_id("X25519-MLKEM768") == GNUTLS_GROUP_INVALID)
		die("this GnuTLS, %s, has no post-quantum key exchange",
		    gnutls_check_version(NULL));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:b}", "do", "begin", "key",
			 options->key_type, "tls", options->tls, "cipher", options->cipher,
			 "records", options->records, "workers", (int)options->workers, "trust",
			 trust, "post-quantum", post_quantum);
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
	json_object_set_new(measurement->machines, "server",
			    json_incref(json_object_get(
				link_ask(&measurement->link, question, BEGIN_TIMEOUT), "machine")));
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
		for (void *at = json_object_iter(measurement->machines); at;
		     at = json_object_iter_next(measurement->machines, at)) {
			printf("%s: ", json_object_iter_key(at));
			machine_show(stdout, json_object_iter_value(at));
		}
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

/* Each connection is a descriptor. */
static void files_allow(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void reach_server(struct measurement *measurement, char *name, size_t size)
{
	const struct rate_options *options = measurement->options;
	int fd;

	if (options->target) {
		resolve(measurement, options->target, name, size);
		return;
	}
	if (!options->client) {
		resolve(measurement, "127.0.0.1:0", name, size);
		measurement->server = server_start(&measurement->link);
		return;
	}
	resolve(measurement, options->client, name, size);
	fd = socket(measurement->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&measurement->address,
			      measurement->address_size) < 0)
		die("no server's end answers at \"%s\": %s; is \"handshake perf rate --server\" "
		    "running there?",
		    options->client, strerror(errno));
	link_init(&measurement->link, fd);
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
	struct measurement measurement = {.link.fd = -1, .server = -1};
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
	files_allow();
	reach_server(&measurement, name, sizeof(name));
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
	report(&measurement);
	if (measurement.link.fd >= 0)
		link_done(&measurement.link);
	if (measurement.server > 0)
		waitpid(measurement.server, NULL, 0);
	json_decref(measurement.machines);
	gnutls_certificate_free_credentials(measurement.credentials);
	gnutls_certificate_free_credentials(measurement.mutual);
	for (size_t i = 0; i < measurement.case_count; i++)
		rate_case_done(&measurement.cases[i]);
	free(measurement.cases);
	return TOOL_OK;
}
