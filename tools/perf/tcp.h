/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets of what is measured. */
#ifndef PERF_TCP_H
#define PERF_TCP_H

#include <sys/socket.h>

/* A listening socket on the host, an address, and a free port; ends this process where it cannot. */
int tcp_listen(const char *host, unsigned *ret_port);
/* A connection without Nagle's algorithm. flags: SOCK_NONBLOCK, then it may still be under way, or 0. -1 and
 * errno. */
int tcp_connect(const struct sockaddr *address, socklen_t size, int flags);

#endif
