// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Listening and connecting. Touches the sockets that it makes or is given; never leaves one open that it
 * does not return, nor waits for another host without a deadline.
 */
#include "tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
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

/* 0, or -1 with errno. */
static int connected_wait(int fd)
{
	double end = clock_seconds() + TCP_CONNECT_SECONDS;
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	int error = ETIMEDOUT;
	socklen_t size = sizeof(error);

	for (double left; (left = end - clock_seconds()) > 0;)
		if (poll(&wait, 1, (int)(left * 1000) + 1) > 0) {
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
			break;
		}
	errno = error;
	return error ? -1 : 0;
}

int tcp_connect_soon(const struct sockaddr *address, socklen_t size)
{
	int error, fd = tcp_connect(address, size, SOCK_NONBLOCK);

	if (fd < 0)
		return -1;
	if (connected_wait(fd) == 0 && fcntl(fd, F_SETFL, 0) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

void tcp_keep(int fd)
{
	const int on = 1, idle = 5, every = 2, probes = (TCP_LOST_SECONDS - idle) / every;
	const unsigned lost_ms = TCP_LOST_SECONDS * 1000;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	/* tcp(7): the same where something was sent and is not acknowledged. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lost_ms, sizeof(lost_ms));
}

void tcp_write(const struct sockaddr *address, socklen_t size, char *text, size_t room)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	struct sockaddr_in four = {.sin_family = AF_INET};
	char host[64] = "", port[16] = "";

	if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		memcpy(&four.sin_addr, &six->sin6_addr.s6_addr[12], sizeof(four.sin_addr));
		four.sin_port = six->sin6_port;
		address = (const struct sockaddr *)&four;
		size = sizeof(four);
	}
	getnameinfo(address, size, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(text, room, address->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

void tcp_write_peer(int fd, char *text, size_t room)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNIX};
	socklen_t size = sizeof(peer);

	*text = '\0';
	if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.ss_family != AF_UNIX)
		tcp_write((const struct sockaddr *)&peer, size, text, room);
}
