// SPDX-License-Identifier: LGPL-2.1-or-later
// A crowd of clients at a port on loopback: all connect, and when all are there, all begin their TLS 1.3
// handshakes at once, some of them beside others that stay silent. A handshake counts when the server has closed
// the connection after it. Prints a line of JSON. For a steady load there is "handshake perf rate".

#include "measure.h"

#include <fcntl.h>
#include <getopt.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>

enum {
	AT_THE_DOOR = 256
}; /* not more than any server's queue holds: TCP tries again only after a second */

struct crowd {
	struct sockaddr_in address;
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priorities;
	int epoll;
	unsigned long names; /* each asks for the next one of so many server names */
	unsigned long wanted, started, done, failed;
	double *latencies; /* seconds, one for each that is done */
};

struct client {
	gnutls_session_t session;
	int fd;
	bool connected, complete; /* the handshake is; the server's close is awaited */
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

static void client_start(struct crowd *crowd, struct client *client)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
	char name[64];

	client->fd = connect_loopback(&crowd->address);
	gnutls_init(&client->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS);
	gnutls_priority_set(client->session, crowd->priorities);
	if (crowd->names) {
		snprintf(name, sizeof(name), "host%lu.bench.test", crowd->started % crowd->names);
		gnutls_server_name_set(client->session, GNUTLS_NAME_DNS, name, strlen(name));
	}
	gnutls_credentials_set(client->session, GNUTLS_CRD_CERTIFICATE, crowd->credentials);
	gnutls_transport_set_int(client->session, client->fd);
	if (epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, client->fd, &event))
		die("epoll: %s", strerror(errno));
	crowd->started++;
}

static void client_end(struct crowd *crowd, struct client *client, bool good)
{
	if (good)
		crowd->latencies[crowd->done++] = now_seconds() - client->began;
	else
		crowd->failed++;
	gnutls_deinit(client->session);
	close(client->fd);
}

static void client_move(struct crowd *crowd, struct client *client)
{
	char bytes[256];
	ssize_t got;
	int result;

	if (!client->complete) {
		result = gnutls_handshake(client->session);
		if (result < 0) {
			if (result == GNUTLS_E_PUSH_ERROR || result == GNUTLS_E_PULL_ERROR ||
			    gnutls_error_is_fatal(result))
				client_end(crowd, client, false);
			return;
		}
		client->complete = true;
	}
	while ((got = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		;
	/* A reset counts too: it comes after the handshake, of a server that closes what it did not
	 * read. */
	if (got == 0 || (errno != EAGAIN && errno != EINTR))
		client_end(crowd, client, true);
}

static void gather(struct crowd *crowd, struct client *clients)
{
	struct epoll_event events[64];
	unsigned long there = 0;

	while (there < crowd->wanted) {
		bool wait =
		    crowd->started == crowd->wanted || crowd->started - there >= AT_THE_DOOR;
		int count;

		if (!wait)
			client_start(crowd, &clients[crowd->started]);
		count = epoll_wait(crowd->epoll, events, 64, wait ? 60000 : 0);
		if (wait && !count)
			die("only %lu of %lu connections came about", there, crowd->wanted);
		for (int i = 0; i < count; i++) {
			struct client *client = events[i].data.ptr;

			there += !client->connected;
			client->connected = true;
		}
	}
	sleep(1);
}

static void run(struct crowd *crowd, struct client *clients)
{
	struct epoll_event events[64];

	for (unsigned long i = 0; i < crowd->wanted; i++) {
		clients[i].began = now_seconds();
		client_move(crowd, &clients[i]);
	}
	while (crowd->done + crowd->failed < crowd->wanted) {
		int count = epoll_wait(crowd->epoll, events, 64, 60000);

		if (!count)
			die("nothing moved for a minute; %lu of %lu handshakes are done",
			    crowd->done, crowd->wanted);
		for (int i = 0; i < count; i++)
			client_move(crowd, events[i].data.ptr);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(const struct crowd *crowd, double part)
{
	size_t index = (size_t)(part * (double)(crowd->done - 1));

	return crowd->latencies[index] * 1e6;
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
    "usage: crowd --port N [--handshakes N] [--silent N] [--names N]\n"
    "--names: the clients ask for host0.bench.test to hostN-1.bench.test in turn.\n";

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"port", required_argument, NULL, 'o'},   {"handshakes", required_argument, NULL, 'n'},
	    {"silent", required_argument, NULL, 's'}, {"names", required_argument, NULL, 'N'},
	    {"help", no_argument, NULL, 'h'},         {0},
	};
	struct crowd crowd = {
	    .address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .wanted = 1000};
	unsigned long silent = 0, port = 0;
	struct client *clients;
	double seconds;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'o':
			port = number(optarg);
			break;
		case 'n':
			crowd.wanted = number(optarg);
			break;
		case 's':
			silent = number(optarg);
			break;
		case 'N':
			crowd.names = number(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	if (!port || port > 65535 || !crowd.wanted) {
		fputs(usage, stderr);
		return 2;
	}
	crowd.address.sin_port = htons((uint16_t)port);
	crowd.latencies = calloc(crowd.wanted, sizeof(*crowd.latencies));
	clients = calloc(crowd.wanted, sizeof(*clients));
	crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
	gnutls_certificate_allocate_credentials(&crowd.credentials);
	if (!crowd.latencies || !clients || crowd.epoll < 0 ||
	    gnutls_priority_init(
		&crowd.priorities,
		"NONE:+VERS-TLS1.3:+AES-128-GCM:+AEAD:+GROUP-X25519:+SIGN-ALL:+CTYPE-X509", NULL))
		die("cannot begin: %s", strerror(errno));
	/* They live as long as the crowd does. */
	for (unsigned long i = 0; i < silent; i++)
		connect_loopback(&crowd.address);
	gather(&crowd, clients);
	seconds = now_seconds();
	run(&crowd, clients);
	seconds = now_seconds() - seconds;
	if (!crowd.done)
		die("none of %lu handshakes succeeded", crowd.wanted);
	qsort(crowd.latencies, crowd.done, sizeof(*crowd.latencies), compare);
	printf("{\"handshakes\": %lu, \"failed\": %lu, \"silent\": %lu, \"seconds\": %.6f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       crowd.done, crowd.failed, silent, seconds, percentile(&crowd, 0.5),
	       percentile(&crowd, 0.99));
	return 0;
}
