// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Asking the daemon for its state. Touches the daemon's Unix socket. Never waits without a deadline.
 */
#include "daemon-status.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "cleanup.h"

#define ANSWER_TIMEOUT_S 5

int daemon_connect(const char *path, char *error, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	/* Connecting waits for room in the daemon's queue no longer than this. */
	struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	_cleanup_close_ int fd = -1;

	if (!path)
		path = getenv(HANDSHAKE_SOCKET_VARIABLE);
	if (!path || !*path)
		path = HANDSHAKE_SOCKET_DEFAULT;
	if (strlen(path) >= sizeof(address.sun_path)) {
		snprintf(error, size,
			 "the path of the daemon's socket, \"%s\", is longer than %zu bytes", path,
			 sizeof(address.sun_path) - 1);
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0) {
		snprintf(error, size, "cannot make a socket: %m");
		return -1;
	}
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd_take(&fd);
	if (errno == ENOENT || errno == ECONNREFUSED)
		snprintf(error, size, "no daemon answers at \"%s\": %m; is handshaked running?",
			 path);
	else if (errno == EACCES || errno == EPERM)
		snprintf(
		    error, size,
		    "this user may not use the daemon's socket \"%s\": %m; its owner, group and "
		    "mode decide who may",
		    path);
	else
		snprintf(error, size, "cannot connect to the daemon at \"%s\": %m", path);
	return -1;
}

/* Judges what came. */
static int answer_read(struct message *message, int received, char *error, size_t size)
{
	char wrong[256];
	const char *sentence;

	if (received <= 0) {
		errno = received < 0 ? -received : ECONNRESET;
		snprintf(error, size, "the daemon gave no answer: %m");
		return -1;
	}
	if (message_parse(message, wrong, sizeof(wrong)) < 0) {
		snprintf(error, size, "the daemon's answer cannot be followed: %s", wrong);
		return -1;
	}
	if (strcmp(message->operation, HANDSHAKE_OP_COUNTERS) == 0)
		return 0;
	sentence = message_get(message, HANDSHAKE_KEY_ERROR, 0);
	snprintf(error, size, "the daemon refused: %s",
		 sentence ? sentence : "it answered with something else");
	return -1;
}

int daemon_status_ask(const char *path, struct message *ret_message, char *error, size_t size)
{
	struct message_writer writer;
	_cleanup_close_ int fd = -1;
	struct pollfd polled = {.events = POLLIN};
	int r;

	fd = daemon_connect(path, error, size);
	if (fd < 0)
		return -1;
	message_begin(&writer, HANDSHAKE_OP_STATUS);
	message_add_number(&writer, HANDSHAKE_KEY_ID, 1);
	r = message_send(fd, &writer, NULL, 0);
	if (r < 0) {
		errno = -r;
		snprintf(error, size, "cannot ask the daemon: %m");
		return -1;
	}
	polled.fd = fd;
	do
		r = poll(&polled, 1, ANSWER_TIMEOUT_S * 1000);
	while (r < 0 && errno == EINTR);
	if (r == 0) {
		snprintf(error, size, "the daemon has not answered within %d seconds",
			 ANSWER_TIMEOUT_S);
		return -1;
	}
	r = message_receive(fd, ret_message);
	message_done(ret_message); /* no descriptor belongs to this answer */
	return answer_read(ret_message, r, error, size);
}
