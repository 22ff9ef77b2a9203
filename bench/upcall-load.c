// SPDX-License-Identifier: LGPL-2.1-or-later
// A load of handshakes that the kernel asks its agent for, through kmod-tests/upcall: each is one TCP
// connection on loopback, whose two ends ask as a client and as a server. Touches its own sockets. Must
// never count a connection of which one end failed. Prints a line of JSON.

#include "measure.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "../kmod-tests/upcall/handshake_upcall.h"
#include "perf/statistics.h"

enum { ENDS = 2, STATUSES = 4096, PEER_TIMEOUT_MS = 60000, HANDSHAKES_MAX = 100000000 };

struct load {
	int listening;
	struct sockaddr_in address;
	const char *peer_name;
	enum upcall_auth client_auth;
	enum upcall_auth server_auth;
	int identity;
	int keyring;
	int epoll;
	unsigned long wanted, started, ended, refused;
	unsigned long failures[STATUSES]; /* by errno */
	struct samples latencies;         /* microseconds, one for each that is done */
};

struct end {
	int socket;
	int upcall; /* -1: the kernel would not take the request yet */
	bool is_server;
	bool has_ended;
	double began;
	struct connection *connection;
};

struct connection {
	struct end ends[ENDS]; /* the server's first */
	double began, last;
	int status; /* the first that is not 0 */
	unsigned ended;
	struct connection *waits; /* the next of those that have to ask again */
};

static int end_connect(struct load *load)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&load->address, sizeof(load->address)))
		die("cannot connect: %s", strerror(errno));
	return fd;
}

/* false: the kernel's queue is full, ask again. */
static bool end_ask(struct load *load, struct end *end)
{
	struct upcall_start start = {
	    .socket = end->socket,
	    .role = end->is_server ? UPCALL_SERVER : UPCALL_CLIENT,
	    .auth = end->is_server ? load->server_auth : load->client_auth,
	    .timeout_ms = PEER_TIMEOUT_MS,
	    .keyring = load->keyring,
	};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};

	if (start.auth == UPCALL_PSK && !end->is_server) {
		start.peer_identity_count = 1;
		start.peer_identities[0] = load->identity;
	}
	if (!end->is_server)
		snprintf(start.peer_name, sizeof(start.peer_name), "%s", load->peer_name);
	end->upcall = open("/dev/handshake_upcall", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (end->upcall < 0)
		die("/dev/handshake_upcall: %s", strerror(errno));
	end->began = clock_seconds();
	if (ioctl(end->upcall, UPCALL_START, &start) == 0) {
		if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, end->upcall, &event))
			die("epoll: %s", strerror(errno));
		return true;
	}
	if (errno != EAGAIN)
		die("the kernel takes no request: %s%s", strerror(errno),
		    errno == ESRCH ? " (no agent runs)" : "");
	load->refused++;
	close(end->upcall);
	end->upcall = -1;
	return false;
}

/* Asks for the ends that have not been taken. false: some wait on. */
static bool connection_ask(struct load *load, struct connection *connection)
{
	for (int i = 0; i < ENDS; i++)
		if (connection->ends[i].upcall < 0 && !end_ask(load, &connection->ends[i]))
			return false;
	return true;
}

static struct connection *connection_new(struct load *load)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		die("out of memory");
	for (int i = 0; i < ENDS; i++) {
		struct end *end = &connection->ends[i];

		end->connection = connection;
		end->is_server = i == 0;
		end->upcall = -1;
	}
	connection->ends[1].socket = end_connect(load);
	connection->ends[0].socket = accept4(load->listening, NULL, NULL, SOCK_CLOEXEC);
	if (connection->ends[0].socket < 0)
		die("accept: %s", strerror(errno));
	connection->began = clock_seconds();
	load->started++;
	return connection;
}

static void connection_free(struct load *load, struct connection *connection)
{
	load->ended++;
	if (connection->status)
		load->failures[connection->status]++;
	else if (samples_add(&load->latencies, (connection->last - connection->began) * 1e6) < 0)
		die("out of memory");
	for (int i = 0; i < ENDS; i++) {
		close(connection->ends[i].upcall);
		close(connection->ends[i].socket);
	}
	free(connection);
}

