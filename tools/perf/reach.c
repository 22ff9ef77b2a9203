// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reaching the server's end. Touches the network and, in this host, a child of this process.
 */
#include "reach.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../options.h"
#include "ending.h"
#include "server.h"
#include "tcp.h"

enum { BEGIN_SECONDS = 120 /* the other end makes keys and starts a daemon */ };

/* True: it names no host but is an address, with or without the device that it belongs to. */
static bool is_literal(const char *host)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
	struct addrinfo *found;

	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return false;
	freeaddrinfo(found);
	return true;
}

static struct addrinfo *find(const char *text, struct options_address *address)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct options_problem problem;
	struct addrinfo *found;
	int error;

	if (options_read_address(text, address, &problem) < 0)
		die("%s", problem.text);
	if (!*address->host)
		die("\"%s\" names no host: it is written HOST:PORT", text);
	error = getaddrinfo(address->host, address->port, &hints, &found);
	if (error)
		die("cannot find \"%s\": %s", text, gai_strerror(error));
	return found;
}

static void take(struct reach *reach, const struct addrinfo *found)
{
	memcpy(&reach->address, found->ai_addr, found->ai_addrlen);
	reach->address_size = found->ai_addrlen;
	tcp_write(found->ai_addr, found->ai_addrlen, reach->text, sizeof(reach->text));
}

/* A name may have addresses of both families, and whoever listens only one. A socket, or -1 with errno: nobody
 * answers at any of them. */
static int connect_any(struct reach *reach, const struct addrinfo *found)
{
	int fd = -1;

	for (; found && fd < 0; found = found->ai_next) {
		take(reach, found);
		fd = tcp_connect_soon(found->ai_addr, found->ai_addrlen);
	}
	return fd;
}

void reach_resolve(struct reach *reach, const char *text, char *name, size_t size)
{
	struct options_address address;
	struct addrinfo *found = find(text, &address);
	int fd = -1;

	take(reach, found);
	if (found->ai_next && (fd = connect_any(reach, found)) < 0)
		die("nobody answers at \"%s\", last tried %s: %s", text, reach->text,
		    strerror(errno));
	if (fd >= 0)
		close(fd);
	freeaddrinfo(found);
	/* RFC 6066, 3: a name, not an address. */
	if (!is_literal(address.host))
		snprintf(name, size, "%s", address.host);
}

/* Each connection is a descriptor. */
static void files_allow(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

void reach_server(struct reach *reach, const char *client)
{
	struct options_address address;
	struct addrinfo *found;
	int fd;

	files_allow();
	reach->server = -1;
	found = find(client ? client : "127.0.0.1:0", &address);
	if (!client) {
		take(reach, found);
		reach->server = server_start(&reach->link);
	} else {
		fd = connect_any(reach, found);
		if (fd < 0)
			die("no server's end answers at \"%s\", %s: %s; is one running there with "
			    "--server?",
			    client, reach->text, strerror(errno));
		link_init(&reach->link, fd);
	}
	freeaddrinfo(found);
}

void reach_begin(struct reach *reach, json_t *question, json_t *machines)
{
	json_t *client = json_object_get(machines, "client"), *answer, *server;

	json_object_set_new(question, "do", json_string("begin"));
	json_object_set_new(question, "protocol", json_integer(SERVER_PROTOCOL));
	json_object_set_new(question, "handshake", json_string(VERSION));
	answer = link_ask(&reach->link, question, BEGIN_SECONDS);
	server = json_object_get(answer, "machine");
	if (json_integer_value(json_object_get(answer, "protocol")) != SERVER_PROTOCOL)
		die("the server's end%s is of another version of handshake than this one, %s: both "
		    "ends must be of the same",
		    reach->link.peer, VERSION);
	if (*reach->link.peer) {
		json_object_set(client, "address", json_object_get(answer, "client"));
		json_object_set_new(server, "address", json_string(reach->text));
	}
	if (json_object_set(machines, "server", server) < 0)
		die("the server's end%s does not tell what it is", reach->link.peer);
	json_decref(answer);
}

void reach_round_trip(const struct reach *reach, json_t *machines)
{
	struct tcp_info info = {.tcpi_min_rtt = 0};
	socklen_t size = sizeof(info);

	/* Older kernels fill less of it, and not this. */
	if (*reach->link.peer &&
	    getsockopt(reach->link.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
	    size >= offsetof(struct tcp_info, tcpi_min_rtt) + sizeof(info.tcpi_min_rtt))
		json_object_set_new(json_object_get(machines, "server"), "round-trip-us",
				    json_integer(info.tcpi_min_rtt));
}

void reach_port(struct reach *reach, unsigned port)
{
	/* Both families have it at the same place. */
	((struct sockaddr_in *)&reach->address)->sin_port = htons((in_port_t)port);
	tcp_write((const struct sockaddr *)&reach->address, reach->address_size, reach->text,
		  sizeof(reach->text));
}

void reach_end(struct reach *reach)
{
	link_done(&reach->link);
	if (reach->server > 0)
		waitpid(reach->server, NULL, 0);
}
