// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The packets between supervisor and worker. Touches their socket. Trusts no worker: one may have been
 * taken over by what it parses, so size, kind and descriptors are checked here.
 */
#include "control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "descriptors.h"
#include "foreign.h"

static size_t fds_of_kind(enum control_kind kind)
{
	switch (kind) {
	case CONTROL_LISTEN:
	case CONTROL_KERNEL_KEYS:
		return CONTROL_FDS;
	case CONTROL_PROGRAM:
	case CONTROL_SIGNER:
	case CONTROL_TRACE:
	case CONTROL_KERNEL:
	case CONTROL_KERNEL_PEER:
		return 1;
	default:
		return 0;
	}
}

static bool has_request(enum control_kind kind)
{
	return kind == CONTROL_LISTEN || kind == CONTROL_TRACE;
}

/* Most kinds have no use for the large part: the queue holds more of them so. */
static size_t size_of_kind(enum control_kind kind)
{
	if (has_request(kind))
		return sizeof(struct control);
	return kind == CONTROL_KERNEL || kind == CONTROL_KERNEL_KEYS
		   ? offsetof(struct control, caller)
		   : offsetof(struct control, kernel_request);
}

int control_send(int fd, const struct control *control, const int *fds)
{
	return descriptors_send(fd, control, size_of_kind(control->kind), fds,
				fds_of_kind(control->kind));
}

static int control_check(const struct control *control, size_t size, size_t fd_count)
{
	if (size < sizeof(control->kind) || size != size_of_kind(control->kind) ||
	    fd_count != fds_of_kind(control->kind))
		return -EPROTO;
	if (!has_request(control->kind))
		return 0;
	/* Texts that are printed and looked up later. */
	if (!memchr(control->request.profile, 0, sizeof(control->request.profile)) ||
	    !memchr(control->request.peer_name, 0, sizeof(control->request.peer_name)) ||
	    !memchr(control->request.trace_peer, 0, sizeof(control->request.trace_peer)) ||
	    control->request.alpn_count > REQUEST_ALPN_MAX ||
	    control->request.psk_identity.size > sizeof(control->request.psk_identity.bytes) ||
	    control->caller.group_count > sizeof(control->caller.groups) / sizeof(gid_t))
		return -EPROTO;
	for (unsigned i = 0; i < control->request.alpn_count; i++)
		if (!memchr(control->request.alpn[i], 0, sizeof(control->request.alpn[i])))
			return -EPROTO;
	return 0;
}

int control_receive(int fd, struct control *ret_control, int ret_fds[CONTROL_FDS])
{
	struct iovec vector = {.iov_base = ret_control, .iov_len = sizeof(*ret_control)};
	int flags = MSG_DONTWAIT, r;
	size_t count = CONTROL_FDS;
	ssize_t received;

	ret_fds[0] = ret_fds[1] = -1;
	received = FOREIGN_GUARDED(descriptors_receive(fd, &vector, 1, &flags, ret_fds, &count));
	if (received <= 0)
		return received < 0 && errno != ECONNRESET ? -errno : 0;
	/* Room that was left over says that this process had no descriptor free (unix(7)). */
	if (flags & MSG_CTRUNC && count < CONTROL_FDS)
		r = -EMFILE;
	else
		r = flags ? -EPROTO : control_check(ret_control, (size_t)received, count);
	if (r == 0)
		return 1;
	for (size_t i = 0; i < count; i++)
		foreign_close(ret_fds[i]);
	ret_fds[0] = ret_fds[1] = -1;
	return r;
}
