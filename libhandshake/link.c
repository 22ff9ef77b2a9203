// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The connection to the daemon: where it is, how it is made, how one waits on it. Touches the Unix
 * socket. Never waits without a deadline, and knows nothing of what is said on it.
 */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "cleanup.h"

const char *link_path(const char *path)
{
	if (path)
		return path;
	/* A program with more rights than its caller must not ask a daemon of the caller's choice. */
	path = secure_getenv(HANDSHAKE_SOCKET_VARIABLE);
	return path && *path ? path : HANDSHAKE_SOCKET_DEFAULT;
}

/* A connect to a Unix socket waits only for room in the queue, and that for SO_SNDTIMEO. */
static int connect_bounded(int fd, const struct sockaddr_un *address, struct deadline deadline)
{
	for (;;) {
		int left = deadline_left(deadline);
		struct timeval timeout = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000L};

		if (left == 0)
			return -EAGAIN;
		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
			return -errno;
		if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

int link_connect(const char *path, const struct deadline *deadline)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	size_t length;
	int r = 0;

	path = link_path(path);
	length = strlen(path);
	if (length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, length + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (deadline ? 0 : SOCK_NONBLOCK), 0);
	if (fd < 0)
		return -errno;
	if (deadline)
		r = connect_bounded(fd, &address, *deadline);
	else if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		r = -errno;
	return r < 0 ? r : fd_take(&fd);
}

void link_fail(struct handshake *handshake, const char *path, int error)
{
	const enum handshake_outcome untouched = HANDSHAKE_UNTOUCHED;

	path = link_path(path);
	errno = error;
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		result_fail(handshake, untouched, HANDSHAKE_CLASS_UNAVAILABLE, error, true,
			    "no daemon answers at \"%s\": %m; is handshaked running?", path);
		break;
	case EACCES:
	case EPERM:
		result_fail(
		    handshake, untouched, HANDSHAKE_CLASS_DENIED, EACCES, false,
		    "this user may not use the daemon's socket \"%s\": %m; its owner, group "
		    "and mode decide who may",
		    path);
		break;
	case EAGAIN:
		result_fail(handshake, untouched, HANDSHAKE_CLASS_BUSY, 0, true,
			    "the daemon at \"%s\" has a full queue and takes no connection", path);
		break;
	case ENAMETOOLONG:
		result_fail(handshake, untouched, HANDSHAKE_CLASS_UNAVAILABLE, error, false,
			    "the path of the daemon's socket, \"%s\", is longer than 107 bytes",
			    path);
		break;
	default:
		result_fail(handshake, untouched, HANDSHAKE_CLASS_UNAVAILABLE, error, true,
			    "cannot connect to the daemon at \"%s\": %m", path);
	}
}

int link_wait(int fd, short events, struct deadline deadline)
{
	for (;;) {
		struct pollfd polled = {.fd = fd, .events = events};
		int left = deadline_left(deadline);

		if (left == 0)
			return 0;
		/* An error of poll itself (no memory) shows again where the descriptor is used. */
		if (poll(&polled, 1, left) > 0)
			return 1;
	}
}
