// SPDX-License-Identifier: LGPL-2.1-or-later
// A crowd of clients at a port on loopback: all connect, and when all are there, all begin their TLS 1.3
// handshakes at once, some of them beside others that stay silent. A handshake counts when the server has closed
// the connection after it. Prints a line of JSON. For a steady load there is "handshake perf rate".

#include "client.h"

#include <sys/epoll.h>

#include "perf/statistics.h"

enum {
	/* Not more than any server's queue holds: TCP tries again only after a second. */
	AT_THE_DOOR = 256,
	CLIENTS_MAX = 1000000,
};

struct crowd {
	unsigned long port;
	int epoll;
	unsigned long names; /* each asks for the next one of so many server names */
	unsigned long wanted, started, failed;
	struct samples latencies; /* microseconds, one for each that is done */
};

struct client {
	gnutls_session_t session;
	int fd;
	bool connected, complete; /* the handshake is; the server's close is awaited */
	double began;
};

static void client_start(struct crowd *crowd, struct client *client)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
	char name[64];

	client->fd = loopback_connect(crowd->port, SOCK_NONBLOCK);
	client->session = session_new(client->fd, GNUTLS_NONBLOCK);
	if (crowd->names) {
		snprintf(name, sizeof(name), "host%lu.bench.test", crowd->started % crowd->names);
		gnutls_server_name_set(client->session, GNUTLS_NAME_DNS, name, strlen(name));
	}
	if (epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, client->fd, &event))
		die("epoll: %s", strerror(errno));
	crowd->started++;
}

static void client_end(struct crowd *crowd, struct client *client, bool good)
{
	if (!good)
		crowd->failed++;
	else if (samples_add(&crowd->latencies, (clock_seconds() - client->began) * 1e6) < 0)
		die("out of memory");
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
		clients[i].began = clock_seconds();
		client_move(crowd, &clients[i]);
	}
	while (crowd->latencies.count + crowd->failed < crowd->wanted) {
		int count = epoll_wait(crowd->epoll, events, 64, 60000);

		if (!count)
			die("nothing moved for a minute; %zu of %lu handshakes are done",
			    crowd->latencies.count, crowd->wanted);
		for (int i = 0; i < count; i++)
			client_move(crowd, events[i].data.ptr);
	}
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
	struct crowd crowd = {.wanted = 1000};
	unsigned long silent = 0;
	struct client *clients;
	double seconds;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'o':
			crowd.port = number(optarg, 1, PORT_MAX);
			break;
		case 'n':
			crowd.wanted = number(optarg, 1, CLIENTS_MAX);
			break;
		case 's':
			silent = number(optarg, 0, CLIENTS_MAX);
			break;
		case 'N':
			crowd.names = number(optarg, 0, CLIENTS_MAX);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	if (!crowd.port) {
		fputs(usage, stderr);
		return 2;
	}
	clients = calloc(crowd.wanted, sizeof(*clients));
	crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!clients || crowd.epoll < 0)
		die("cannot begin: %s", strerror(errno));
	/* They live as long as the crowd does. */
	for (unsigned long i = 0; i < silent; i++)
		loopback_connect(crowd.port, SOCK_NONBLOCK);
	gather(&crowd, clients);
	seconds = clock_seconds();
	run(&crowd, clients);
	seconds = clock_seconds() - seconds;
	if (!crowd.latencies.count)
		die("none of %lu handshakes succeeded", crowd.wanted);
	samples_sort(&crowd.latencies);
	printf("{\"handshakes\": %zu, \"failed\": %lu, \"silent\": %lu, \"seconds\": %.6f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       crowd.latencies.count, crowd.failed, silent, seconds,
	       samples_percentile(&crowd.latencies, 0.5),
	       samples_percentile(&crowd.latencies, 0.99));
	samples_done(&crowd.latencies);
	free(clients);
	close(crowd.epoll);
	return 0;
}
