// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The daemon accepts and handshakes, the program takes what is established. Touches the connection
 * to the daemon, on which those connections come. Never accepts on the TCP socket itself.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define LISTEN_TIMEOUT_MS 10000 /* the daemon agrees or refuses without asking anyone */
#define LISTEN_ID         1
#define IGNORED_MAX       128 /* packets a call that are nothing: the program has more to do */

struct handshake_listener {
	int fd;
	int ended; /* an errno: nothing more will come */
	/* A connection that overtook the daemon's agreement. */
	struct handshake *early;
	int early_fd;
	char *path; /* of the daemon's socket */
	struct message incoming;
};

static void handshake_done(struct handshake **handshake)
{
	handshake_free(*handshake);
}

/* accept(2) gives a blocking descriptor, whatever the listening one is. */
static int descriptor_make_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_NONBLOCK && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* Makes a connection of the packet. -EPROTO: the daemon sent what cannot be followed. */
static int connection_take(struct handshake_listener *listener, struct handshake **ret_handshake,
			   int *ret_fd)
{
	_cleanup_(handshake_done) struct handshake *handshake = handshake_new();
	_cleanup_close_ int fd = -1;
	int r;

	if (!handshake)
		return -ENOMEM;
	handshake->role = HANDSHAKE_SERVER;
	result_take(handshake, &listener->incoming, -1, &fd);
	result_remember_daemon(handshake, listener->path);
	if (handshake->outcome != HANDSHAKE_ESTABLISHED)
		return handshake->failure_errno == EMFILE ? -EMFILE : -EPROTO;
	r = descriptor_make_blocking(fd);
	if (r < 0)
		return r;
	*ret_handshake = pointer_take(handshake);
	*ret_fd = fd_take(&fd);
	return 0;
}

/* Receives one packet. -EAGAIN: none is there. 0: message_get knows it, until message_done. */
static int listener_receive(struct handshake_listener *listener)
{
	char wrong[256];
	int r = message_receive(listener->fd, &listener->incoming);

	if (r == 0)
		return -EPIPE;
	if (r < 0)
		return r == -ECONNRESET ? -EPIPE : r;
	if (listener->incoming.too_many_fds ||
	    message_parse(&listener->incoming, wrong, sizeof(wrong)) < 0)
		return -EPROTO;
	return 0;
}

static bool listener_got(const struct handshake_listener *listener, const char *operation)
{
	return strcmp(listener->incoming.operation, operation) == 0;
}

/* ---- Beginning ----------------------------------------------------------------------------- */

static int listener_ask(const struct handshake_listener *listener, struct handshake *request,
			int listening_fd, struct deadline deadline)
{
	struct message_writer writer;
	enum handshake_role role = request->role;
	int r;

	request->role = HANDSHAKE_SERVER;
	request_write(&writer, HANDSHAKE_OP_LISTEN, LISTEN_ID, request);
	request->role = role;
	do
		r = message_send(listener->fd, &writer, &listening_fd, 1);
	while (r == -EAGAIN && link_wait(listener->fd, POLLOUT, deadline) > 0);
	return r;
}

/* The daemon's first packet. 0: it has agreed. -EAGAIN: it has said nothing to that. Else the request
 * has the sentence. */
static int listener_hear(struct handshake_listener *listener, struct handshake *request)
{
	int r = listener_receive(listener);

	if (r == 0 && listener_got(listener, HANDSHAKE_OP_LISTENING))
		return 0;
	if (r == 0 && listener_got(listener, HANDSHAKE_OP_REPLY)) {
		const char *outcome = message_get(&listener->incoming, HANDSHAKE_KEY_OUTCOME, 0);

		if (!outcome || strcmp(outcome, "established") != 0) {
			result_take(request, &listener->incoming, -1, NULL);
			return -request->failure_errno;
		}
		r = -EPROTO; /* a listening socket cannot become that */
	} else if (r == 0 && listener_got(listener, HANDSHAKE_OP_CONNECTION)) {
		/* It overtook the agreement. Losing it for want of descriptors is no refusal. */
		r = connection_take(listener, &listener->early, &listener->early_fd);
		if (r != -EPROTO)
			return 0;
	} else if (r == 0) {
		return -EAGAIN;
	}
	if (r == -EPROTO)
		result_fail(request, HANDSHAKE_UNTOUCHED, HANDSHAKE_CLASS_INTERNAL, 0, false,
			    "the daemon's answer cannot be followed");
	else if (r != -EAGAIN)
		result_fail(request, HANDSHAKE_UNTOUCHED, HANDSHAKE_CLASS_UNAVAILABLE,
			    r == -EPIPE ? ECONNRESET : -r, true,
			    "the daemon closed its connection before it answered");
	return r;
}

