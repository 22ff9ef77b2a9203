// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The options of "handshake perf rate". Touches argv and, to refuse, stderr.
 */
#include <string.h>
#include <unistd.h>

#include "../options.h"
#include "../tool.h"
#include "own-daemon.h"
#include "rate-server.h"
#include "rate.h"
#include "values.h"

#define TOOL "handshake perf rate"

static const struct rate_kind rate_kinds[] = {
    {.name = "full", .what = "with a certificate"},
    {.name = "resumed", .resume = true, .what = "with the ticket of the one before"},
    {.name = "mutual", .mutual = true, .what = "the client shows a certificate too"},
    {.name = "early-data",
     .resume = true,
     .early_data = 1024,
     .what = "resumed, with 1 KiB in the first flight"},
    {.name = "post-quantum", .post_quantum = true, .what = "by " GROUP_POST_QUANTUM},
};

enum { KINDS = sizeof(rate_kinds) / sizeof(rate_kinds[0]) };

enum {
	OPTION_TARGET = 256,
	OPTION_SERVER,
	OPTION_CLIENT,
	OPTION_BY,
	OPTION_KEY_TYPE,
	OPTION_RECORDS,
	OPTION_WORKERS,
	OPTION_NAME,
	OPTION_KINDS,
	OPTION_AT_ONCE,
	OPTION_RUNS,
	OPTION_SECONDS,
	OPTION_HANDSHAKES,
	OPTION_WARM_UP,
	OPTION_THREADS,
	OPTION_SILENT,
	OPTION_UNTIL,
	OPTION_TLS,
	OPTION_CIPHER,
	OPTION_PRIORITIES,
	OPTION_PIDS,
	OPTION_TIMEOUT,
	OPTION_CERTIFICATE,
	OPTION_KEY,
	OPTION_JSON,
	OPTION_PLOT,
	OPTION_QUIET,
};

static const struct option longs[] = {
    {"target", required_argument, NULL, OPTION_TARGET},
    {"server", required_argument, NULL, OPTION_SERVER},
    {"client", required_argument, NULL, OPTION_CLIENT},
    {"by", required_argument, NULL, OPTION_BY},
    {"key", required_argument, NULL, OPTION_KEY_TYPE},
    {"records", required_argument, NULL, OPTION_RECORDS},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"name", required_argument, NULL, OPTION_NAME},
    {"kinds", required_argument, NULL, OPTION_KINDS},
    {"at-once", required_argument, NULL, OPTION_AT_ONCE},
    {"runs", required_argument, NULL, OPTION_RUNS},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"handshakes", required_argument, NULL, OPTION_HANDSHAKES},
    {"warm-up", required_argument, NULL, OPTION_WARM_UP},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"silent", required_argument, NULL, OPTION_SILENT},
    {"until", required_argument, NULL, OPTION_UNTIL},
    {"tls", required_argument, NULL, OPTION_TLS},
    {"cipher", required_argument, NULL, OPTION_CIPHER},
    {"priorities", required_argument, NULL, OPTION_PRIORITIES},
    {"pids", required_argument, NULL, OPTION_PIDS},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"certificate", required_argument, NULL, OPTION_CERTIFICATE},
    {"private-key", required_argument, NULL, OPTION_KEY},
    {"json", no_argument, NULL, OPTION_JSON},
    {"plot", required_argument, NULL, OPTION_PLOT},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const char usage[] =
    "Usage: handshake perf rate [OPTIONS...]\n\n"
    "Where:\n"
    "  (nothing)             both ends in this host, with a daemon of their own\n"
    "  --server ADDRESS:PORT this is the server's end, and needs no more; \":PORT\" for all\n"
    "                        addresses\n"
    "  --client HOST:PORT    this is the client's end; the server's waits there\n"
    "  --target HOST:PORT    any TLS server; nothing is asked of it but TLS\n"
    "What is measured:\n"
    "  --by LIST             of gnutls (one process without the daemon), listen, handshake\n"
    "  --key ecdsa|rsa       the server's key (default: ecdsa)\n"
    "  --records PATH        auto, kernel or relay (default: auto)\n"
    "  --workers N           of the daemon (default: 1)\n"
    "  --kinds LIST          of full, resumed, mutual, early-data, post-quantum (default: full)\n"
    "  --tls 1.2|1.3         the version (default: 1.3)\n"
    "  --cipher NAME         AES-128-GCM (default), AES-256-GCM, CHACHA20-POLY1305, AES-128-CCM\n"
    "With --target:\n"
    "  --name NAME           the server name to send (default: HOST, unless it is an address)\n"
    "  --priorities STRING   GnuTLS's, in place of version and cipher\n"
    "  --certificate FILE, --private-key FILE\n"
    "                        what the client shows in \"mutual\" (PEM)\n"
    "  --until WORD          a connection ends when the server closes it (close), when it does so\n"
    "                        after close_notify (answer, the default) or after its answer to an\n"
    "                        HTTP request (response), or with the client's handshake (handshake)\n"
    "  --pids PID,PID,...    processes whose CPU time is the server's\n"
    "How:\n"
    "  --at-once LIST        handshakes under way at once (default: 1,16)\n"
    "  --runs N              of each case, in turns, after one that does not count (default: 5)\n"
    "  --seconds N           each run, once all are active (default: 3)\n"
    "  --handshakes N        each run, instead\n"
    "  --warm-up TIME        before that, at least (default: 500ms)\n"
    "  --threads N           of the load (default: one for each processor)\n"
    "  --silent N            connections that say nothing, beside them\n"
    "  --timeout TIME        for one connection (default: 10s)\n"
    "What is told:\n"
    "  --json                every run, as JSON\n"
    "  --plot FILE           a drawing of it, SVG\n"
    "  --quiet               no display while it runs\n";

