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
	pid_t server; /* -1: not in this host */
};

/* HOST:PORT to an address, and the name in it ("" for an address). Ends this process where it cannot. */
void reach_resolve(struct reach *reach, const char *text, char *name, size_t size);
/* client: HOST:PORT where it waits; NULL: in this host, started here. Ends this process where it cannot. */
void reach_server(struct reach *reach, const char *client);
/* Where the case that comes now is served. */
void reach_port(struct reach *reach, unsigned port);
void reach_end(struct reach *reach);

#endif
