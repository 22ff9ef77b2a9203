// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A server that completes handshakes and closes each connection: by the daemon's listen, by the daemon's
 * handshake for sockets that it accepts itself, or by GnuTLS in this one process. Single threaded, nothing
 * that waits, so that the three differ only in who performs the handshake.
 */
#include "rate-server.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu.h"
#include "ending.h"
#include "handshake.h"
#include "link.h"
#include "rate-tally.h"

const char *const rate_ways[RATE_WAYS + 1] = {"gnutls", "listen", "handshake", NULL};

static struct tally *tally; /* NULL: nobody asks */

static double clock_counted(void)
{
	return tally ? clock_seconds() : 0;
}

static int accept_connection(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void close_connection(int fd)
{
	shutdown(fd, SHUT_WR);
	close(fd);
}

/* What the measurement wants; ends with it. */
static void control_follow(int control)
{
	struct link link = {.fd = control};
	char word;

	/* Whoever measures has ended: so does this child, in the middle of what it serves. */
	if (recv(control, &word, 1, 0) != 1)
		_exit(TOOL_OK);
	if (word == 'b')
		tally_begin(tally);
	if (link_send(&link, tally_report(tally)) < 0)
		exit(TOOL_FAILURE);
}

static struct handshake *request_new(const struct rate_server *server)
{
	struct handshake *request = handshake_new();

	if (!request || handshake_set_role(request, HANDSHAKE_SERVER) < 0 ||
	    handshake_set_profile(request, server->profile) < 0)
		die("cannot make a request: %s", strerror(errno));
	return request;
}

/* ---- listen -------------------------------------------------------------------------------- */

static void serve_listen(const struct rate_server *server)
{
	struct handshake *request = request_new(server);
	struct handshake_listener *listening =
	    handshake_listener_new(server->socket, request, server->listener);

	if (!listening)
		die("the daemon does not listen: %s", handshake_error(request));
	for (;;) {
		struct pollfd wait[2] = {
		    {.fd = handshake_listener_fd(listening), .events = POLLIN},
		    {.fd = server->control, .events = POLLIN},
		};
		struct handshake *handshake;
		int fd, result;

		poll(wait, 2, -1);
		if (wait[1].revents)
			control_follow(server->control);
		while ((result = handshake_listener_accept(listening, &handshake, &fd)) == 1) {
			tally_add(tally, handshake, 0);
			close_connection(fd);
			handshake_free(handshake);
		}
		if (result < 0 && errno != EMFILE && errno != ENOMEM)
			die("the daemon ended the listening: %s", strerror(errno));
	}
}

/* ---- handshake ----------------------------------------------------------------------------- */

struct accepted {
	struct handshake *handshake;
	int fd;
	double began;
};

static void *accepted; /* of tsearch(3), by handshake */

static int accepted_compare(const void *a, const void *b)
{
	const struct accepted *x = a, *y = b;

	return (x->handshake > y->handshake) - (x->handshake < y->handshake);
}

static void handshake_begin(const struct rate_server *server, struct handshake_client *client,
			    int fd)
{
	struct accepted *one = malloc(sizeof(*one));

	if (!one)
		die("out of memory");
	*one = (struct accepted){request_new(server), fd, clock_counted()};
	if (handshake_client_start(client, one->handshake, fd) < 0) {
		tally_fail(tally, handshake_error(one->handshake));
		close(fd);
		handshake_free(one->handshake);
		free(one);
	} else if (!tsearch(one, &accepted, accepted_compare)) {
		die("out of memory");
	}
}

static void handshake_end(struct handshake *handshake)
{
	const struct accepted key = {.handshake = handshake};
	struct accepted *const *found = tfind(&key, &accepted, accepted_compare);
	struct accepted *one = found ? *found : NULL;

	if (!one)
		die("a handshake ended that was never begun");
	tdelete(&key, &accepted, accepted_compare);
	tally_add(tally, handshake, one->began);
	close_connection(one->fd);
	free(one);
	handshake_free(handshake);
}

static void serve_handshake(const struct rate_server *server)
{
	struct handshake_client *client = handshake_client_new(server->socket);

	if (!client)
		die("no daemon: %s", strerror(errno));
	for (;;) {
		struct pollfd wait[3] = {
		    {.fd = server->listener, .events = POLLIN},
		    {.fd = handshake_client_fd(client), .events = handshake_client_events(client)},
		    {.fd = server->control, .events = POLLIN},
		};
		struct handshake *ended;
		int fd, result;

		poll(wait, 3, -1);
		if (wait[2].revents)
			control_follow(server->control);
		if (wait[0].revents)
			while ((fd = accept_connection(server->listener)) >= 0)
				handshake_begin(server, client, fd);
		while ((result = handshake_client_process(client, &ended)) == 1)
			handshake_end(ended);
		if (result < 0)
			die("the daemon is gone");
	}
}

/* ---- GnuTLS in this process ---------------------------------------------------------------- */

struct ceiling {
	const struct rate_server *server;
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priorities;
	gnutls_datum_t ticket_key;
	int epoll;
};

struct connection {
	gnutls_session_t session;
	int fd;
	double began, computed;
};

static void connection_new(const struct ceiling *ceiling, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	struct connection *connection = calloc(1, sizeof(*connection));
	unsigned flags = GNUTLS_SERVER | GNUTLS_NONBLOCK;
	bool tickets = ceiling->server->tickets;

	if (!connection)
		die("out of memory");
	connection->fd = fd;
	connection->began = clock_counted();
	gnutls_init(&connection->session, tickets ? flags : flags | GNUTLS_NO_TICKETS);
	gnutls_priority_set(connection->session, ceiling->priorities);
	gnutls_credentials_set(connection->session, GNUTLS_CRD_CERTIFICATE, ceiling->credentials);
	if (tickets)
		gnutls_session_ticket_enable_server(connection->session, &ceiling->ticket_key);
	if (ceiling->server->trust)
		gnutls_certificate_server_set_request(connection->session, GNUTLS_CERT_REQUIRE);
	gnutls_transport_set_int(connection->session, fd);
	event.data.ptr = connection;
	if (epoll_ctl(ceiling->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll: %s", strerror(errno));
}

static void connection_move(const struct ceiling *ceiling, struct connection *connection)
{
	double began = clock_counted(), now;
	int result = gnutls_handshake(connection->session);
	unsigned status = 0;

	if (result == 0 && ceiling->server->trust &&
	    (gnutls_certificate_verify_peers2(connection->session, &status) < 0 || status))
		result = GNUTLS_E_CERTIFICATE_ERROR;
	now = clock_counted();
	connection->computed += now - began;
	if (result < 0 && !gnutls_error_is_fatal(result))
		return;
	if (result == 0)
		tally_add_own(tally, (now - connection->began) * 1e6, connection->computed * 1e6,
			      gnutls_session_is_resumed(connection->session));
	else
		tally_fail(tally, gnutls_strerror(result));
	if (result == 0 && ceiling->server->farewell)
		gnutls_bye(connection->session, GNUTLS_SHUT_WR);
	gnutls_deinit(connection->session);
	close_connection(connection->fd);
	free(connection);
}

static void ceiling_prepare(struct ceiling *ceiling, const struct rate_server *server)
{
	int error = gnutls_certificate_allocate_credentials(&ceiling->credentials);

	if (error == 0)
		error = gnutls_certificate_set_x509_key_file(
		    ceiling->credentials, server->certificate, server->key, GNUTLS_X509_FMT_PEM);
	if (error == 0)
		error = gnutls_priority_init(&ceiling->priorities, server->priorities, NULL);
	if (error == 0)
		error = gnutls_session_ticket_key_generate(&ceiling->ticket_key);
	if (error < 0)
		die("cannot load \"%s\", \"%s\", \"%s\": %s", server->certificate, server->key,
		    server->priorities, gnutls_strerror(error));
	if (server->trust && gnutls_certificate_set_x509_trust_file(
				 ceiling->credentials, server->trust, GNUTLS_X509_FMT_PEM) < 1)
		die("cannot load \"%s\"", server->trust);
	ceiling->epoll = epoll_create1(EPOLL_CLOEXEC);
}

static void serve_gnutls(const struct rate_server *server)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	struct epoll_event told = {.events = EPOLLIN, .data.ptr = tally};
	struct ceiling ceiling = {.server = server, .epoll = -1};

	ceiling_prepare(&ceiling, server);
	if (epoll_ctl(ceiling.epoll, EPOLL_CTL_ADD, server->listener, &event) < 0 ||
	    (tally && epoll_ctl(ceiling.epoll, EPOLL_CTL_ADD, server->control, &told) < 0))
		die("epoll: %s", strerror(errno));
	for (;;) {
		struct epoll_event events[64];
		int fd, count = epoll_wait(ceiling.epoll, events, 64, -1);

		for (int i = 0; i < count; i++)
			if (!events[i].data.ptr)
				while ((fd = accept_connection(server->listener)) >= 0)
					connection_new(&ceiling, fd);
			else if (events[i].data.ptr == tally)
				control_follow(server->control);
			else
				connection_move(&ceiling, events[i].data.ptr);
	}
}

void rate_server_run(const struct rate_server *server)
{
	static struct tally counted;

	tally = server->control >= 0 ? &counted : NULL;
	if (strcmp(server->by, "listen") == 0)
		serve_listen(server);
	if (fcntl(server->listener, F_SETFL, O_NONBLOCK) < 0)
		die("fcntl: %s", strerror(errno));
	if (strcmp(server->by, "handshake") == 0)
		serve_handshake(server);
	serve_gnutls(server);
	abort();
}
