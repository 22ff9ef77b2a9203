// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The command "handshake": finds the subcommand and runs it; bare, it shows the daemon's state.
 * Touches nothing itself.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

static const struct subcommand {
	const char *name;
	int (*function)(int argc, char **argv);
	const char *what;
} subcommands[] = {
    {"serve", serve_main, "serve a directory over HTTPS"},
    {"connect", connect_main, "connect standard input and output to a TLS server"},
    {"trace", trace_main, "draw the handshakes of all programs as they end"},
    {"status", status_main, "show the daemon's state and counters"},
    {"perf", perf_main, "measure handshakes and throughput, beside the TLS library alone"},
    {"doctor", doctor_main, "tell what this kernel and this machine's library can do"},
};

static void usage(FILE *stream)
{
	fprintf(stream, "Usage: handshake [SUBCOMMAND [OPTIONS...]]\n\nSubcommands:\n");
	for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++)
		fprintf(stream, "  %-8s  %s\n", subcommands[i].name, subcommands[i].what);
	fprintf(stream,
		"\nWithout a subcommand it shows the daemon's state, as \"handshake status\""
		" does.\n\"handshake SUBCOMMAND --help\" tells the options;"
		" handshake(1) tells the rest.\n");
}

static int bare(void)
{
	int status = status_show_if_there();

	if (status >= 0)
		return status;
	usage(stderr);
	fprintf(stderr, "\nNo daemon answers here; \"handshake status\" tells why.\n");
	return TOOL_FAILURE;
}

int main(int argc, char **argv)
{
	/* A peer that goes away is an error of that write, not the end of the program. */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2)
		return bare();
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return TOOL_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("handshake %s\n", VERSION);
		return TOOL_OK;
	}
	for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++)
		if (strcmp(argv[1], subcommands[i].name) == 0)
			return subcommands[i].function(argc - 1, argv + 1);
	fprintf(stderr,
		"handshake: there is no %s \"%s\"; \"handshake --help\" lists what there is\n",
		argv[1][0] == '-' ? "option" : "subcommand", argv[1]);
	return TOOL_USAGE;
}