const struct rate_kind *rate_kind_find(const char *name)
{
	for (size_t i = 0; i < KINDS; i++)
		if (strcmp(rate_kinds[i].name, name) == 0)
			return &rate_kinds[i];
	return NULL;
}

/* ---- Lists --------------------------------------------------------------------------------- */

static int take_at_once(void *context, const char *word, unsigned at,
			struct options_problem *problem)
{
	struct rate_options *options = context;

	options->at_once_count = at + 1;
	return value_read_count(word, 20000, &options->at_once[at], problem);
}

static int take_kind(void *context, const char *word, unsigned at, struct options_problem *problem)
{
	struct rate_options *options = context;
	const char *names[KINDS + 1] = {0};
	int found;

	for (size_t i = 0; i < KINDS; i++)
		names[i] = rate_kinds[i].name;
	found = value_read_word(word, names, problem);
	options->kinds[at] = &rate_kinds[found < 0 ? 0 : found];
	options->kind_count = at + 1;
	return found < 0 ? -1 : 0;
}

static int take_by(void *context, const char *word, unsigned at, struct options_problem *problem)
{
	struct rate_options *options = context;

	options->by_count = at + 1;
	return value_read_name(word, rate_ways, &options->by[at], problem);
}

/* ---- Options ------------------------------------------------------------------------------- */

static int option_apply(struct rate_options *options, int option, const char *value,
			struct options_problem *problem)
{
	static const char *const ends[] = {"close", "answer", "response", "handshake", NULL};
	struct cpu_parts parts = {.count = 0};
	int word;

