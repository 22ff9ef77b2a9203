/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors that travel on Unix sockets (SCM_RIGHTS, unix(7)). Used by the library and by the daemon. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { DESCRIPTORS_MAX = 253 }; /* in one message: the kernel's SCM_MAX_FD */

/* Sends data and count descriptors with it, which stay the caller's, as one packet with MSG_DONTWAIT |
 * MSG_NOSIGNAL. 0 or -errno. */
int descriptors_send(int fd, const void *data, size_t size, const int *fds, size_t count);
/* As recvmsg() with *flags, which then tells MSG_TRUNC and MSG_CTRUNC. *count: in: the room in ret_fds, at most
 * DESCRIPTORS_MAX; out: how many came, close-on-exec, the caller's. Of more the kernel closes the surplus and
 * MSG_CTRUNC says so, as it does, with room left, where the process is at its limit. */
ssize_t descriptors_receive(int fd, struct iovec *vector, size_t vector_count, int *flags,
			    int *ret_fds, size_t *count);

#endif
