// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Calls on strangers' descriptors that could wait for ever, bounded. Touches SIGALRM, the real-time
 * interval timer and the descriptors it is given. Never changes a file's flags or options: they
 * belong to whoever handed it over.
 */
#include "foreign.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum {
	PATIENCE_US = 2000,
	CLOSERS_MAX = 8,
	WAITING_MANY = 64, /* so many wait only if the threads are held up */
	ROOM_FIRST = 256,
	CLOSER_STACK = 65536,
	BLAMED_MAX = 16,
};

/* Threads that close what is no socket, and what waits for them. */
static struct {
	pthread_mutex_t lock;
	unsigned threads;
	unsigned waiting, room;
	int *fds; /* no more than the process may have open */
} closers = {.lock = PTHREAD_MUTEX_INITIALIZER};
static uid_t blamed[BLAMED_MAX]; /* a ring */
static unsigned blamed_count;

/* The watchdog. The main thread's and its signal handler's. */
static struct {
	bool lasts; /* beyond the call, until a tick finds that there was none since the last */
	volatile sig_atomic_t ticks, guarded, used;
} watchdog;

static void watchdog_set(suseconds_t microseconds)
{
	struct itimerval timer = {
	    .it_value.tv_usec = microseconds,
	    .it_interval.tv_usec = microseconds,
	};
	int saved = errno;

	setitimer(ITIMER_REAL, &timer, NULL);
	errno = saved;
}

/* It has interrupted the call, if there is one: that is all that it is for. */
static void watchdog_tick(int signal_number)
{
	(void)signal_number;
	if (!watchdog.guarded && !watchdog.used) {
		watchdog.ticks = 0;
		watchdog_set(0);
	}
	watchdog.used = 0;
}

int foreign_start(bool lasting)
{
	/* No SA_RESTART: the call is to end with EINTR. */
	struct sigaction action = {.sa_handler = watchdog_tick};

	/* The timer of whoever forked this process was not inherited. */
	watchdog.ticks = watchdog.guarded = watchdog.used = 0;
	watchdog.lasts = lasting;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGALRM, &action, NULL) < 0 ? -errno : 0;
}

/* The timer goes on ticking: a signal that comes just before the call is followed by another. The handler,
 * in this thread, sees the guard before it could stop the timer, or has stopped it before. */
void foreign_guard(bool on)
{
	watchdog.guarded = on;
	watchdog.used = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (on && !watchdog.ticks) {
		watchdog.ticks = 1;
		watchdog_set(PATIENCE_US);
	} else if (!on && !watchdog.lasts) {
		watchdog.ticks = 0;
		watchdog_set(0);
	}
}

bool foreign_is_socket(int fd)
{
	int domain;
	socklen_t size = sizeof(domain);

	/* fstat() would ask the server of a FUSE file; this does not get as far as the file. */
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
		return false;
	return domain == AF_INET || domain == AF_INET6 || domain == AF_UNIX;
}

/* The next descriptor that waits, or -1: the thread then ends. */
static int closers_next(void)
{
	int fd = -1;

	pthread_mutex_lock(&closers.lock);
	if (closers.waiting)
		fd = closers.fds[--closers.waiting];
	else
		closers.threads--;
	pthread_mutex_unlock(&closers.lock);
	return fd;
}

static void *closer_main(void *argument)
{
	int fd;

	/* Linux frees the number first and waits afterwards: only this thread is held up. */
	while ((fd = closers_next()) >= 0)
		close(fd);
	return argument;
}

static bool closer_start(void)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	bool started;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, CLOSER_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* the watchdog is for the main thread */
	started = pthread_create(&thread, &attributes, closer_main, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return started;
}

/* With the lock held. */
static bool closers_have_room(void)
{
	unsigned room = closers.room ? closers.room * 2 : ROOM_FIRST;
	int *larger;

	if (closers.waiting < closers.room)
		return true;
	larger = reallocarray(closers.fds, room, sizeof(*larger));
	if (!larger)
		return false;
	closers.fds = larger;
	closers.room = room;
	return true;
}

/* Leaves it to the threads. Without memory it stays open: a lost number is the lesser evil. */
static void closers_add(int fd)
{
	bool more;

	pthread_mutex_lock(&closers.lock);
	if (closers_have_room())
		closers.fds[closers.waiting++] = fd;
	more = closers.threads < CLOSERS_MAX;
	closers.threads += more;
	pthread_mutex_unlock(&closers.lock);
	if (!more || closer_start())
		return;
	pthread_mutex_lock(&closers.lock);
	closers.threads--;
	pthread_mutex_unlock(&closers.lock);
}

void foreign_close_socket(int fd)
{
	int saved = errno;

	/* The last close of a TCP socket waits for SO_LINGER, O_NONBLOCK or not; a Unix socket may have such
	 * sockets in its queue. A signal ends the wait. */
	foreign_guard(true);
	close(fd);
	foreign_guard(false);
	errno = saved;
}

void foreign_close(int fd)
{
	int saved = errno;

	if (fd < 0)
		return;
	if (foreign_is_socket(fd))
		foreign_close_socket(fd);
	else
		closers_add(fd);
	errno = saved;
}

bool foreign_is_stuck(void)
{
	bool stuck;

	pthread_mutex_lock(&closers.lock);
	stuck = closers.waiting >= WAITING_MANY;
	pthread_mutex_unlock(&closers.lock);
	return stuck;
}

void foreign_blame(uid_t uid)
{
	blamed[blamed_count++ % BLAMED_MAX] = uid;
}

bool foreign_is_blamed(uid_t uid)
{
	for (unsigned i = 0; i < BLAMED_MAX && i < blamed_count; i++)
		if (blamed[i] == uid)
			return foreign_is_stuck();
	return false;
}

int foreign_accept(int listening_fd, struct sockaddr *ret_address, socklen_t *size)
{
	struct pollfd polled = {.fd = listening_fd, .events = POLLIN};
	/* Nearly always enough; the watchdog is for the race with others that accept. */
	int ready = poll(&polled, 1, 0), fd;

	if (ready == 0 || (ready < 0 && errno == EINTR))
		return -EAGAIN;
	foreign_guard(true);
	fd = accept4(listening_fd, ret_address, size, SOCK_CLOEXEC);
	foreign_guard(false);
	if (fd < 0)
		return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return fd;
}
