// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Requests that came as early data (RFC 8470). Touches the connection's descriptors and the HTTP library.
 * Never has anything done for early data but the reading of a file: what is not one whole GET or HEAD
 * is answered with 425.
 *
 * The HTTP library can only read its own descriptor. That is a pair of sockets at first, which holds the
 * early data and nothing else; as soon as the library has read the request, the connection takes its
 * number, so that the response and what follows go over the connection itself, with sendfile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve-early-head.h"
#include "serve.h"

bool serve_early_feed(struct serve_connection *connection)
{
	size_t size;
	const char *data = handshake_early_data(connection->handshake, &size);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return false;
	/* It fits a socket's buffer: SERVE_EARLY_HEAD bytes at most. The connection must not block the
	 * loop either, whose flag the library sets on the pair alone. */
	if (send(pair[1], data, size, MSG_NOSIGNAL) != (ssize_t)size ||
	    fcntl(connection->fd, F_SETFL, fcntl(connection->fd, F_GETFL) | O_NONBLOCK) < 0) {
		close(pair[0]);
		close(pair[1]);
		return false;
	}
	connection->early_real = connection->fd;
	connection->early_feed = pair[1];
	connection->fd = pair[0];
	return true;
}

/* The connection under the number that the HTTP library uses. */
static void early_replace(struct serve_connection *connection)
{
	dup2(connection->early_real, connection->fd);
	close(connection->early_real);
	close(connection->early_feed);
	connection->early_real = -1;
	connection->early_feed = -1;
}

bool serve_early_switch(struct serve_connection *connection)
{
	if (connection->early_real < 0)
		return false;
	/* The library forgets the pair and begins anew to watch what has its number. */
	MHD_suspend_connection(connection->http);
	early_replace(connection);
	MHD_resume_connection(connection->http);
	connection->serve->run_http = true;
	return true;
}

bool serve_early_end(struct serve_connection *connection)
{
	char answer[4096];
	ssize_t size;

	if (connection->early_real < 0)
		return true;
	/* The library has refused the request itself: its words are in the pair. */
	size = recv(connection->early_feed, answer, sizeof(answer), MSG_DONTWAIT);
	early_replace(connection);
	return size > 0 &&
	       handshake_send(connection->handshake, connection->fd, answer, (size_t)size) == size;
}

/* ---- 425 ----------------------------------------------------------------------------------- */

bool serve_early_refuse(struct serve_connection *connection)
{
	static const char body[] = "425 Too Early\n";
	static const char answer[] = "HTTP/1.1 425 Too Early\r\n"
				     "Content-Type: text/plain; charset=utf-8\r\n"
				     "Content-Length: 14\r\n"
				     "Connection: close\r\n\r\n"
				     "425 Too Early\n";
	const size_t length = sizeof(answer) - 1;
	size_t size;
	const char *data = handshake_early_data(connection->handshake, &size);

	_Static_assert(sizeof(body) - 1 == 14, "Content-Length tells the size");
	serve_early_head_name(data, size, connection->method, sizeof(connection->method),
			      &connection->target);
	connection->status = 425;
	connection->length = sizeof(body) - 1;
	if (fcntl(connection->fd, F_SETFL, fcntl(connection->fd, F_GETFL) | O_NONBLOCK) < 0)
		return false;
	/* So little fits into a connection over which nothing was sent. */
	if (handshake_send(connection->handshake, connection->fd, answer, length) !=
	    (ssize_t)length)
		return false;
	serve_log_request(connection->serve, connection, true);
	return true;
}

bool serve_early_fits(const struct serve_connection *connection)
{
	size_t size;
	const char *data = handshake_early_data(connection->handshake, &size);

	return connection->serve->settings->early_data && serve_early_head_is_safe(data, size);
}