static int listener_await(struct handshake_listener *listener, struct handshake *request,
			  struct deadline deadline)
{
	int r;

	for (;;) {
		r = listener_hear(listener, request);
		message_done(&listener->incoming);
		if (r != -EAGAIN)
			return r;
		if (link_wait(listener->fd, POLLIN, deadline) > 0)
			continue;
		result_fail(request, HANDSHAKE_UNTOUCHED, HANDSHAKE_CLASS_TIMEOUT, 0, true,
			    "the daemon has not agreed to listen within 10 seconds");
		return -ETIMEDOUT;
	}
}

/* Connects and comes to an agreement. On failure the request has the sentence. */
static int listener_begin(struct handshake_listener *listener, const char *path,
			  struct handshake *request, int listening_fd)
{
	struct deadline deadline = deadline_in(LISTEN_TIMEOUT_MS);
	int r = socket_check(listening_fd);

	if (r == 0) {
		listener->fd = link_connect(path, &deadline);
		if (listener->fd < 0) {
			link_fail(request, path, -listener->fd);
			return -request->failure_errno;
		}
		r = listener_ask(listener, request, listening_fd, deadline);
	}
	if (r < 0) {
		request_fail(request, -r);
		return -request->failure_errno;
	}
	return listener_await(listener, request, deadline);
}

struct handshake_listener *handshake_listener_new(const char *path, struct handshake *request,
						  int listening_fd)
{
	struct handshake_listener *listener;

	if (request->client) {
		errno = EBUSY;
		return NULL;
	}
	result_reset(request);
	request->fd = listening_fd;
	listener = malloc(sizeof(*listener));
	if (!listener) {
		request_fail(request, ENOMEM);
		errno = ENOMEM;
		return NULL;
	}
	memset(listener, 0, offsetof(struct handshake_listener, incoming));
	listener->fd = -1;
	listener->early_fd = -1;
	listener->path = strdup(link_path(path));
	if (listener_begin(listener, path, request, listening_fd) < 0) {
		handshake_listener_free(listener);
		errno = request->failure_errno;
		return NULL;
	}
	return listener;
}

void handshake_listener_free(struct handshake_listener *listener)
{
	int saved = errno;

	if (!listener)
		return;
	handshake_free(listener->early);
	if (listener->early_fd >= 0)
		close(listener->early_fd);
	if (listener->fd >= 0)
		close(listener->fd);
	free(listener->path);
	free(listener);
	errno = saved;
}

/* ---- Taking -------------------------------------------------------------------------------- */

int handshake_listener_fd(const struct handshake_listener *listener)
{
	return listener->fd;
}

int handshake_listener_accept(struct handshake_listener *listener, struct handshake **ret_handshake,
			      int *ret_fd)
{
	int r = 0;

	if (listener->early) {
		*ret_handshake = listener->early;
		*ret_fd = fd_take(&listener->early_fd);
		listener->early = NULL;
		return 1;
	}
	for (unsigned int ignored = 0; !listener->ended; ignored++) {
		bool connection;

		if (ignored == IGNORED_MAX)
			return 0;

		r = listener_receive(listener);
		connection = r == 0 && listener_got(listener, HANDSHAKE_OP_CONNECTION);
		if (connection)
			r = connection_take(listener, ret_handshake, ret_fd);
		else if (r == 0 && listener_got(listener, HANDSHAKE_OP_REPLY))
			r = -EPIPE; /* the daemon takes its agreement back */
		message_done(&listener->incoming);
		if (r == 0 && connection)
			return 1;
		if (r == -EAGAIN)
			return 0;
		if (r == -EPIPE || r == -EPROTO)
			listener->ended = -r;
		else if (r < 0)
			break;
	}
	errno = listener->ended ? listener->ended : -r;
	return -1;
}
