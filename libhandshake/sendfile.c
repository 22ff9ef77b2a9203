// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A file's bytes to the connection without a copy. Touches the connection, the file and, for the
 * length of the call, this thread's signal mask. Never asks for more than the file has.
 */
#include "internal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>

#define STEP_MAX 0x7fff0000 /* bytes; what one sendfile(2) moves at most, in whole records */

/* sendfile has no MSG_NOSIGNAL: SIGPIPE is held back around it, and taken if it came of it. */
struct pipe_guard {
	sigset_t before;
	bool pending_before;
};

static void pipe_set(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	sigaddset(ret_set, SIGPIPE);
}

static void pipe_hold(struct pipe_guard *guard)
{
	sigset_t held, pending;

	pipe_set(&held);
	pthread_sigmask(SIG_BLOCK, &held, &guard->before);
	guard->pending_before = false;
	/* It can have been pending only where the caller holds it back too. */
	if (sigismember(&guard->before, SIGPIPE)) {
		sigpending(&pending);
		guard->pending_before = sigismember(&pending, SIGPIPE);
	}
}

static void pipe_release(const struct pipe_guard *guard, bool raised)
{
	const struct timespec now = {0};
	sigset_t held;

	if (raised && !guard->pending_before) {
		pipe_set(&held);
		while (sigtimedwait(&held, NULL, &now) < 0 && errno == EINTR)
			;
	}
	pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

/* Bytes from the offset to the file's end, at most count; or -errno. */
static ssize_t file_rest(int file_fd, off_t offset, size_t count)
{
	struct stat status;

	if (fstat(file_fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) || offset < 0)
		return -EINVAL;
	if (offset >= status.st_size)
		return 0;
	if (count > (size_t)(status.st_size - offset))
		count = (size_t)(status.st_size - offset);
	return count > SSIZE_MAX ? SSIZE_MAX : (ssize_t)count;
}

/* Bytes that were sent, or -errno where there are none. */
static ssize_t file_send(int fd, int file_fd, off_t *offset, size_t count)
{
	size_t sent = 0;

	while (sent < count) {
		size_t step = count - sent < STEP_MAX ? count - sent : STEP_MAX;
		ssize_t n = sendfile(fd, file_fd, offset, step);

		if (n < 0)
			return sent ? (ssize_t)sent : -errno;
		if (n == 0)
			break; /* the file has become shorter */
		sent += (size_t)n;
	}
	return (ssize_t)sent;
}

ssize_t handshake_sendfile(struct handshake *handshake, int fd, int file_fd, off_t *offset,
			   size_t count)
{
	struct pipe_guard guard;
	ssize_t n, sent = 0;
	size_t rest = 0;
	uint64_t room = 0;

	n = records_can_send(handshake);
	if (n == 0) {
		n = file_rest(file_fd, *offset, count);
		if (n < 0)
			error_set(handshake, (int)-n,
				  "descriptor %d is not a file to send from "
				  "offset %lld",
				  file_fd, (long long)*offset);
	}
	if (n > 0)
		rest = (size_t)n;
	while (n >= 0 && (size_t)sent < rest) {
		size_t step = rest - (size_t)sent;

		n = key_update_before_send(handshake, fd, false, &room);
		if (n < 0)
			break;
		if (step > room)
			step = (size_t)room;
		pipe_hold(&guard);
		n = file_send(fd, file_fd, offset, step);
		pipe_release(&guard, n < (ssize_t)step);
		if (n < 0)
			records_fail_send(handshake, (int)-n);
		else
			key_update_count(handshake, (size_t)n);
		if (n > 0)
			sent += n;
		if (n < (ssize_t)step)
			break;
	}
	if (n >= 0 || sent > 0)
		return sent;
	errno = (int)-n;
	return -1;
}
