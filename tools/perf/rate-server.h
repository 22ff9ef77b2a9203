/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A server that completes handshakes and closes each connection after its own, and who performs them. */
#ifndef PERF_RATE_SERVER_H
#define PERF_RATE_SERVER_H

#include <stdbool.h>

enum { RATE_WAYS = 3 };
/* Who performs the handshakes: "gnutls", in this one process; "listen", the daemon, which accepts; "handshake",
 * the daemon, for sockets that this process accepts. NULL behind them. */
extern const char *const rate_ways[RATE_WAYS + 1];

struct rate_server {
	const char *by; /* one of those */
	int listener;   /* blocking */
	/* Where 'b' (begin anew to count) and 'e' come from, and what was counted goes to, a line of JSON; its
	 * end is the server's. -1: there is none, and so neither counting nor a look at the clock. */
	int control;
	/* By the daemon: */
	const char *socket; /* NULL: where the library finds it */
	const char *profile;
	/* By GnuTLS, files in PEM: */
	const char *certificate;
	const char *key;
	const char *priorities;
	const char *trust; /* whom clients' certificates are to be from; NULL: none is asked for */
	bool tickets;      /* sessions can be resumed */
	bool farewell; /* close_notify before the end (RFC 8446, 6.1), as by the daemon's relay */
};

/* Serves until it is ended. */
void rate_server_run(const struct rate_server *server) __attribute__((noreturn));

#endif
