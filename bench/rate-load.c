// SPDX-License-Identifier: LGPL-2.1-or-later
// A load of handshakes against a port on loopback: so many in all, so many at once, beside so many connections
// that stay silent; full or resumed, with or without a request after each. A handshake counts when the server has
// closed the connection after it, so that the server too is through with it. Prints a line of JSON.

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
	const char
	    *request; /* sent after the handshake; or none, where the server closes by itself */
	gnutls_datum_t session; /* to be resumed by all */
	bool resume, together;
	unsigned long names; /* ask for one of so many server names */
	unsigned long wanted, started, connected, done, failed;
	double *latencies; /* seconds, one for each that is done */
};

struct connection {
	gnutls_session_t session;
	int fd;
	bool connected, answered;
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
	char name[64];

	if (!connection)
		die("out of memory");
	connection->began = now_seconds();
	connection->fd = connect_loopback(&load->address);
	gnutls_init(&connection->session,
		    GNUTLS_CLIENT | GNUTLS_NONBLOCK | (load->resume ? 0 : GNUTLS_NO_TICKETS));
	gnutls_priority_set(connection->session, load->priorities);
	if (load->session.data)
		gnutls_session_set_data(connection->session, load->session.data,
					load->session.size);
	if (load->names) {
		snprintf(name, sizeof(name), "host%lu.bench.test", load->started % load->names);
		gnutls_server_name_set(connection->session, GNUTLS_NAME_DNS, name, strlen(name));
	}
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

/* The first connection of a load that resumes brings the session for all others. */
static void session_keep(struct load *load, gnutls_session_t session)
{
	if (load->resume && !load->session.data &&
	    gnutls_session_get_flags(session) & GNUTLS_SFLAGS_SESSION_TICKET)
		gnutls_session_get_data2(session, &load->session);
}

/* 1: the handshake is complete; 0: not yet; -1: it failed. */
static int connection_handshake(struct load *load, struct connection *connection)
{
	int result = gnutls_handshake(connection->session);
	ssize_t sent;

	if (result < 0)
		return result != GNUTLS_E_PUSH_ERROR && result != GNUTLS_E_PULL_ERROR &&
			       !gnutls_error_is_fatal(result)
			   ? 0
			   : -1;
	if (load->session.data && !gnutls_session_is_resumed(connection->session))
		return -1;
	session_keep(load, connection->session);
	if (!load->request)
		return 1;
	sent = gnutls_record_send(connection->session, load->request, strlen(load->request));
	return sent == (ssize_t)strlen(load->request) ? 1 : -1;
}

/* 1: the server has closed; 0: not yet; -1: it has closed without an answer. */
static int connection_drain(struct load *load, struct connection *connection)
{
	char bytes[16384];
	ssize_t got;

	/* Deciphered only where something is expected: tickets, or an answer. */
	if (load->request || (load->resume && !load->session.data)) {
		/* GnuTLS says "again" after each ticket too, whatever there is behind it. */
		while ((got = gnutls_record_recv(connection->session, bytes, sizeof(bytes))) > 0 ||
		       got == GNUTLS_E_INTERRUPTED ||
		       (got == GNUTLS_E_AGAIN &&
			recv(connection->fd, bytes, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)) {
			connection->answered |= got > 0;
			/* Now: no session is resumable any more after an end without close_notify. */
			session_keep(load, connection->session);
		}
		if (got == GNUTLS_E_AGAIN)
			return 0;
		return load->request && !connection->answered ? -1 : 1;
	}
	while ((got = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		;
	/* A reset counts too: it comes after the handshake, of a server that closes what it did not
	 * read. */
	return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : 1;
}

static void connection_move(struct load *load, struct connection *connection)
{
	int result;

	if (!connection->complete) {
		result = connection_handshake(load, connection);
		if (result < 0)
			connection_end(load, connection, false);
		if (result <= 0)
			return;
		connection->complete = true;
	}
	result = connection_drain(load, connection);
	if (result)
		connection_end(load, connection, result > 0);
}

/* Everybody connects, and nobody says a word before all are there. */
static void gather(struct load *load, unsigned long concurrency)
{
	struct connection **all = calloc(concurrency, sizeof(struct connection *));
	struct epoll_event events[64];
	unsigned long there = 0;

	if (!all)
		die("out of memory");
	while (load->started < load->wanted && load->started < concurrency) {
		connection_start(load);
		/* Not more than the server's queue holds: TCP would try again only after a second. */
		do {
			int count = epoll_wait(load->epoll, events, 64,
					       load->started - there < 256 ? 0 : 60000);

			for (int i = 0; i < count; i++) {
				struct connection *connection = events[i].data.ptr;

				if (!connection->connected)
					all[there++] = connection;
				connection->connected = true;
			}
			if (!count && load->started - there >= 256)
				die("only %lu of %lu connections came about", there, concurrency);
		} while (load->started - there >= 256 ||
			 (load->started == concurrency && there < concurrency));
	}
	sleep(1);
	for (unsigned long i = 0; i < there; i++)
		all[i]->began = now_seconds();
	for (unsigned long i = 0; i < there; i++)
		connection_move(load, all[i]);
	free(all);
}

static void run(struct load *load, unsigned long concurrency)
{
	if (load->together)
		gather(load, concurrency);
	while (load->started < load->wanted && load->started < concurrency)
		connection_start(load);
	while (load->done + load->failed < load->wanted) {
		struct epoll_event events[64];
		int count = epoll_wait(load->epoll, events, 64, 60000);

		if (!count)
			die("nothing moved for a minute; %lu of %lu handshakes are done",
			    load->done, load->wanted);
		for (int i = 0; i < count; i++)
			connection_move(load, events[i].data.ptr);
	}
}

/* A connection before the load, for its ticket. */
static void fetch_session(struct load *load)
{
	unsigned long wanted = load->wanted;
	bool together = load->together;

	load->wanted = 1;
	load->together = false;
	run(load, 1);
	if (!load->session.data)
		die("the server gave no session to resume");
	load->wanted = wanted;
	load->together = together;
	load->started = load->done = 0;
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
    "  [--priorities STRING] [--resume] [--request PATH] [--names N] [--together]\n"
    "--pids: the processes whose CPU time is reported as the server's. --resume: all but a first "
    "one, which is\n"
    "not counted, resume its session. --request: an HTTP request after each. --names: for one of "
    "host0.bench.test\n"
    "to hostN-1. --together: all are connected before the first one speaks.\n";

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"port", required_argument, NULL, 'o'},
	    {"handshakes", required_argument, NULL, 'n'},
	    {"concurrency", required_argument, NULL, 'c'},
	    {"silent", required_argument, NULL, 's'},
	    {"pids", required_argument, NULL, 'i'},
	    {"priorities", required_argument, NULL, 'p'},
	    {"resume", no_argument, NULL, 'r'},
	    {"request", required_argument, NULL, 'q'},
	    {"names", required_argument, NULL, 'N'},
	    {"together", no_argument, NULL, 't'},
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
	char request[512];
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
		case 'r':
			load.resume = true;
			break;
		case 'q':
			snprintf(request, sizeof(request),
				 "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
				 optarg);
			load.request = request;
			break;
		case 'N':
			load.names = number(optarg);
			break;
		case 't':
			load.together = true;
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
	if (load.resume)
		fetch_session(&load);
	server = processes_seconds(pids);
	began = now_seconds();
	run(&load, concurrency);
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
