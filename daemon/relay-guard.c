/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Takes descriptors that nobody asked for out of the way. May start a thread, which closes them and
 * ends; it must not close one of them in the calling thread as long as there are threads to be had. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "descriptors.h"
#include "foreign.h"
#include "log.h"
#include "relay-guard.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

enum {
	THREAD_STACK = 65536,
	MESSAGES_MAX = 65536, /* in one queue; there is room for far fewer */
};

struct foreign {
	int socket; /* to be emptied and closed, too; -1: none */
	size_t count;
	int fds[DESCRIPTORS_MAX];
};

static atomic_uint threads;

void relay_guard_refuse(int fd)
{
	const int no = 0;

	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof no);
}

/* Reads without waiting; what descriptors came, and whether some were lost. */
static ssize_t receive(int fd, struct iovec *vector, size_t count, struct foreign *ret_foreign,
		       bool *ret_lost)
{
	int flags = MSG_DONTWAIT;
	ssize_t size;

	ret_foreign->socket = -1;
	ret_foreign->count = DESCRIPTORS_MAX;
	size =
	    descriptors_receive(fd, vector, count, &flags, ret_foreign->fds, &ret_foreign->count);
	*ret_lost = size >= 0 && flags & MSG_CTRUNC;
	return size;
}

/* Closes them, and empties and closes the socket that they came through. */
static void dispose(struct foreign *foreign, void (*close_one)(int fd))
{
	int socket = foreign->socket;

	for (int i = 0; i < MESSAGES_MAX; i++) {
		char bytes[4096];
		struct iovec vector = {bytes, sizeof bytes};
		bool lost;
		for (size_t n = 0; n < foreign->count; n++)
			close_one(foreign->fds[n]);
		if (socket < 0 || receive(socket, &vector, 1, foreign, &lost) <= 0)
			break;
	}
	if (socket >= 0)
		close_one(socket);
}

static void close_plainly(int fd)
{
	close(fd);
}

static void *thread_main(void *context)
{
	dispose(context, close_plainly);
	free(context);
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

static bool thread_start(struct foreign *foreign)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	sigfillset(&all); /* signals are the loop's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = pthread_create(&thread, &attributes, thread_main, foreign);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return result == 0;
}

static void dispose_aside(struct foreign *foreign)
{
	struct foreign *copy = malloc(sizeof *copy);

	if (copy)
		*copy = *foreign;
	if (copy && atomic_fetch_add(&threads, 1) < RELAY_GUARD_THREADS_MAX && thread_start(copy))
		return;
	if (copy)
		atomic_fetch_sub(&threads, 1);
	free(copy);
	log_warning(
	    "closes descriptors that a program put into its connection, and may be held up by it: "
	    "too many others are being closed");
	dispose(foreign, foreign_close);
}

ssize_t relay_guard_read(int fd, struct iovec *vector, size_t count, bool *ret_foreign)
{
	struct foreign foreign;
	bool lost;
	ssize_t size = receive(fd, vector, count, &foreign, &lost);

	if (foreign.count > 0)
		dispose_aside(&foreign);
	*ret_foreign = foreign.count > 0 || lost;
	return size;
}

bool relay_guard_drain(int fd)
{
	static char bytes[65536]; /* never looked at; only the loop's thread comes here */
	ssize_t size = 1;
	bool foreign = false;

	for (int i = 0; i < MESSAGES_MAX && size > 0 && !foreign; i++) {
		struct iovec vector = {bytes, sizeof bytes};
		size = relay_guard_read(fd, &vector, 1, &foreign);
	}
	return !foreign;
}

void relay_guard_close(int fd)
{
	struct foreign rest = {.socket = fd, .count = 0};

	shutdown(fd, SHUT_RD);
	if (relay_guard_drain(fd))
		close(fd);
	else
		dispose_aside(&rest);
}
