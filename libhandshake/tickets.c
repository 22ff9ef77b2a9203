// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A server's tickets, sent back to the daemon, which keeps the session for another time. Touches the object
 * and the descriptor for them. Never waits: a ticket that cannot be sent is set aside.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"

#define TICKET_MAX  16384 /* bytes; the daemon keeps no larger one */
#define TICKETS_MAX 4     /* of one connection */

void tickets_done(struct tickets *tickets)
{
	if (tickets->fd >= 0)
		close(fd_take(&tickets->fd));
	free(tickets->message);
	tickets->message = NULL;
	tickets->size = 0;
	tickets->sent = 0;
}

void tickets_begin(struct tickets *tickets, const uint8_t *header, size_t header_size,
		   size_t body_size)
{
	free(tickets->message);
	tickets->message = NULL;
	if (tickets->fd < 0 || header_size + body_size > TICKET_MAX)
		return;
	tickets->message = malloc(header_size + body_size);
	if (!tickets->message)
		return;
	memcpy(tickets->message, header, header_size);
	tickets->size = header_size;
}

void tickets_add(struct tickets *tickets, const uint8_t *bytes, size_t size)
{
	if (!tickets->message)
		return;
	memcpy(tickets->message + tickets->size, bytes, size);
	tickets->size += size;
}

void tickets_end(struct tickets *tickets)
{
	if (!tickets->message)
		return;
	/* The daemon may have ended its waiting. */
	if (send(tickets->fd, tickets->message, tickets->size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
	    ++tickets->sent == TICKETS_MAX)
		tickets_done(tickets);
	free(tickets->message);
	tickets->message = NULL;
}
