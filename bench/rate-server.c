// SPDX-License-Identifier: LGPL-2.1-or-later
// The server of "handshake perf rate" by itself, for any load: without anybody who asks what it counts, and so
// without counting.

#include "measure.h"

#include <signal.h>

#include "perf/rate-server.h"
#include "perf/values.h"

static const char usage[] =
    "usage: rate-server --mode listen|handshake|gnutls [--profile NAME]\n"
    "  [--certificate FILE --key FILE] [--priorities STRING] [--tickets]\n"
    "--tickets: with GnuTLS in this process, so that sessions can be resumed.\n"
    "Prints its port, then serves until it is ended. $HANDSHAKED_SOCKET names the daemon.\n";

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"mode", required_argument, NULL, 'm'},
	    {"profile", required_argument, NULL, 'P'},
	    {"certificate", required_argument, NULL, 'c'},
	    {"key", required_argument, NULL, 'k'},
	    {"priorities", required_argument, NULL, 'p'},
	    {"tickets", no_argument, NULL, 't'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct rate_server server = {
	    .by = "",
	    .control = -1,
	    .profile = "default",
	    .priorities = PRIORITIES ":%SERVER_PRECEDENCE",
	    .farewell = true,
	};
	unsigned port;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'm':
			server.by = optarg;
			break;
		case 'P':
			server.profile = optarg;
			break;
		case 'c':
			server.certificate = optarg;
			break;
		case 'k':
			server.key = optarg;
			break;
		case 'p':
			server.priorities = optarg;
			break;
		case 't':
			server.tickets = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	if (value_find(server.by, rate_ways) < 0 ||
	    (!strcmp(server.by, "gnutls") && (!server.certificate || !server.key))) {
		fputs(usage, stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	server.listener = tcp_listen(LOOPBACK, &port);
	printf("%u\n", port);
	fflush(stdout);
	rate_server_run(&server);
}
