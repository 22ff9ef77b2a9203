/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a program is told: an outcome becomes a packet and its descriptors. */
#ifndef REPLY_H
#define REPLY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "key-update.h"
#include "message.h"
#include "outcome.h"

struct reply {
	struct message_writer writer;
	int fds[HANDSHAKE_DESCRIPTORS_MAX + 1]; /* the caller's, to hand on or to close */
	size_t fd_count;
};

/* The answer to a handshake. Takes the relay's descriptors out of an established outcome. id 0: none
 * was readable. */
void reply_build(struct reply *reply, uint64_t id, struct outcome *outcome);
/* An established connection of a listening: takes *connection_fd too, leaving -1. Where the records go
 * through a relay, the relay's descriptor goes in its place, and it stays the caller's. */
void reply_build_connection(struct reply *reply, uint64_t id, struct outcome *outcome,
			    int *connection_fd, const struct sockaddr_storage *peer);
/* The answer to update-key. */
void reply_build_update(struct reply *reply, uint64_t id, const struct key_update_result *result);
/* A refusal before anything was done. */
void reply_build_refusal(struct reply *reply, uint64_t id, const struct failure *failure);

#endif
