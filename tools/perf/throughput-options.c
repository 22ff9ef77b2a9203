// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The options of "handshake perf throughput". Touches argv and, to refuse, stderr.
 */
#include <string.h>

#include "../options.h"
#include "../tool.h"
#include "throughput.h"
#include "values.h"

#define TOOL "handshake perf throughput"

enum {
	OPTION_SERVER = 256,
	OPTION_CLIENT,
	OPTION_PATHS,
	OPTION_SIZES,
	OPTION_STREAMS,
	OPTION_DIRECTION,
	OPTION_KEY_TYPE,
	OPTION_TLS,
	OPTION_CIPHER,
	OPTION_RUNS,
	OPTION_SECONDS,
	OPTION_WARM_UP,
	OPTION_DISCARD,
	OPTION_CROSSOVER,
	OPTION_JSON,
	OPTION_PLOT,
	OPTION_QUIET,
};

static const struct option longs[] = {
    {"server", required_argument, NULL, OPTION_SERVER},
    {"client", required_argument, NULL, OPTION_CLIENT},
    {"paths", required_argument, NULL, OPTION_PATHS},
    {"sizes", required_argument, NULL, OPTION_SIZES},
    {"streams", required_argument, NULL, OPTION_STREAMS},
    {"direction", required_argument, NULL, OPTION_DIRECTION},
    {"key", required_argument, NULL, OPTION_KEY_TYPE},
    {"tls", required_argument, NULL, OPTION_TLS},
    {"cipher", required_argument, NULL, OPTION_CIPHER},
    {"runs", required_argument, NULL, OPTION_RUNS},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"warm-up", required_argument, NULL, OPTION_WARM_UP},
    {"discard", no_argument, NULL, OPTION_DISCARD},
    {"crossover", no_argument, NULL, OPTION_CROSSOVER},
    {"json", no_argument, NULL, OPTION_JSON},
    {"plot", required_argument, NULL, OPTION_PLOT},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const char usage[] =
    "Usage: handshake perf throughput [OPTIONS...]\n\n"
    "Where:\n"
    "  (nothing)             both ends in this host, with a daemon of their own\n"
    "  --server ADDRESS:PORT this is the server's end, and needs no more; \":PORT\" for all\n"
    "                        addresses\n"
    "  --client HOST:PORT    this is the client's end; the server's waits there\n"
    "What is measured:\n"
    "  --paths LIST          of plain, gnutls, relay, kernel-write, kernel-sendfile,\n"
    "                        kernel-zerocopy (default: those that the server's kernel has,\n"
    "                        but for the last)\n"
    "  --sizes LIST          of one piece of data, from 1K to 1G (default: 1K,16K,256K,4M)\n"
    "  --streams LIST        connections at once (default: 1)\n"
    "  --direction LIST      of down (the server sends, default), up\n"
    "  --key ecdsa|rsa       the server's key (default: ecdsa)\n"
    "  --tls 1.2|1.3         the version (default: 1.3)\n"
    "  --cipher NAME         AES-128-GCM (default), AES-256-GCM, CHACHA20-POLY1305, AES-128-CCM\n"
    "  --discard             the client throws away what comes, unopened\n"
    "  --crossover           look for the size from which kernel records pay\n"
    "How:\n"
    "  --runs N              of each case, in turns, after one that does not count (default: 5)\n"
    "  --seconds N           each run, once all streams move (default: 1)\n"
    "  --warm-up TIME        before that, at least (default: 200ms)\n"
    "What is told:\n"
    "  --json                every run, as JSON\n"
    "  --plot FILE           a drawing of it, SVG\n"
    "  --quiet               no display while it runs\n";

/* ---- Values -------------------------------------------------------------------------------- */

static int size_read(const char *text, uint64_t *ret_size, struct options_problem *problem)
{
	static const struct {
		char unit;
		unsigned shift;
	} units[] = {{'K', 10}, {'M', 20}, {'G', 30}};
	size_t length = strlen(text);
	unsigned shift = 0;
	char digits[32];
	uint64_t number;

	for (size_t i = 0; length && i < sizeof(units) / sizeof(units[0]); i++)
		if (text[length - 1] == units[i].unit)
			shift = units[i].shift;
	snprintf(digits, sizeof(digits), "%.*s", (int)(length - (shift ? 1 : 0)), text);
	if (options_read_number(digits, 1, STREAM_SIZE_MAX, &number, problem) == 0 &&
	    number << shift >= 1024 && number << shift <= STREAM_SIZE_MAX) {
		*ret_size = number << shift;
		return 0;
	}
	snprintf(problem->text, sizeof(problem->text),
		 "\"%.100s\" is no size: it is a number of bytes from 1K to 1G, with K, M or G "
		 "behind it or without",
		 text);
	return -1;
}

