/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records by a relay process of the daemon, for kernels that cannot: the worker's side. */
#ifndef OFFLOAD_RELAY_H
#define OFFLOAD_RELAY_H

#include <stddef.h>
#include <sys/types.h>

#include "traffic-keys.h"

/* What one datagram from a worker to a relay process carries beside its three descriptors (in this
 * order: the TCP socket, the relay's end of the program's socketpair, the state memfd). */
struct relay_request {
	uint32_t version; /* RELAY_REQUEST_VERSION: worker and relay are the same program */
	uid_t uid;        /* of the program: relayed connections are bounded per user */
	pid_t holder;     /* the worker, which may hold a PLACE_RELAY_EXPECTED for it */
	struct traffic_keys keys;
};
enum { RELAY_REQUEST_VERSION = 2, RELAY_REQUEST_FDS = 3 };

/* Hands an established connection to a relay process over relay_socket (SOCK_SEQPACKET, the worker's
 * end). fd stays the caller's (the relay gets its own duplicate). 0 and two new descriptors for the
 * program; or -errno (-EAGAIN: the relay is full, -EPIPE: it is gone) with a sentence. Never blocks. */
int offload_relay_start(int relay_socket, uid_t uid, int fd, const struct traffic_keys *keys,
			int *ret_program_fd, int *ret_state_fd, char *reason, size_t size);

#endif
