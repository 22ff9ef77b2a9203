/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading from a program that may put descriptors into its socket. Nothing needs them, and the last
 * close of a descriptor may wait for as long as its owner likes (SO_LINGER, a file system in user
 * space), in whatever process it happens: never in the relay's loop. */
#ifndef RELAY_GUARD_H
#define RELAY_GUARD_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
	RELAY_GUARD_THREADS_MAX = 32
}; /* that close; beyond, the loop does, and may be held up a little */

/* Has the kernel refuse descriptors where it can (Linux 6.16); harmless elsewhere. */
void relay_guard_refuse(int fd);
/* Like readv without waiting. *ret_foreign: descriptors came; a thread of their own closes them, and the
 * bytes are of no use. */
ssize_t relay_guard_read(int fd, struct iovec *vector, size_t count, bool *ret_foreign);
/* Reads and drops what lies in the queue of fd, whose receiving side is shut down. Stops at the first
 * descriptors: false, and relay_guard_close() deals with the rest. */
bool relay_guard_drain(int fd);
/* Shuts the receiving side down, empties the queue and closes. What is left unread would become an
 * ECONNRESET at the other end. */
void relay_guard_close(int fd);

#endif
