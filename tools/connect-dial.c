// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * From a name to a connected TCP socket. Touches the resolver and the sockets it makes. Never leaves
 * one behind that it did not return.
 */
#include "connect.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

enum { ATTEMPTS_MAX = 16 };
#define STAGGER_MS 250 /* RFC 8305, 8: Connection Attempt Delay */

struct attempts {
	struct pollfd polled[ATTEMPTS_MAX];
	nfds_t count; /* under way */
	int error;    /* an errno: the last failure */
};

/* Begins one attempt; a failure is noted. */
static void attempts_add(struct attempts *attempts, const struct addrinfo *address)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			address->ai_protocol);

	if (fd < 0 ||
	    (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)) {
		attempts->error = errno;
		if (fd >= 0)
			close(fd);
		return;
	}
	attempts->polled[attempts->count++] = (struct pollfd){.fd = fd, .events = POLLOUT};
}

/* Waits for one to succeed; those that failed are let go. A descriptor, or -1. */
static int attempts_wait(struct attempts *attempts, uint64_t milliseconds)
{
	int established = -1;
	nfds_t kept = 0;

	if (poll(attempts->polled, attempts->count, (int)milliseconds) <= 0)
		return -1;
	for (nfds_t i = 0; i < attempts->count; i++) {
		int fd = attempts->polled[i].fd, error = 0;
		socklen_t length = sizeof(error);

		if (established >= 0 || !attempts->polled[i].revents) {
			attempts->polled[kept++] = attempts->polled[i];
			continue;
		}
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (error == 0) {
			established = fd;
		} else {
			attempts->error = error;
			close(fd);
		}
	}
	attempts->count = kept;
	return established;
}

static int addresses_try(const struct addrinfo *list, uint64_t timeout_ms, int *ret_error)
{
	struct attempts attempts = {.error = ETIMEDOUT};
	const uint64_t deadline = clock_ms() + timeout_ms;
	int fd = -1;

	while (fd < 0 && (list || attempts.count)) {
		uint64_t now = clock_ms(), left = now < deadline ? deadline - now : 0;

		if (left == 0) {
			attempts.error = ETIMEDOUT;
			break;
		}
		if (list && attempts.count < ATTEMPTS_MAX) {
			attempts_add(&attempts, list);
			list = list->ai_next;
			left = list && left > STAGGER_MS ? STAGGER_MS : left;
		}
		if (attempts.count)
			fd = attempts_wait(&attempts, left);
	}
	for (nfds_t i = 0; i < attempts.count; i++)
		close(attempts.polled[i].fd);
	*ret_error = attempts.error;
	return fd;
}

int connect_dial(const char *host, const char *port, uint64_t timeout_ms, char *error, size_t size)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list;
	int reason, fd, r = getaddrinfo(host, port, &hints, &list);

	if (r != 0) {
		snprintf(error, size, "cannot find the host \"%s\": %s", host,
			 r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
		return -1;
	}
	fd = addresses_try(list, timeout_ms, &reason);
	freeaddrinfo(list);
	if (fd < 0) {
		snprintf(error, size, "cannot connect to \"%s\", port %s: %s", host, port,
			 strerror(reason));
		return -1;
	}
	/* Plain until someone says otherwise: what a handshake is asked for is a blocking socket. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}
