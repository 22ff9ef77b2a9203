/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request of one of the kernel's own consumers, as the supervisor passes it to a worker, and the worker's
 * answer. Plain data. */
#ifndef KERNEL_REQUEST_H
#define KERNEL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "handshake-protocol.h"
#include "signer-lent.h"

struct kernel_request {
	uint64_t id; /* the supervisor's */
	bool is_server;
	bool unauthenticated; /* client: show no certificate, whatever the profile has */
	bool psk;             /* its keys come with it: see consumer-keys.h */
	/* A certificate comes with it (kernel-certificate.h), and this is its private key; number 0: none. */
	struct signer_lent own;
	char profile[HANDSHAKE_PROFILE_NAME_SIZE];
	char peer_name[HANDSHAKE_PEER_NAME_SIZE]; /* "": none */
	uint32_t timeout_ms;                      /* never 0 */
	char network[64]; /* the namespace's name, for the log; "": the daemon's own */
};

struct kernel_answer {
	uint64_t id;
	int32_t status; /* 0 or a positive errno, as the consumer gets it */
	bool peer_authenticated;
	int32_t key_serial; /* of the pre-shared key that was used; 0: none */
};

#endif
