// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Waiting for client's ends on other hosts. Touches one listening socket, those who wait their turn and a child for
 * whoever has it; never measures for two at once, nor leaves the second without a word.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../options.h"
#include "cpu.h"
#include "ending.h"
#include "server.h"
#include "tcp.h"

enum { WAITING_MOST = 16 };
/* Seconds: the end before may still be putting things away. */
#define TURN_WITHIN 10.0

struct waiting {
	int fd;
	double until;
};

struct listening {
	int fd;
	pid_t serving;                        /* -1: nobody is served */
	char client[TCP_TEXT_SIZE];           /* who is */
	struct waiting waiting[WAITING_MOST]; /* the oldest first */
	unsigned waiting_count;
};

static int listener_make(const char *text, const struct options_address *address)
{
	const struct addrinfo hints = {.ai_family = *address->host ? AF_UNSPEC : AF_INET6,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE};
	struct addrinfo *found = NULL;
	const int on = 1, off = 0;
	int fd, error;

	error = getaddrinfo(*address->host ? address->host : NULL, address->port, &hints, &found);
	if (error)
		die("cannot find the address \"%s\": %s", text, gai_strerror(error));
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* ipv6(7): all addresses are those of IPv4 too, whatever net.ipv6.bindv6only says. */
	if (!*address->host)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	error = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 16) == 0
		    ? 0
		    : errno;
	freeaddrinfo(found);
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	errno = error;
	return -1;
}

/* A socket that listens, or the end of this process. */
static int listener_open(const char *text)
{
	struct options_address address;
	struct options_problem problem;
	int fd;

	if (options_read_address(text, &address, &problem) < 0)
		die("%s", problem.text);
	fd = listener_make(text, &address);
	if (fd < 0 && errno == EAFNOSUPPORT && !*address.host) {
		/* A host without IPv6. */
		snprintf(address.host, sizeof(address.host), "0.0.0.0");
		fd = listener_make(text, &address);
	}
	if (fd < 0)
		die("cannot listen on \"%s\": %s", text, strerror(errno));
	return fd;
}

/* ---- Turns --------------------------------------------------------------------------------- */

/* fd is taken. The servers under measurement listen where the other end has found this one. */
static void serve(struct listening *listening, int fd)
{
	struct sockaddr_storage local = {.ss_family = AF_UNSPEC};
	socklen_t size = sizeof(local);
	char host[64] = "";

	getsockname(fd, (struct sockaddr *)&local, &size);
	getnameinfo((const struct sockaddr *)&local, size, host, sizeof(host), NULL, 0,
		    NI_NUMERICHOST);
	tcp_write_peer(fd, listening->client, sizeof(listening->client));
	listening->serving = server_fork(fd, listening->fd, host);
}

/* fd is taken. Neither waits: this one's question is long there, and the sentence is short. */
static void refuse(const struct listening *listening, int fd)
{
	char question[4096], sentence[256];
	int length = snprintf(sentence, sizeof(sentence),
			      "{\"error\":\"it measures for %s, and for one at a time; try again "
			      "when that has ended\"}\n",
			      listening->client);

	/* What is not read when it is closed makes a reset, which would overtake the sentence. */
	while (recv(fd, question, sizeof(question), MSG_DONTWAIT) > 0)
		;
	send(fd, sentence, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
	/* The child that is served has it too, since it was there when that was begun. */
	shutdown(fd, SHUT_RDWR);
	close(fd);
}

static int waiting_take(struct listening *listening)
{
	int fd = listening->waiting[0].fd;

	memmove(listening->waiting, listening->waiting + 1,
		--listening->waiting_count * sizeof(listening->waiting[0]));
	return fd;
}

static void waiting_add(struct listening *listening, int fd)
{
	if (listening->waiting_count == WAITING_MOST)
		refuse(listening, waiting_take(listening));
	listening->waiting[listening->waiting_count++] =
	    (struct waiting){fd, clock_seconds() + TURN_WITHIN};
}

/* Whose turn it is, and who has waited too long. */
static void turns_take(struct listening *listening)
{
	if (listening->serving > 0 && waitpid(listening->serving, NULL, WNOHANG) != 0)
		listening->serving = -1;
	if (listening->serving < 0 && listening->waiting_count)
		serve(listening, waiting_take(listening));
	while (listening->waiting_count && listening->waiting[0].until <= clock_seconds())
		refuse(listening, waiting_take(listening));
}

static void child_ended(int number)
{
	(void)number; /* it is enough that ppoll(2) returns */
}

void server_listen(const char *text)
{
	struct listening listening = {.fd = listener_open(text), .serving = -1};
	struct sockaddr_storage local;
	socklen_t size = sizeof(local);
	const struct timespec second = {.tv_sec = 1};
	char address[TCP_TEXT_SIZE];
	sigset_t children, before;

	getsockname(listening.fd, (struct sockaddr *)&local, &size);
	tcp_write((const struct sockaddr *)&local, size, address, sizeof(address));
	printf("The server's end waits at %s\n", address);
	fflush(stdout);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	signal(SIGCHLD, child_ended);
	/* A child's end cannot come between looking for it and waiting for the next thing. */
	sigprocmask(SIG_BLOCK, &children, &before);
	for (;;) {
		struct pollfd wait = {.fd = listening.fd, .events = POLLIN};
		int fd;

		turns_take(&listening);
		ppoll(&wait, 1, listening.waiting_count ? &second : NULL, &before);
		fd = accept4(listening.fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			waiting_add(&listening, fd);
		else if (errno != EAGAIN && errno != EINTR)
			nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	}
}
