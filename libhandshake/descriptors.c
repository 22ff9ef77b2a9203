// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Packets with descriptors, sent and received. Touches the Unix socket it is given. Never closes a
 * descriptor: how that may be done depends on whose they are.
 */
#include "descriptors.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
	char space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int descriptors_send(int fd, const void *data, size_t size, const int *fds, size_t count)
{
	union control control;
	struct iovec vector = {.iov_base = (void *)data, .iov_len = size};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
	ssize_t sent;

	if (count > DESCRIPTORS_MAX)
		return -E2BIG;
	if (count) {
		header.msg_control = control.space;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		memset(control.space, 0, header.msg_controllen);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, count * sizeof(int));
	}
	do
		sent = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

ssize_t descriptors_receive(int fd, struct iovec *vector, size_t vector_count, int *flags,
			    int *ret_fds, size_t *count)
{
	union control control;
	/* Not CMSG_SPACE: its padding would have room for one more. */
	struct msghdr header = {
	    .msg_iov = vector,
	    .msg_iovlen = vector_count,
	    .msg_control = control.space,
	    .msg_controllen = CMSG_LEN(*count * sizeof(int)),
	};
	ssize_t received;

	*count = 0;
	do
		received = recvmsg(fd, &header, *flags | MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return received;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&header); part;
	     part = CMSG_NXTHDR(&header, part)) {
		size_t size = part->cmsg_len - CMSG_LEN(0);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(ret_fds + *count, CMSG_DATA(part), size);
		*count += size / sizeof(int);
	}
	*flags = header.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	return received;
}
