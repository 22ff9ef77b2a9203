// SPDX-License-Identifier: LGPL-2.1-or-later
// A server that completes handshakes and closes each connection: by the daemon's listen, by the
// daemon's handshake for sockets that it accepts itself, or by GnuTLS in this one process. Single
// threaded, everything non-blocking, so that the three differ only in who performs the handshake.

#include "measure.h"

#include <fcntl.h>
#include <getopt.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>

#include "handshake.h"

static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priorities;
static gnutls_datum_t ticket_key;
static bool tickets;

static int accept_connection(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void close_connection(int fd)
{
	shutdown(fd, SHUT_WR);
	close(fd);
}

/* ---- listen ---- */

static void serve_listen(int listener, const char *profile)
{
	struct handshake *request = handshake_new();
	struct handshake_listener *listening;

	if (!request || handshake_set_role(request, HANDSHAKE_SERVER) ||
	    handshake_set_profile(request, profile))
		die("cannot make the request: %s", strerror(errno));
	listening = handshake_listener_new(NULL, request, listener);
	if (!listening)
		die("the daemon does not listen: %s", handshake_error(request));
	for (;;) {
		struct pollfd wait = {.fd = handshake_listener_fd(listening), .events = POLLIN};
		struct handshake *handshake;
		int fd, result;

		poll(&wait, 1, -1);
		while ((result = handshake_listener_accept(listening, &handshake, &fd)) == 1) {
			close_connection(fd);
			handshake_free(handshake);
		}
		if (result < 0)
			die("the daemon ended the listening: %s", strerror(errno));
	}
}

/* ---- handshake ---- */

struct accepted {
	struct handshake *handshake;
	int fd;
};

/* Descriptors by handshake: a small table, since few are under way at once. */
static struct accepted accepted[8192];

static void begin(struct handshake_client *client, int fd, const char *profile)
{
	struct handshake *handshake = handshake_new();
	size_t i = 0;

	if (!handshake || handshake_set_role(handshake, HANDSHAKE_SERVER) ||
	    handshake_set_profile(handshake, profile))
		die("cannot make a request: %s", strerror(errno));
	while (i < sizeof(accepted) / sizeof(accepted[0]) && accepted[i].handshake)
		i++;
	/* A peer that has left already is no reason to end. */
	if (i == sizeof(accepted) / sizeof(accepted[0]) ||
	    handshake_client_start(client, handshake, fd)) {
		close(fd);
		handshake_free(handshake);
		return;
	}
	accepted[i] = (struct accepted){handshake, fd};
}

static void end(struct handshake *handshake)
{
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++)
		if (accepted[i].handshake == handshake) {
			close_connection(accepted[i].fd);
			accepted[i].handshake = NULL;
			break;
		}
	handshake_free(handshake);
}

static void serve_handshake(int listener, const char *profile)
{
	struct handshake_client *client = handshake_client_new(NULL);

	if (!client)
		die("no daemon: %s", strerror(errno));
	for (;;) {
		struct pollfd wait[2] = {
		    {.fd = listener, .events = POLLIN},
		    {.fd = handshake_client_fd(client), .events = handshake_client_events(client)},
		};
		struct handshake *ended;
		int fd, result;

		poll(wait, 2, -1);
		if (wait[0].revents)
			while ((fd = accept_connection(listener)) >= 0)
				begin(client, fd, profile);
		while ((result = handshake_client_process(client, &ended)) == 1)
			end(ended);
		if (result < 0)
			die("the daemon is gone");
	}
}

/* ---- GnuTLS in this process ---- */

struct connection {
	gnutls_session_t session;
	int fd;
};

static void connection_free(struct connection *connection)
{
	gnutls_deinit(connection->session);
	close_connection(connection->fd);
	free(connection);
}

static void connection_move(struct connection *connection)
{
	int result = gnutls_handshake(connection->session);

	if (result < 0 && !gnutls_error_is_fatal(result))
		return;
	/* As the relay does: without it no client may resume the session (RFC 5246, 7.2.1). */
	if (result == 0)
		gnutls_bye(connection->session, GNUTLS_SHUT_WR);
	connection_free(connection);
}

static void connection_new(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		die("out of memory");
	connection->fd = fd;
	gnutls_init(&connection->session,
		    GNUTLS_SERVER | GNUTLS_NONBLOCK | (tickets ? 0 : GNUTLS_NO_TICKETS));
	if (tickets)
		gnutls_session_ticket_enable_server(connection->session, &ticket_key);
	gnutls_priority_set(connection->session, priorities);
	gnutls_credentials_set(connection->session, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(connection->session, fd);
	event.data.ptr = connection;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll: %s", strerror(errno));
}

static void serve_gnutls(int listener)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
		die("epoll: %s", strerror(errno));
	for (;;) {
		struct epoll_event events[64];
		int fd, count = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < count; i++)
			if (events[i].data.ptr)
				connection_move(events[i].data.ptr);
			else
				while ((fd = accept_connection(listener)) >= 0)
					connection_new(epoll, fd);
	}
}

static const char usage[] =
    "usage: rate-server --mode listen|handshake|gnutls [--profile NAME]\n"
    "  [--certificate FILE --key FILE] [--priorities STRING] [--tickets]\n"
    "--tickets: with GnuTLS in this process, so that sessions can be resumed.\n"
    "Prints its port, then serves until it is ended. $HANDSHAKED_SOCKET names the daemon.\n";

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"mode", required_argument, NULL, 'm'},
	    {"profile", required_argument, NULL, 'P'},
	    {"certificate", required_argument, NULL, 'c'},
	    {"key", required_argument, NULL, 'k'},
	    {"priorities", required_argument, NULL, 'p'},
	    {"tickets", no_argument, NULL, 't'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	const char *mode = "", *profile = "default", *certificate = NULL, *key = NULL;
	const char *string = "NONE:+VERS-TLS1.3:+AES-128-GCM:+AEAD:+GROUP-X25519:+SIGN-ALL:+CTYPE-"
			     "X509:%SERVER_PRECEDENCE";
	struct sockaddr_in address;
	int c, listener, result;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'm':
			mode = optarg;
			break;
		case 'P':
			profile = optarg;
			break;
		case 'c':
			certificate = optarg;
			break;
		case 'k':
			key = optarg;
			break;
		case 'p':
			string = optarg;
			break;
		case 't':
			tickets = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	signal(SIGPIPE, SIG_IGN);
	listener = loopback_listen(&address);
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);
	if (!strcmp(mode, "listen"))
		serve_listen(listener, profile);
	if (fcntl(listener, F_SETFL, O_NONBLOCK))
		die("fcntl: %s", strerror(errno));
	if (!strcmp(mode, "handshake"))
		serve_handshake(listener, profile);
	if (strcmp(mode, "gnutls") || !certificate || !key) {
		fputs(usage, stderr);
		return 2;
	}
	gnutls_certificate_allocate_credentials(&credentials);
	result = gnutls_certificate_set_x509_key_file(credentials, certificate, key,
						      GNUTLS_X509_FMT_PEM);
	if (result >= 0)
		result = gnutls_priority_init(&priorities, string, NULL);
	if (result < 0)
		die("cannot load %s, %s, \"%s\": %s", certificate, key, string,
		    gnutls_strerror(result));
	if (tickets && gnutls_session_ticket_key_generate(&ticket_key))
		die("GnuTLS makes no key for tickets");
	serve_gnutls(listener);
}
