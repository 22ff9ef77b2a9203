/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of "handshake connect". */
#ifndef CONNECT_H
#define CONNECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handshake.h"

/* Connects by TCP to the first of the host's addresses that answers (RFC 8305: the next is tried
 * 250 ms after the one before). A descriptor, or -1 with a sentence in error. */
int connect_dial(const char *host, const char *port, uint64_t timeout_ms, char *error, size_t size);

struct connect_end {
	bool closed_by_peer;     /* the peer said close_notify */
	uint64_t sent, received; /* bytes of data */
	char error[1024];        /* "" or what went wrong */
};

/* Moves standard input to the connection and the connection to standard output until the peer ends.
 * At the input's end says close_notify, unless keep_open. fd becomes non-blocking. */
void connect_transfer(struct handshake *handshake, int fd, bool keep_open,
		      struct connect_end *ret_end);

/* What is to be sent first. The file is read once: a pipe has nothing more the second time. */
struct connect_early {
	const char *path;
	char *data; /* to be freed */
	size_t size;
};

/* Early data from a file ("-" is no file: standard input is for what follows). 0 or an exit status. */
int connect_early_prepare(struct handshake *handshake, const char *path,
			  struct connect_early *ret_early);
/* Sends it as the first data, unless the server took it as early data. 0, or -1: told on stderr. */
int connect_early_send(struct handshake *handshake, int fd, const struct connect_early *early);

#endif
