// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The blocking handshake: the asynchronous one, waited for. Touches what the client touches. Never
 * waits longer than its deadline, even for a daemon that has stopped.
 */
#include "internal.h"

#include <errno.h>

#include "cleanup.h"

#define TIMEOUT_BOUND_MS  130000 /* where the profile decides: more than a sensible one allows */
#define TIMEOUT_MARGIN_MS 2000   /* for the daemon to find out and to say so itself */

static void client_done(struct handshake_client **client)
{
	handshake_client_free(*client);
}

static void perform_expire(struct handshake_client *client, struct handshake *handshake)
{
	bool sent = handshake->stage == STAGE_SENT;

	handshake_client_cancel(client, handshake);
	if (sent)
		result_fail(handshake, HANDSHAKE_POISONED, HANDSHAKE_CLASS_TIMEOUT, 0, true,
			    "the daemon has not answered within the time");
	else
		result_fail(handshake, HANDSHAKE_UNTOUCHED, HANDSHAKE_CLASS_TIMEOUT, 0, true,
			    "the daemon has not taken the request within the time");
}

static void perform_run(struct handshake *handshake, const char *path, int fd)
{
	_cleanup_(client_done) struct handshake_client *client = NULL;
	struct handshake *ended;
	int64_t timeout = handshake->timeout_ms ? handshake->timeout_ms : TIMEOUT_BOUND_MS;
	struct deadline deadline;
	int daemon, r;

	/* Before the connection is made, which may get the number of one that is closed. */
	r = socket_check(fd);
	if (r < 0) {
		handshake->fd = fd;
		return request_fail(handshake, -r);
	}
	deadline = deadline_in(timeout + TIMEOUT_MARGIN_MS);
	daemon = link_connect(path, &deadline);
	if (daemon < 0)
		return link_fail(handshake, path, -daemon);
	client = client_adopt(daemon, path);
	if (!client)
		return request_fail(handshake, ENOMEM);
	if (handshake_client_start(client, handshake, fd) < 0)
		return;
	while (handshake_client_process(client, &ended) == 0) {
		if (link_wait(handshake_client_fd(client), handshake_client_events(client),
			      deadline) == 0)
			return perform_expire(client, handshake);
	}
}

int handshake_perform(struct handshake *handshake, const char *path, int fd)
{
	if (handshake->client) {
		errno = EBUSY;
		return -1;
	}
	result_reset(handshake);
	perform_run(handshake, path, fd);
	if (handshake->outcome == HANDSHAKE_ESTABLISHED)
		return 0;
	errno = handshake->failure_errno;
	return -1;
}
