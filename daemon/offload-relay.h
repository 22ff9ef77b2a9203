/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records by a relay process of the daemon, for kernels that cannot: the worker's side. */
#ifndef OFFLOAD_RELAY_H
#define OFFLOAD_RELAY_H

#include <stddef.h>
#include <sys/types.h>

#include "traffic-keys.h"

/* What one datagram from a worker to a relay process carries beside its descriptors (in this
 * order: the TCP socket, the relay's end of the program's socketpair, the state memfd, the relay's end of
 * the program's control socketpair; and, where a server's tickets are awaited, the socket to write them to). */
struct relay_request {
	uint32_t version; /* RELAY_REQUEST_VERSION: worker and relay are the same program */
	uid_t uid;        /* of the program: relayed connections are bounded per user */
	pid_t holder;     /* the worker, which may hold a PLACE_RELAY_EXPECTED for it */
	struct traffic_keys keys;
};
enum { RELAY_REQUEST_VERSION = 4, RELAY_REQUEST_FDS = 5 };

/* The program's descriptors: in place of its socket, and beside it. */
struct relay_ends {
	int program, state, control;
};

/* Hands an established connection to a relay process over relay_socket (SOCK_SEQPACKET, the worker's
 * end). fd and tickets (-1: none) stay the caller's (the relay gets its own duplicates). 0 and three new descriptors for the
 * program; or -errno (-EAGAIN: the relay is full, -EPIPE: it is gone) with a sentence. Never blocks. */
int offload_relay_start(int relay_socket, uid_t uid, int fd, const struct traffic_keys *keys,
			int tickets, struct relay_ends *ret_ends, char *reason, size_t size);

#endif