/* The time of an end is the kernel's own. True when both ends are through. */
static bool end_report(struct end *end)
{
	struct connection *connection = end->connection;
	struct upcall_result result;
	double then;

	if (end->has_ended || read(end->upcall, &result, sizeof(result)) != sizeof(result))
		return false;
	end->has_ended = true;
	if (result.calls != 1)
		die("a request was reported %u times", result.calls);
	if (result.status && !connection->status)
		connection->status = result.status > -STATUSES ? -result.status : EIO;
	then = end->began + (double)result.microseconds / 1e6;
	if (then > connection->last)
		connection->last = then;
	return ++connection->ended == ENDS;
}

static double load_run(struct load *load, unsigned long concurrency)
{
	struct epoll_event events[64];
	struct connection *waiting = NULL;
	double began = clock_seconds();

	while (load->ended < load->wanted) {
		struct connection *retry = waiting;
		int count;

		for (waiting = NULL; retry;) {
			struct connection *next = retry->waits;

			if (!connection_ask(load, retry)) {
				retry->waits = waiting;
				waiting = retry;
			}
			retry = next;
		}
		while (load->started < load->wanted && load->started - load->ended < concurrency) {
			struct connection *connection = connection_new(load);

			if (!connection_ask(load, connection)) {
				connection->waits = waiting;
				waiting = connection;
			}
		}
		count = epoll_wait(load->epoll, events, 64, waiting ? 1 : 2 * PEER_TIMEOUT_MS);
		if (count == 0 && !waiting)
			die("%lu requests have no answer", load->started - load->ended);
		for (int i = 0; i < count; i++) {
			struct end *end = events[i].data.ptr;

			if (end_report(end))
				connection_free(load, end->connection);
			else if (end->has_ended)
				epoll_ctl(load->epoll, EPOLL_CTL_DEL, end->upcall, NULL);
		}
	}
	return clock_seconds() - began;
}

static const char usage[] =
    "usage: upcall-load [--handshakes N] [--concurrency N] [--auth x509|unauthenticated|psk]\n"
    "  [--peer-name NAME] [--identity SERIAL] [--keyring SERIAL]\n"
    "--auth: the client's; the server asks for psk or x509. --identity: of the client's key "
    "(psk).\n";

static enum upcall_auth auth_of(const char *word)
{
	if (strcmp(word, "x509") == 0)
		return UPCALL_X509;
	if (strcmp(word, "unauthenticated") == 0)
		return UPCALL_UNAUTHENTICATED;
	if (strcmp(word, "psk") == 0)
		return UPCALL_PSK;
	die("--auth \"%s\": use x509, unauthenticated or psk", word);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"handshakes", required_argument, NULL, 'n'},
	    {"concurrency", required_argument, NULL, 'c'},
	    {"auth", required_argument, NULL, 'a'},
	    {"peer-name", required_argument, NULL, 'p'},
	    {"identity", required_argument, NULL, 'i'},
	    {"keyring", required_argument, NULL, 'k'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct load load = {.wanted = 100, .peer_name = "localhost", .client_auth = UPCALL_X509};
	unsigned long concurrency = 1;
	const char *separator = "";
	unsigned port;
	double seconds;
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (option) {
		case 'n':
			load.wanted = number(optarg, 1, HANDSHAKES_MAX);
			break;
		case 'c':
			concurrency = number(optarg, 1, HANDSHAKES_MAX);
			break;
		case 'a':
			load.client_auth = auth_of(optarg);
			break;
		case 'p':
			load.peer_name = optarg;
			break;
		case 'i':
			load.identity = (int)number(optarg, 0, INT32_MAX);
			break;
		case 'k':
			load.keyring = (int)number(optarg, 0, INT32_MAX);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	load.server_auth = load.client_auth == UPCALL_PSK ? UPCALL_PSK : UPCALL_X509;
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (load.epoll < 0)
		die("epoll: %s", strerror(errno));
	load.listening = tcp_listen(LOOPBACK, &port);
	load.address = (struct sockaddr_in){.sin_family = AF_INET,
					    .sin_port = htons((in_port_t)port),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	seconds = load_run(&load, concurrency);
	samples_sort(&load.latencies);
	printf("{\"handshakes\": %zu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
	       "\"asked_again\": %lu, \"failed\": {",
	       load.latencies.count, seconds, samples_percentile(&load.latencies, 0.5),
	       samples_percentile(&load.latencies, 0.99), load.refused);
	for (int i = 0; i < STATUSES; i++)
		if (load.failures[i]) {
			printf("%s\"%s\": %lu", separator,
			       strerrorname_np(i) ? strerrorname_np(i) : "?", load.failures[i]);
			separator = ", ";
		}
	puts("}}");
	samples_done(&load.latencies);
	close(load.listening);
	close(load.epoll);
	return 0;
}
