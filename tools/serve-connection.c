// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Connections from the daemon's hands to their last byte. Touches their descriptors, the HTTP library
 * and the loop's epoll. Never says close_notify behind a response that was cut short.
 *
 * The HTTP library knows nothing of TLS. What it cannot do is done here: it is started in its "turbo"
 * mode, in which it closes a connection without shutdown(2) before it, so that the end of TLS can be
 * said between its last byte and its close.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "serve.h"

#define LINGER_MS 2000 /* for a peer to read what was sent and to close */
#define TICK_MS   500  /* how often the files under way are looked at */

static void connection_free(struct serve_connection *connection)
{
	struct serve *serve = connection->serve;

	serve_records_remove(connection);
	*connection->link = connection->next;
	if (connection->next)
		connection->next->link = connection->link;
	if (connection->early_real >= 0)
		close(connection->early_real);
	if (connection->early_feed >= 0)
		close(connection->early_feed);
	handshake_free(connection->handshake);
	free(connection->target);
	free(connection);
	serve->count--;
	serve_listening_resume(serve->listening);
}

/* ---- Lingering ----------------------------------------------------------------------------- */

/* Throws away what comes in: a descriptor that is closed with bytes unread resets the connection, and
 * with it what the peer has not read yet. False when the peer has ended. */
static bool connection_drain(const struct serve_connection *connection)
{
	char rest[16384];
	ssize_t size = 1;

	for (int i = 0; i < 16 && size > 0; i++)
		size = handshake_recv(connection->handshake, connection->fd, rest, sizeof(rest));
	return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

static void linger_end(struct serve_connection *connection)
{
	epoll_ctl(connection->serve->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
	close(connection->fd);
	connection_free(connection);
}

static void linger_ready(struct serve_watch *watch, uint32_t events)
{
	struct serve_connection *connection = (struct serve_connection *)watch;

	if (events & (EPOLLERR | EPOLLHUP) || !connection_drain(connection))
		linger_end(connection);
}

/* Goes on with a descriptor of our own. False: there is nothing to wait for, or no way to. */
static bool linger_begin(struct serve_connection *connection)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

	if (shutdown(connection->fd, SHUT_WR) < 0 || !connection_drain(connection))
		return false;
	connection->fd = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
	if (connection->fd < 0)
		return false;
	connection->watch.ready = linger_ready;
	connection->phase = SERVE_LINGERING;
	connection->deadline = clock_ms() + LINGER_MS;
	if (epoll_ctl(connection->serve->epoll, EPOLL_CTL_ADD, connection->fd, &event) == 0)
		return true;
	close(connection->fd);
	return false;
}

/* ---- Beginning ----------------------------------------------------------------------------- */

/* Says 425 and ends: what else came, or comes, belongs to a request that was refused. */
static void connection_refuse_early(struct serve_connection *connection)
{
	const int fd = connection->fd;

	if (!serve_early_refuse(connection) ||
	    handshake_close_notify(connection->handshake, fd) < 0 || !linger_begin(connection))
		connection_free(connection);
	close(fd); /* lingering has its own */
}

void serve_connection_start(struct serve *serve, struct handshake *handshake, int fd)
{
	/* The library wants an address to count by; none is counted. */
	static const struct sockaddr address = {.sa_family = AF_UNSPEC};
	struct serve_connection *connection = calloc(1, sizeof(*connection));
	size_t early_size;

	if (!connection) {
		serve_say(serve, "a connection is lost: %s", strerror(errno));
		handshake_free(handshake);
		close(fd);
		return;
	}
	connection->serve = serve;
	connection->handshake = handshake;
	connection->fd = fd;
	connection->early_real = -1;
	connection->early_feed = -1;
	connection->file_fd = -1;
	connection->next = serve->connections;
	connection->link = &serve->connections;
	if (connection->next)
		connection->next->link = &connection->next;
	serve->connections = connection;
	serve->count++;
	if (handshake_early_data(handshake, &early_size) &&
	    (!serve_early_fits(connection) || !serve_early_feed(connection))) {
		connection_refuse_early(connection);
		return;
	}
	handshake_set_update_after(handshake, serve->settings->update_after);
	if (!serve_records_add(connection)) {
		serve_say(serve, "a connection is lost: %s", strerror(errno));
		close(connection->fd);
		connection_free(connection);
		return;
	}
	serve->run_http = true;
	serve->starting = connection;
	/* The library takes fd, whatever happens. If it has told of the connection's start, it tells of
	 * the end too. */
	if (MHD_add_connection(serve->http, connection->fd, &address, sizeof(address)) == MHD_NO)
		serve_say(serve, "a connection is lost: %s", strerror(errno));
	if (serve->starting)
		connection_free(connection);
	serve->starting = NULL;
}

/* ---- Callbacks of the HTTP library --------------------------------------------------------- */

static void connection_closed(struct serve_connection *connection)
{
	/* RFC 8446, 6.1. Behind a response that is not whole it would call it whole. */
	const bool whole = serve_early_end(connection);

	serve_records_remove(connection);
	if (connection->phase != SERVE_IDLE || !whole ||
	    handshake_close_notify(connection->handshake, connection->fd) < 0 ||
	    !linger_begin(connection))
		connection_free(connection);
}

void serve_connection_notify(void *context, struct MHD_Connection *http, void **connection_context,
			     enum MHD_ConnectionNotificationCode code)
{
	struct serve *serve = context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		serve->starting->http = http;
		*connection_context = serve->starting;
		serve->starting = NULL;
	} else if (*connection_context) {
		connection_closed(*connection_context);
		*connection_context = NULL;
	}
}