/* ---- Lists --------------------------------------------------------------------------------- */

static int take_path(void *context, const char *word, unsigned at, struct options_problem *problem)
{
	struct throughput_options *options = context;
	int found = value_read_word(word, throughput_paths, problem);

	options->paths[at] = (enum throughput_path)(found < 0 ? 0 : found);
	options->path_count = at + 1;
	options->paths_given = true;
	return found < 0 ? -1 : 0;
}

static int take_direction(void *context, const char *word, unsigned at,
			  struct options_problem *problem)
{
	struct throughput_options *options = context;
	int found = value_read_word(word, throughput_directions, problem);

	options->up[at] = found == 1;
	options->direction_count = at + 1;
	return found < 0 ? -1 : 0;
}

static int take_size(void *context, const char *word, unsigned at, struct options_problem *problem)
{
	struct throughput_options *options = context;

	options->size_count = at + 1;
	return size_read(word, &options->sizes[at], problem);
}

static int take_streams(void *context, const char *word, unsigned at,
			struct options_problem *problem)
{
	struct throughput_options *options = context;

	options->streams_count = at + 1;
	return value_read_count(word, STREAMS_MAX, &options->streams[at], problem);
}

/* ---- Options ------------------------------------------------------------------------------- */

static int option_apply(struct throughput_options *options, int option, const char *value,
			struct options_problem *problem)
{
	switch (option) {
	case OPTION_SERVER:
		options->server = value;
		return 0;
	case OPTION_CLIENT:
		options->client = value;
		return 0;
	case OPTION_PATHS:
		return value_read_list(value, PATH_COUNT, take_path, options, problem);
	case OPTION_SIZES:
		return value_read_list(value, THROUGHPUT_LIST_MAX, take_size, options, problem);
	case OPTION_STREAMS:
		return value_read_list(value, THROUGHPUT_LIST_MAX, take_streams, options, problem);
	case OPTION_DIRECTION:
		return value_read_list(value, 2, take_direction, options, problem);
	case OPTION_KEY_TYPE:
		return value_read_name(value, value_key_types, &options->key_type, problem);
	case OPTION_TLS:
		return value_read_name(value, value_versions, &options->tls, problem);
	case OPTION_CIPHER:
		return value_read_name(value, value_ciphers, &options->cipher, problem);
	case OPTION_RUNS:
		return value_read_count(value, THROUGHPUT_RUNS_MAX, &options->runs, problem);
	case OPTION_SECONDS:
		return value_read_seconds(value, &options->seconds, problem);
	case OPTION_WARM_UP:
		return value_read_seconds(value, &options->warm_up, problem);
	case OPTION_PLOT:
		options->plot = value;
		return 0;
	case OPTION_DISCARD:
		options->discard = true;
		return 0;
	case OPTION_CROSSOVER:
		options->crossover = true;
		return 0;
	case OPTION_JSON:
		options->json = true;
		return 0;
	default:
		options->quiet = true;
		return 0;
	}
}

int throughput_options_read(struct throughput_options *options, int argc, char **argv,
			    bool *ret_help)
{
	struct options_problem problem;
	unsigned given = 0;
	int option;

	*ret_help = false;
	*options = (struct throughput_options){
	    .sizes = {1 << 10, 16 << 10, 256 << 10, 4 << 20},
	    .size_count = 4,
	    .streams = {1},
	    .streams_count = 1,
	    .direction_count = 1,
	    .runs = 5,
	    .seconds = 1,
	    .warm_up = 0.2,
	    .tls = "1.3",
	    .key_type = "ecdsa",
	    .cipher = "AES-128-GCM",
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
	if (options->client && options->server)
		return options_refuse(TOOL, "--client and --server exclude each other");
	if (options->server && given > 1)
		return options_refuse(TOOL, "--server takes no other option: the client's end "
					    "decides all the rest");
	return TOOL_OK;
}
