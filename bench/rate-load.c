// SPDX-License-Identifier: LGPL-2.1-or-later
// A load of full TLS 1.3 handshakes against a port on loopback: so many in all, so many at once, beside
// so many connections that stay silent. A handshake counts when the server has closed the connection
// after it, so that the server too is through with it. Prints a line of JSON.

#include "measure.h"

#include <fcntl.h>
#include <getopt.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>

struct load {
	struct sockaddr_in address;
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priorities;
	int epoll;
	unsigned long wanted, started, done, failed;
	double *latencies; /* seconds, one for each that is done */
};

struct connection {
	gnutls_session_t session;
	int fd;
	bool complete; /* the handshake is; the server's close is awaited */
	double began;
};

static int connect_loopback(const struct sockaddr_in *address)
{
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* GnuTLS writes a client's last flight in two pieces. Nagle's algorithm would hold the second
	 * until the server's delayed acknowledgement of the first: 40 ms that say nothing of servers. */
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    (connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
	     errno != EINPROGRESS))
		die("cannot connect: %s", strerror(errno));
	return fd;
}

static void connection_start(struct load *load)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};

	if (!connection)
		die("out of memory");
	connection->began = now_seconds();
	connection->fd = connect_loopback(&load->address);
	gnutls_init(&connection->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS);
	gnutls_priority_set(connection->session, load->priorities);
	gnutls_credentials_set(connection->session, GNUTLS_CRD_CERTIFICATE, load->credentials);
	gnutls_transport_set_int(connection->session, connection->fd);
	if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event))
		die("epoll: %s", strerror(errno));
	load->started++;
}

static void connection_end(struct load *load, struct connection *connection, bool good)
{
	if (good)
		load->latencies[load->done] = now_seconds() - connection->began;
	else
		load->failed++;
	load->done += good;
	gnutls_deinit(connection->session);
	close(connection->fd);
	free(connection);
	if (load->started < load->wanted)
		connection_start(load);
}

static void connection_move(struct load *load, struct connection *connection)
{
	char bytes[256];
	ssize_t got;
	int result;

	if (!connection->complete) {
		result = gnutls_handshake(connection->session);
		if (result < 0) {
			if (result != GNUTLS_E_PUSH_ERROR && result != GNUTLS_E_PULL_ERROR &&
			    !gnutls_error_is_fatal(result))
				return;
			connection_end(load, connection, false);
			return;
		}
		connection->complete = true;
	}
	while ((got = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* A reset counts too: it comes after the handshake, of a server that closes what it did not
	 * read. */
	connection_end(load, connection, true);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(const struct load *load, double part)
{
	size_t index = (size_t)(part * (double)(load->done - 1));

	return load->latencies[index] * 1e6;
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end)
		die("\"%s\" is no number", text);
	return value;
}

static const char usage[] =
    "usage: rate-load --port N [--handshakes N] [--concurrency N] [--silent N] [--pids PID,PID]\n"
    "  [--priorities STRING]\n"
    "--pids: the processes whose CPU time is reported as the server's.\n";

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"port", required_argument, NULL, 'o'},
	    {"handshakes", required_argument, NULL, 'n'},
	    {"concurrency", required_argument, NULL, 'c'},
	    {"silent", required_argument, NULL, 's'},
	    {"pids", required_argument, NULL, 'i'},
	    {"priorities", required_argument, NULL, 'p'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	const char *string =
	    "NONE:+VERS-TLS1.3:+AES-128-GCM:+AEAD:+GROUP-X25519:+SIGN-ALL:+CTYPE-X509";
	struct load load = {
	    .address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .wanted = 1000};
	unsigned long concurrency = 16, silent = 0, port = 0;
	const char *pids = NULL;
	double began, seconds, server;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'o':
			port = number(optarg);
			break;
		case 'n':
			load.wanted = number(optarg);
			break;
		case 'c':
			concurrency = number(optarg);
			break;
		case 's':
			silent = number(optarg);
			break;
		case 'i':
			pids = optarg;
			break;
		case 'p':
			string = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	if (!port || port > 65535 || !load.wanted || !concurrency) {
		fputs(usage, stderr);
		return 2;
	}
	load.address.sin_port = htons((uint16_t)port);
	load.latencies = calloc(load.wanted, sizeof(*load.latencies));
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	gnutls_certificate_allocate_credentials(&load.credentials);
	if (!load.latencies || load.epoll < 0 ||
	    gnutls_priority_init(&load.priorities, string, NULL))
		die("cannot begin; are the priorities \"%s\" right?", string);
	for (unsigned long i = 0; i < silent; i++)
		connect_loopback(&load.address);
	server = processes_seconds(pids);
	began = now_seconds();
	while (load.started < load.wanted && load.started < concurrency)
		connection_start(&load);
	while (load.done + load.failed < load.wanted) {
		struct epoll_event events[64];
		int count = epoll_wait(load.epoll, events, 64, 60000);

		if (!count)
			die("nothing moved for a minute; %lu of %lu handshakes are done", load.done,
			    load.wanted);
		for (int i = 0; i < count; i++)
			connection_move(&load, events[i].data.ptr);
	}
	seconds = now_seconds() - began;
	server = processes_seconds(pids) - server;
	if (!load.done)
		die("none of %lu handshakes succeeded", load.wanted);
	qsort(load.latencies, load.done, sizeof(*load.latencies), compare);
	printf("{\"handshakes\": %lu, \"failed\": %lu, \"concurrency\": %lu, \"silent\": %lu, "
	       "\"seconds\": %.6f, \"server_cpu\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       load.done, load.failed, concurrency, silent, seconds, server, percentile(&load, 0.5),
	       percentile(&load, 0.99));
	return load.failed ? 1 : 0;
}