void *serve_connection_begin(void *context, const char *target, struct MHD_Connection *http)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct serve_connection *connection = info->socket_context;

	(void)context;
	free(connection->target);
	connection->target = target ? strdup(target) : NULL;
	connection->method[0] = '\0';
	connection->version[0] = '\0';
	connection->phase = SERVE_IDLE;
	connection->presented = false;
	connection->length = 0;
	return connection;
}

/* As a keep-alive connection would end by itself, but soon. */
static void connection_end_soon(const struct serve_connection *connection)
{
	MHD_set_connection_option(connection->http, MHD_CONNECTION_OPTION_TIMEOUT, 1U);
}

/* Whether the file under way still has all that was told of it. */
static bool file_holds(const struct serve_connection *connection)
{
	struct stat status;

	if (connection->file_fd < 0 || (fstat(connection->file_fd, &status) == 0 &&
					(uint64_t)status.st_size >= connection->file_end))
		return true;
	serve_say(connection->serve, "\"%s\" became shorter while it was sent: connection closed",
		  connection->target);
	return false;
}

void serve_connection_complete(void *context, struct MHD_Connection *http, void **request_context,
			       enum MHD_RequestTerminationCode code)
{
	struct serve *serve = context;
	struct serve_connection *connection = *request_context;
	/* To the library a file that ends too early is complete. */
	const bool complete = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && file_holds(connection);

	(void)http;
	connection->file_fd = -1;
	if (connection->phase == SERVE_ANSWERING) {
		serve_log_request(serve, connection, complete);
		if (complete)
			connection->phase = SERVE_IDLE;
	} else if (code == MHD_REQUEST_TERMINATED_WITH_ERROR) {
		/* The library has refused what is no HTTP, in words of its own. */
		connection->status = MHD_HTTP_BAD_REQUEST;
		serve_log_request(serve, connection, false);
	}
	if (serve->stopping && complete)
		connection_end_soon(connection);
}

/* ---- All of them --------------------------------------------------------------------------- */

/* The HTTP library would wait for bytes that the file does not have any more. */
static void file_check(struct serve_connection *connection)
{
	if (file_holds(connection) && serve_records_tend(connection))
		return;
	shutdown(connection->fd, SHUT_RDWR);
	connection->serve->run_http = true;
}

uint64_t serve_connections_tick(struct serve *serve, uint64_t now)
{
	struct serve_connection *next;

	if (now < serve->tick_at)
		return serve->tick_at;
	for (struct serve_connection *connection = serve->connections; connection;
	     connection = next) {
		next = connection->next;
		if (connection->phase == SERVE_LINGERING && now >= connection->deadline)
			linger_end(connection);
		else if (connection->phase == SERVE_ANSWERING && connection->file_fd >= 0)
			file_check(connection);
	}
	serve->tick_at = serve->count ? now + TICK_MS : 0;
	return serve->count ? serve->tick_at : UINT64_MAX;
}

void serve_connections_stop(struct serve *serve)
{
	for (const struct serve_connection *connection = serve->connections; connection;
	     connection = connection->next)
		if (connection->phase == SERVE_IDLE)
			connection_end_soon(connection);
	serve->run_http = true;
}

void serve_connections_free(struct serve *serve)
{
	struct serve_connection *next;

	for (struct serve_connection *connection = serve->connections; connection;
	     connection = next) {
		next = connection->next;
		linger_end(connection);
	}
}
