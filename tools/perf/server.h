/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server's end of a measurement: does what the other end asks over a link, until that is gone. */
#ifndef PERF_SERVER_H
#define PERF_SERVER_H

#include <gnutls/gnutls.h>
#include <jansson.h>
#include <sys/types.h>

#include "link.h"
#include "own-daemon.h"

/* Raised with each change of what the two ends say to each other: they must be of one. */
enum { SERVER_PROTOCOL = 1 };

/* What is under measurement; strings live as long as the server. */
struct server {
	struct link *link;
	struct own_daemon daemon;
	const char *socket;      /* the daemon's */
	const char *certificate; /* for GnuTLS in one process; "": there is none */
	const char *key;
	char tls[8], cipher[32];
	char host[64]; /* the address to listen on */
};

/* Serves one other end over fd, which is taken, in a child of this process, until that is gone; also_close is the
 * parent's. host: the address on which the servers under measurement listen. */
pid_t server_fork(int fd, int also_close, const char *host);
/* Waits for other ends at ADDRESS:PORT, serves one after another, and never returns. */
void server_listen(const char *address) __attribute__((noreturn));
/* The same in a child of this process, at the other end of a pair. */
pid_t server_start(struct link *ret_link);

/* GnuTLS's priorities of both ends: one version, cipher and group, so that a handshake has those or fails. */
void priorities_write(char *text, size_t size, const char *tls, const char *cipher,
		      const char *group);

#endif
