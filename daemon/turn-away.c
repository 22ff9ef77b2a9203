// SPDX-License-Identifier: LGPL-2.1-or-later
// Refuses a program's connection. Touches that connection alone, keeps nothing of it. Must never leave a
// request unread behind a close: its sender could not tell whether its socket is untouched.
#include "turn-away.h"

#include "foreign.h"
#include "reply.h"

enum { PACKETS_MAX = 64 }; // more than a queue of the default size holds of requests

static void refuse(int fd, uint64_t id, const struct config *config)
{
	struct failure failure = {0};
	struct reply reply;

	failure_set(
	    &failure, FAILURE_BUSY, true,
	    "As many programs are connected as [daemon] clients-total (%u) allows, or half of them "
	    "for one user: try again",
	    config->clients_total);
	reply_build_refusal(&reply, id, &failure);
	message_send(fd, &reply.writer, NULL, 0);
}

static void close_descriptors(struct message *message, const struct caller *caller)
{
	for (size_t i = 0; i < message->fd_count; i++) {
		int fd = message_take_fd(message, i);

		if (fd >= 0 && foreign_is_stuck() && !foreign_is_socket(fd))
			foreign_blame(caller->uid);
		foreign_close(fd);
	}
}

void turn_away(int fd, const struct caller *caller, const struct config *config)
{
	refuse(fd, 0, config);
	// From here on the program's next request fails with EPIPE, so that it knows it never came.
	shutdown(fd, SHUT_RD);
	for (int i = 0; i < PACKETS_MAX; i++) {
		struct message message;
		struct request request = {0};
		struct failure form = {0};
		char wrong[256];

		if (FOREIGN_GUARDED(message_receive(fd, &message)) <= 0)
			break;
		message_parse(&message, wrong, sizeof(wrong));
		request_read(&message, &request, &form); // for the id alone
		close_descriptors(&message, caller);
		if (request.id)
			refuse(fd, request.id, config);
	}
	foreign_close(fd);
}
