/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets of what is measured, and of those who measure. */
#ifndef PERF_TCP_H
#define PERF_TCP_H

#include <stddef.h>
#include <sys/socket.h>

enum {
	TCP_CONNECT_SECONDS = 10, /* until a connection must be there */
	TCP_LOST_SECONDS = 15,    /* without a sign of the other host */
	TCP_TEXT_SIZE = 96,       /* of an address with its port */
};

/* A listening socket on the host, an address, and a free port; ends this process where it cannot. */
int tcp_listen(const char *host, unsigned *ret_port);
/* A connection without Nagle's algorithm. flags: SOCK_NONBLOCK, then it may still be under way, or 0. -1 and
 * errno. */
int tcp_connect(const struct sockaddr *address, socklen_t size, int flags);
/* The same, a blocking socket, within TCP_CONNECT_SECONDS. */
int tcp_connect_soon(const struct sockaddr *address, socklen_t size);
/* From here on whoever waits for this connection is told ETIMEDOUT once the other host has given no sign of
 * itself for TCP_LOST_SECONDS, be it that something was sent or not. */
void tcp_keep(int fd);
/* "192.0.2.1:443" or "[2001:db8::1]:443"; an IPv4 address within an IPv6 one as the former. */
void tcp_write(const struct sockaddr *address, socklen_t size, char *text, size_t room);
/* The same of a connection's other end; "" where that is none of TCP. */
void tcp_write_peer(int fd, char *text, size_t room);

#endif
