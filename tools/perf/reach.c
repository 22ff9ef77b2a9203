// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reaching the server's end. Touches the network and, in this host, a child of this process.
 */
#include "reach.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../options.h"
#include "ending.h"
#include "server.h"

void reach_resolve(struct reach *reach, const char *text, char *name, size_t size)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct options_address address;
	struct options_problem problem;
	struct addrinfo *found;
	struct in6_addr literal;
	int error;

	if (options_read_address(text, &address, &problem) < 0)
		die("%s", problem.text);
	error = getaddrinfo(address.host, address.port, &hints, &found);
	if (error)
		die("cannot find \"%s\": %s", text, gai_strerror(error));
	memcpy(&reach->address, found->ai_addr, found->ai_addrlen);
	reach->address_size = found->ai_addrlen;
	freeaddrinfo(found);
	/* RFC 6066, 3: a name, not an address. */
	if (inet_pton(AF_INET, address.host, &literal) != 1 &&
	    inet_pton(AF_INET6, address.host, &literal) != 1)
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
	char name[256] = "";
	int fd;

	files_allow();
	reach->server = -1;
	if (!client) {
		reach_resolve(reach, "127.0.0.1:0", name, sizeof(name));
		reach->server = server_start(&reach->link);
		return;
	}
	reach_resolve(reach, client, name, sizeof(name));
	fd = socket(reach->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&reach->address, reach->address_size) < 0)
		die("no server's end answers at \"%s\": %s; is one running there with --server?",
		    client, strerror(errno));
	link_init(&reach->link, fd);
}

void reach_port(struct reach *reach, unsigned port)
{
	/* Both families have it at the same place. */
	((struct sockaddr_in *)&reach->address)->sin_port = htons((in_port_t)port);
}

void reach_end(struct reach *reach)
{
	link_done(&reach->link);
	if (reach->server > 0)
		waitpid(reach->server, NULL, 0);
}
