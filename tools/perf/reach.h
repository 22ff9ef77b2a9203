/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way from the client's end to the server's: in this host a child, or in another one that waits. */
#ifndef PERF_REACH_H
#define PERF_REACH_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "link.h"

struct reach {
	struct sockaddr_storage address; /* what is measured listens there */
	socklen_t address_size;
	struct link link;
	pid_t server;   /* -1: not in this host */
	char text[128]; /* the address with its port, of what is measured */
};

/* HOST:PORT to an address, of several the first where somebody listens, and the name in it ("" for an address).
 * Ends this process where it cannot. */
void reach_resolve(struct reach *reach, const char *text, char *name, size_t size);
/* client: HOST:PORT where it waits; NULL: in this host, started here. Ends this process where it cannot. */
void reach_server(struct reach *reach, const char *client);
/* The first question, which is taken: what the server's end is to be like. Sets "server" in machines to what it
 * tells of itself, and what each end is reached at. Ends this process where the two ends do not fit. */
void reach_begin(struct reach *reach, json_t *question, json_t *machines);
/* Sets "round-trip-us" of the server in machines, where that is another host: the shortest that TCP saw of the
 * questions until now. A handshake's time says nothing without it. */
void reach_round_trip(const struct reach *reach, json_t *machines);
/* Where the case that comes now is served. */
void reach_port(struct reach *reach, unsigned port);
void reach_end(struct reach *reach);

#endif
