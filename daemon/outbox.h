/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets that wait for room in a program's connection, in their order, with their descriptors. */
#ifndef OUTBOX_H
#define OUTBOX_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "message.h"

struct outbox;

/* Called for each packet with a held place once it has left, or was discarded. */
typedef void outbox_released(void *context);
/* Called from the event loop after the queue has moved (a pause may end), or with the -errno with which
 * the connection refused a packet for good. The callee may free the outbox. */
typedef void outbox_moved(void *context, int error);

/* fd is borrowed. Edge-triggered if somebody watches the same fd so in this base (libevent forbids to
 * mix them). patience: milliseconds after which moved is called with -ETIMEDOUT if the program takes
 * nothing; 0: no bound. NULL with errno. */
struct outbox *outbox_new(struct event_base *base, int fd, bool edge_triggered, unsigned patience,
			  outbox_released *released, outbox_moved *moved, void *context);
/* Discards what waits. NULL is fine. */
void outbox_free(struct outbox *outbox);
/* Sends, or keeps a copy to send later. Takes the descriptors, whatever happens (-1 is skipped), and the
 * held place: released is called for it exactly once. 0; or -errno: the packet can never be sent
 * (-EMSGSIZE, -EINVAL), there is no memory, or the connection is broken (-EPIPE, -ECONNRESET). */
int outbox_push(struct outbox *outbox, const struct message_writer *writer, const int *fds,
		size_t fd_count, bool holds_place);
/* Packets that wait. */
size_t outbox_waiting(const struct outbox *outbox);

#endif
