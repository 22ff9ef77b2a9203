// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake perf": finds what is to be measured. Touches nothing itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "../tool.h"
#include "perf.h"

static const struct subject {
	const char *name;
	int (*function)(int argc, char **argv);
	const char *what;
} subjects[] = {
    {"rate", rate_main, "handshakes per second, their latency and where the time goes"},
    {"throughput", throughput_main, "bytes per second and what they cost, by each record path"},
};

static void usage(FILE *stream)
{
	fprintf(stream, "Usage: handshake perf SUBJECT [OPTIONS...]\n\nSubjects:\n");
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		fprintf(stream, "  %-10s  %s\n", subjects[i].name, subjects[i].what);
	fprintf(stream, "\n\"handshake perf SUBJECT --help\" tells the options;"
			" handshake-perf(1) tells the rest.\n");
}

int main(int argc, char **argv)
{
	static char name[] = "handshake perf";

	/* What was called begins the sentences of die(), not the file that it is in. */
	program_invocation_short_name = name;
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		usage(stderr);
		return TOOL_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return TOOL_OK;
	}
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		if (strcmp(argv[1], subjects[i].name) == 0)
			return subjects[i].function(argc - 1, argv + 1);
	fprintf(stderr,
		"handshake perf: there is no %s \"%s\"; \"handshake perf --help\" lists what "
		"there is\n",
		argv[1][0] == '-' ? "option" : "subject", argv[1]);
	return TOOL_USAGE;
}
