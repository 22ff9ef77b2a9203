// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The HTTP library's reading, led through libhandshake, and its sending of files, in larger steps. Touches
 * the connections' descriptors. Never lets a record that carries no data (an alert, a key update) reach the
 * library, which would take it for an error.
 *
 * The library reads its connections with recv(2), sends files with sendfile64(2), and offers no other way.
 * Defined here, in the program, the names stand before libc's for the shared libraries, too; what is no
 * connection of ours goes on to the system call as before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "serve.h"

#define LIBRARY_STEP (UINT64_C(128) << 10) /* what the library sends of a file at once, at most */
#define STEP         (UINT64_C(8) << 20) /* and what we do, if it fits: others have to have their turn */

struct slot {
	struct serve_connection *connection;
};

static struct {
	struct slot *slots; /* by descriptor */
	size_t count;
	bool within; /* libhandshake calls recv itself */
} records;

bool serve_records_add(struct serve_connection *connection)
{
	size_t fd = (size_t)connection->fd;

	if (fd >= records.count) {
		size_t count = fd * 2 + 64;
		struct slot *grown = reallocarray(records.slots, count, sizeof(*grown));

		if (!grown)
			return false;
		memset(grown + records.count, 0, (count - records.count) * sizeof(*grown));
		records.slots = grown;
		records.count = count;
	}
	records.slots[fd].connection = connection;
	return true;
}

void serve_records_remove(const struct serve_connection *connection)
{
	size_t fd = (size_t)connection->fd;

	if (connection->fd >= 0 && fd < records.count && records.slots[fd].connection == connection)
		records.slots[fd].connection = NULL;
}

void serve_records_done(void)
{
	free(records.slots);
	records.slots = NULL;
	records.count = 0;
}

bool serve_records_tend(struct serve_connection *connection)
{
	/* What the library sends, nobody counts but the kernel. */
	if (connection->early_real >= 0 ||
	    handshake_send(connection->handshake, connection->fd, NULL, 0) == 0 ||
	    (errno != EKEYEXPIRED && errno != EPROTO))
		return true;
	serve_say(connection->serve, "connection closed: %s",
		  handshake_error(connection->handshake));
	return false;
}

__attribute__((visibility("default"))) ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
	struct serve_connection *connection =
	    fd >= 0 && (size_t)fd < records.count ? records.slots[fd].connection : NULL;
	ssize_t received;

	if (!connection || records.within || flags || connection->early_real >= 0)
		return recvfrom(fd, buffer, size, flags, NULL, NULL);
	records.within = true;
	received = handshake_recv(connection->handshake, fd, buffer, size);
	records.within = false;
	return received;
}

/* Between two steps the library waits for events, so short ones cost twice. It goes on from where the count
 * that comes back says, be that more than it asked for; but the last step must be one that it asked for, as
 * it pushes out (TCP_CORK, tcp(7)) what it knows to be the last. */
__attribute__((visibility("default"))) ssize_t sendfile64(int fd, int file_fd, off64_t *offset,
							  size_t count)
{
	const struct serve_connection *connection =
	    fd >= 0 && (size_t)fd < records.count ? records.slots[fd].connection : NULL;
	uint64_t left;

	if (connection && connection->early_real < 0 && file_fd == connection->file_fd && offset &&
	    count == LIBRARY_STEP && (uint64_t)*offset < connection->file_end) {
		left = connection->file_end - (uint64_t)*offset;
		if (left > 2 * LIBRARY_STEP)
			count = left - LIBRARY_STEP < STEP ? left - LIBRARY_STEP : STEP;
	}
	return sendfile(fd, file_fd, offset, count);
}
