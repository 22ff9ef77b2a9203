// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The options of "handshake perf throughput". Touches argv and, to refuse, stderr.
 */
#include <string.h>

#include "../options.h"
#include "../tool.h"
#include "throughput.h"

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
    "  --server ADDRESS:PORT this is the server's end; \":PORT\" for all addresses\n"
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

/* The position of the word, or -1. */
static int word_read(const char *text, const char *const *words, struct options_problem *problem)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	snprintf(problem->text, sizeof(problem->text), "\"%.100s\" is none of what there is", text);
	return -1;
}

/* One value of a list, at that position. 0 or -1. */
static int list_take(struct throughput_options *options, int option, const char *word, unsigned at,
		     struct options_problem *problem)
{
	uint64_t number;
	int found;

	switch (option) {
	case OPTION_PATHS:
		found = word_read(word, throughput_paths, problem);
		options->paths[at % PATH_COUNT] = (enum throughput_path)(found < 0 ? 0 : found);
		options->path_count = at + 1;
		options->paths_given = true;
		return found < 0 ? -1 : 0;
	case OPTION_DIRECTION:
		found = word_read(word, throughput_directions, problem);
		options->up[at % 2] = found == 1;
		options->direction_count = at + 1;
		return found < 0 ? -1 : 0;
	case OPTION_SIZES:
		options->size_count = at + 1;
		return size_read(word, &options->sizes[at], problem);
	default:
		if (options_read_number(word, 1, STREAMS_MAX, &number, problem) < 0)
			return -1;
		options->streams[at] = (unsigned)number;
		options->streams_count = at + 1;
		return 0;
	}
}

static int list_read(struct throughput_options *options, int option, const char *text,
		     struct options_problem *problem)
{
	unsigned most = option == OPTION_PATHS       ? PATH_COUNT
			: option == OPTION_DIRECTION ? 2
						     : THROUGHPUT_LIST_MAX;
	char copy[256], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", text);
	for (unsigned at = 0; (word = strsep(&rest, ",")); at++) {
		if (at == most) {
			snprintf(problem->text, sizeof(problem->text),
				 "\"%.200s\" has more than %u parts", text, most);
			return -1;
		}
		if (list_take(options, option, word, at, problem) < 0)
			return -1;
	}
	return 0;
}

static int seconds_read(const char *text, double *ret_seconds, struct options_problem *problem)
{
	uint64_t ms;

	if (options_read_time(text, 1000, 1, 3600000, &ms, problem) < 0)
		return -1;
	*ret_seconds = (double)ms / 1000;
	return 0;
}

static int value_apply(struct throughput_options *options, int option, const char *value,
		       struct options_problem *problem)
{
	static const char *const versions[] = {"1.2", "1.3", NULL};
	static const char *const keys[] = {"ecdsa", "rsa", NULL};
	static const char *const ciphers[] = {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305",
					      "AES-128-CCM", NULL};
	uint64_t number;

	switch (option) {
	case OPTION_SERVER:
		options->server = value;
		return 0;
	case OPTION_CLIENT:
		options->client = value;
		return 0;
	case OPTION_KEY_TYPE:
		options->key_type = value;
		return word_read(value, keys, problem) < 0 ? -1 : 0;
	case OPTION_TLS:
		options->tls = value;
		return word_read(value, versions, problem) < 0 ? -1 : 0;
	case OPTION_CIPHER:
		options->cipher = value;
		return word_read(value, ciphers, problem) < 0 ? -1 : 0;
	case OPTION_RUNS:
		if (options_read_number(value, 1, THROUGHPUT_RUNS_MAX, &number, problem) < 0)
			return -1;
		options->runs = (unsigned)number;
		return 0;
	case OPTION_SECONDS:
		return seconds_read(value, &options->seconds, problem);
	case OPTION_WARM_UP:
		return seconds_read(value, &options->warm_up, problem);
	case OPTION_PLOT:
		options->plot = value;
		return 0;
	default:
		return list_read(options, option, value, problem);
	}
}

static int option_apply(struct throughput_options *options, int option, const char *value,
			struct options_problem *problem)
{
	switch (option) {
	case OPTION_DISCARD:
		options->discard = true;
		return 0;
	case OPTION_CROSSOVER:
		options->crossover = true;
		return 0;
	case OPTION_JSON:
		options->json = true;
		return 0;
	case OPTION_QUIET:
		options->quiet = true;
		return 0;
	default:
		return value_apply(options, option, value, problem);
	}
}

int throughput_options_read(struct throughput_options *options, int argc, char **argv,
			    bool *ret_help)
{
	struct options_problem problem;
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
		if (option_apply(options, option, optarg, &problem) < 0)
			return options_refuse(TOOL, "%s", problem.text);
	}
	if (optind < argc)
		return options_refuse(TOOL, "there is nothing to do with \"%s\"", argv[optind]);
	if (options->client && options->server)
		return options_refuse(TOOL, "--client and --server exclude each other");
	return TOOL_OK;
}
