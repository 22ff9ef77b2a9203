// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Listening and connecting. Touches the sockets that it makes; never leaves one open that it does not return.
 */
#include "tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "ending.h"

int tcp_listen(const char *host, unsigned *ret_port)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
	struct sockaddr_in6 bound = {.sin6_port = 0};
	socklen_t size = sizeof(bound);
	struct addrinfo *found = NULL;
	int fd = -1;

	if (getaddrinfo(host, "0", &hints, &found) != 0 || !found)
		die("cannot listen on \"%s\"", host);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&bound, &size) < 0)
		die("cannot listen on \"%s\": %s", host, strerror(errno));
	freeaddrinfo(found);
	/* Both families have the port at the same place. */
	*ret_port = ntohs(bound.sin6_port);
	return fd;
}

int tcp_connect(const struct sockaddr *address, socklen_t size, int flags)
{
	const int on = 1;
	int error, fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		return -1;
	/* GnuTLS writes a client's last flight in two pieces. Nagle's algorithm would hold the second
	 * until the server's delayed acknowledgement of the first: 40 ms that say nothing of servers. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
	    (connect(fd, address, size) == 0 || (flags && errno == EINPROGRESS)))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}