	switch (option) {
	case OPTION_TARGET:
		options->target = value;
		return 0;
	case OPTION_SERVER:
		options->server = value;
		return 0;
	case OPTION_CLIENT:
		options->client = value;
		return 0;
	case OPTION_BY:
		return value_read_list(value, RATE_LIST_MAX, take_by, options, problem);
	case OPTION_KEY_TYPE:
		return value_read_name(value, value_key_types, &options->key_type, problem);
	case OPTION_RECORDS:
		return value_read_name(value, value_records, &options->records, problem);
	case OPTION_WORKERS:
		return value_read_count(value, 128, &options->workers, problem);
	case OPTION_NAME:
		options->server_name = value;
		return 0;
	case OPTION_KINDS:
		return value_read_list(value, RATE_LIST_MAX, take_kind, options, problem);
	case OPTION_AT_ONCE:
		return value_read_list(value, RATE_LIST_MAX, take_at_once, options, problem);
	case OPTION_RUNS:
		return value_read_count(value, RATE_RUNS_MAX, &options->runs, problem);
	case OPTION_SECONDS:
		return value_read_seconds(value, &options->seconds, problem);
	case OPTION_HANDSHAKES:
		return options_read_number(value, 1, 100000000, &options->handshakes, problem);
	case OPTION_WARM_UP:
		return value_read_seconds(value, &options->warm_up, problem);
	case OPTION_THREADS:
		return value_read_count(value, 256, &options->threads, problem);
	case OPTION_SILENT:
		return value_read_count(value, 20000, &options->silent, problem);
	case OPTION_UNTIL:
		word = value_read_word(value, ends, problem);
		options->end = word < 0 ? LOAD_UNTIL_ANSWER : (enum load_end)word;
		return word < 0 ? -1 : 0;
	case OPTION_TLS:
		return value_read_name(value, value_versions, &options->tls, problem);
	case OPTION_CIPHER:
		return value_read_name(value, value_ciphers, &options->cipher, problem);
	case OPTION_PRIORITIES:
		options->priorities = value;
		return 0;
	case OPTION_PIDS:
		options->pids = value;
		if (cpu_parts_add_list(&parts, value, "server") == 0)
			return 0;
		snprintf(problem->text, sizeof(problem->text),
			 "\"%.100s\" is no list of process ids", value);
		return -1;
	case OPTION_TIMEOUT:
		return value_read_seconds(value, &options->timeout, problem);
	case OPTION_CERTIFICATE:
		options->certificate = value;
		return 0;
	case OPTION_KEY:
		options->private_key = value;
		return 0;
	case OPTION_PLOT:
		options->plot = value;
		return 0;
	case OPTION_JSON:
		options->json = true;
		return 0;
	default:
		options->quiet = true;
		return 0;
	}
}

static int options_judge(const struct rate_options *options, unsigned given)
{
	bool mutual = false;

	for (unsigned i = 0; i < options->kind_count; i++)
		mutual = mutual || options->kinds[i]->mutual;
	if (!!options->target + !!options->client + !!options->server > 1)
		return options_refuse(TOOL, "--target, --client and --server exclude each other");
	if (options->server && given > 1)
		return options_refuse(TOOL, "--server takes no other option: the client's end "
					    "decides all the rest");
	if (!options->target && (options->server_name || options->priorities || options->pids ||
				 options->certificate || options->end != LOAD_UNTIL_ANSWER))
		return options_refuse(TOOL, "--name, --priorities, --pids, --certificate and "
					    "--until are for a --target");
	if (!options->certificate != !options->private_key)
		return options_refuse(TOOL, "--certificate and --private-key belong together");
	if (mutual && options->target && !options->certificate)
		return options_refuse(
		    TOOL, "a client of \"mutual\" needs a --certificate and its --private-key");
	return TOOL_OK;
}

int rate_options_read(struct rate_options *options, int argc, char **argv, bool *ret_help)
{
	struct options_problem problem;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned given = 0;
	int option;

	*ret_help = false;
	*options = (struct rate_options){
	    .kinds = {&rate_kinds[0]},
	    .kind_count = 1,
	    .by = {rate_ways[0], rate_ways[1], rate_ways[2]},
	    .by_count = RATE_WAYS,
	    .records = "auto",
	    .workers = 1,
	    .key_type = "ecdsa",
	    .at_once = {1, 16},
	    .at_once_count = 2,
	    .runs = 5,
	    .threads = processors < 1 ? 1 : (unsigned)processors,
	    .seconds = 3,
	    .warm_up = 0.5,
	    .timeout = 10,
	    .tls = "1.3",
	    .cipher = "AES-128-GCM",
	    .end = LOAD_UNTIL_ANSWER,
	};
	while ((option = options_next(TOOL, argc, argv, longs)) != -1) {
		if (option == '?')
			return TOOL_USAGE;
		if (option == 'h') {
			fputs(usage, stdout);
			*ret_help = true;
			return TOOL_OK;
		}
		given++;
		if (option_apply(options, option, optarg, &problem) < 0)
			return options_refuse(TOOL, "%s", problem.text);
	}
	if (optind < argc)
		return options_refuse(TOOL, "there is nothing to do with \"%s\"", argv[optind]);
	return options_judge(options, given);
}
