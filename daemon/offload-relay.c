// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An established connection on its way from a worker to a relay process. Touches the socket between
 * the two; must never wait, and never keep a key or a descriptor that it made for somebody else.
 */
#include "offload-relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "descriptors.h"
#include "handshake-protocol.h"

/* The memfd of struct handshake_relay_state: zero, that is HANDSHAKE_RELAY_OPEN, and of a size that
 * nobody can change under a reader. -errno on failure. */
static int relay_state_new(void)
{
	_cleanup_close_ int fd = memfd_create("handshake-relay", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, HANDSHAKE_RELAY_STATE_SIZE) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return fd_take(&fd);
}

static int relay_request_send(int relay_socket, const struct relay_request *request,
			      const int fds[RELAY_REQUEST_FDS])
{
	size_t count = fds[RELAY_REQUEST_FDS - 1] >= 0 ? RELAY_REQUEST_FDS : RELAY_REQUEST_FDS - 1;

	return descriptors_send(relay_socket, request, sizeof(*request), fds, count);
}

static int relay_refusal(int error, char *reason, size_t size)
{
	switch (error) {
	case -EAGAIN:
	case -ETOOMANYREFS: /* too many descriptors are in flight: the relay is behind */
		snprintf(reason, size, "the relay process takes no more connections now");
		return -EAGAIN;
	case -EPIPE:
	case -ECONNRESET:
	case -ECONNREFUSED:
	case -ENOTCONN:
	case -EBADF:
		snprintf(reason, size, "the relay process is gone");
		return -EPIPE;
	default:
		snprintf(reason, size, "the relay process could not be reached: %s",
			 strerror(-error));
		return error;
	}
}

int offload_relay_start(int relay_socket, uid_t uid, int fd, const struct traffic_keys *keys,
			int tickets, struct relay_ends *ret_ends, char *reason, size_t size)
{
	_cleanup_close_ int program = -1;
	_cleanup_close_ int relay = -1;
	_cleanup_close_ int state = -1;
	_cleanup_close_ int control = -1;
	_cleanup_close_ int relay_control = -1;
	struct relay_request request;
	int pair[2];
	int error;

	state = relay_state_new();
	if (state < 0)
		return relay_refusal(state, reason, size);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return relay_refusal(-errno, reason, size);
	program = pair[0];
	relay = pair[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return relay_refusal(-errno, reason, size);
	control = pair[0];
	relay_control = pair[1];
	memset(&request, 0, sizeof(request));
	request.version = RELAY_REQUEST_VERSION;
	request.uid = uid;
	request.holder = getpid();
	request.keys = *keys;
	error = relay_request_send(relay_socket, &request,
				   (const int[]){fd, relay, state, relay_control, tickets});
	explicit_bzero(&request, sizeof(request));
	if (error < 0)
		return relay_refusal(error, reason, size);
	ret_ends->program = fd_take(&program);
	ret_ends->state = fd_take(&state);
	ret_ends->control = fd_take(&control);
	return 0;
}
