/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at, empties and closes a TCP socket that belonged to a program. It must never wait: the program
 * may still hold the socket and set what it likes on it. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "foreign.h"
#include "relay-tcp.h"

enum { /* of the kernel's include/net/tcp_states.h */
       STATE_FIN_WAIT1 = 4,
       STATE_FIN_WAIT2 = 5,
       STATE_TIME_WAIT = 6,
       STATE_CLOSE = 7,
       STATE_LAST_ACK = 9,
       STATE_CLOSING = 11,
};

enum relay_tcp_phase relay_tcp_phase(int fd, uint64_t *ret_confirmed)
{
	struct tcp_info info;
	socklen_t size = sizeof info;

	memset(&info, 0, sizeof info);
	*ret_confirmed = 0;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return RELAY_TCP_OPEN; /* relay_tcp_close() then resets */
	*ret_confirmed = info.tcpi_bytes_acked;
	switch (info.tcpi_state) {
	case STATE_FIN_WAIT1:
	case STATE_LAST_ACK:
	case STATE_CLOSING:
		return RELAY_TCP_FLUSHING;
	case STATE_FIN_WAIT2:
		return RELAY_TCP_WAITING;
	case STATE_TIME_WAIT:
	case STATE_CLOSE:
		return RELAY_TCP_CLOSED;
	default:
		return RELAY_TCP_OPEN;
	}
}

bool relay_tcp_drain(int fd)
{
	/* With MSG_TRUNC, TCP drops instead of copying (tcp(7)). Not more than 16 MiB in one go: others
	 * want their turn. */
	for (int i = 0; i < 16; i++) {
		ssize_t size = recv(fd, NULL, 1 << 20, MSG_DONTWAIT | MSG_TRUNC);
		if (size == 0)
			return true;
		if (size < 0 && errno != EINTR)
			return errno != EAGAIN;
	}
	return false;
}

void relay_tcp_close(int fd)
{
	uint64_t confirmed;
	enum relay_tcp_phase phase = relay_tcp_phase(fd, &confirmed);
	/* On, with no seconds: a reset, at once. Off: nothing is unconfirmed, so nothing is waited for. */
	struct linger linger = {phase == RELAY_TCP_OPEN || phase == RELAY_TCP_FLUSHING, 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	foreign_close(fd); /* the program may change it again in between */
}
