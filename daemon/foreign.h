/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors that came from strangers: a close() or accept() of theirs may wait as long as they like
 * (SO_LINGER, a FUSE file, a blocking listening socket). Here none of it waits longer than some
 * milliseconds. */
#ifndef FOREIGN_H
#define FOREIGN_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Once in each process, before its sandbox: the handler of SIGALRM. lasting: the timer goes on for some
 * milliseconds behind a call, since setting it for each costs too much where there are thousands; whatever
 * else this thread calls must bear to be interrupted. 0 or -errno. */
int foreign_start(bool lasting);
/* Whether it is a socket of the Internet or Unix families; asks the kernel without asking the file. */
bool foreign_is_socket(int fd);
/* Closes. What is no socket is closed by a thread that may be held up. */
void foreign_close(int fd);
/* The same where foreign_is_socket() is known. */
void foreign_close_socket(int fd);
/* Evaluates a call that receives strangers' descriptors: those that find no room the kernel closes within
 * the call, which then waits as a close() does. */
#define FOREIGN_GUARDED(call)              \
	({                                 \
		__typeof__(call) guarded_; \
                                           \
		foreign_guard(true);       \
		guarded_ = (call);         \
		foreign_guard(false);      \
		guarded_;                  \
	})
/* Has a signal end whatever waits in this thread, from now on or no longer. errno stays as it was. */
void foreign_guard(bool on);
/* Whether so many wait to be closed that somebody must be holding them up: no more such descriptors
 * should be taken from whoever does that. */
bool foreign_is_stuck(void);
/* Remembers who brought that about (the last 16 users), and asks: true only as long as it lasts. */
void foreign_blame(uid_t uid);
bool foreign_is_blamed(uid_t uid);
/* accept4() with SOCK_CLOEXEC on a listening socket whose O_NONBLOCK belongs to somebody else. The
 * descriptor, or -errno: -EAGAIN, another was quicker. */
int foreign_accept(int listening_fd, struct sockaddr *ret_address, socklen_t *size);

#endif
