// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The caller's socket as a descriptor. Touches its number, flags and timeouts. Never reads or writes
 * it, and never decides whether it can carry TLS: that is the daemon's.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

int socket_check(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	return S_ISSOCK(status.st_mode) ? 0 : -ENOTSOCK;
}

static void timeout_copy(int from, int to, int option)
{
	struct timeval timeout;
	socklen_t size = sizeof(timeout);

	/* Not worth a failure: a socket without the option has no timeout either. */
	if (getsockopt(from, SOL_SOCKET, option, &timeout, &size) == 0 &&
	    (timeout.tv_sec || timeout.tv_usec))
		setsockopt(to, SOL_SOCKET, option, &timeout, size);
}

int socket_replace(int fd, int relay)
{
	int descriptor_flags = fcntl(fd, F_GETFD);
	int status_flags = fcntl(fd, F_GETFL);
	int relay_flags = fcntl(relay, F_GETFL);
	int r;

	if (descriptor_flags < 0 || status_flags < 0 || relay_flags < 0)
		return -errno;
	relay_flags = (relay_flags & ~O_NONBLOCK) | (status_flags & O_NONBLOCK);
	if (fcntl(relay, F_SETFL, relay_flags) < 0)
		return -errno;
	timeout_copy(fd, relay, SO_RCVTIMEO);
	timeout_copy(fd, relay, SO_SNDTIMEO);
	do
		r = dup3(relay, fd, descriptor_flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	while (r < 0 && (errno == EINTR || errno == EBUSY));
	return r < 0 ? -errno : 0;
}
