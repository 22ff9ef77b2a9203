// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The words of the kernel's handshake upcall. Touches its two netlink sockets. Must never wait, nor leave a
 * request unanswered that it took and could not understand: the consumer would wait for its time-out.
 */
#include "upcall.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel's interface (linux/handshake.h, which systems with an older kernel do not have). */
#define FAMILY_NAME "handshake"
#define GROUP_NAME  "tlshd"
enum {
	FAMILY_VERSION = 1,
	HANDLER_CLASS_TLSHD = 1,

	COMMAND_ACCEPT = 2,
	COMMAND_DONE = 3,

	MESSAGE_CLIENTHELLO = 1,
	MESSAGE_SERVERHELLO = 2,

	ACCEPT_SOCKFD = 1,
	ACCEPT_HANDLER_CLASS = 2,
	ACCEPT_MESSAGE_TYPE = 3,
	ACCEPT_TIMEOUT = 4,
	ACCEPT_AUTH_MODE = 5,
	ACCEPT_PEER_IDENTITY = 6,
	ACCEPT_CERTIFICATE = 7,
	ACCEPT_PEERNAME = 8,
	ACCEPT_KEYRING = 9,

	X509_CERT = 1,
	X509_PRIVKEY = 2,

	DONE_STATUS = 1,
	DONE_SOCKFD = 2,
	DONE_REMOTE_AUTH = 3,
};

struct upcall {
	struct nl_sock
	    *events; /* member of the group, nothing else: what overflows here is no loss */
	struct nl_sock *commands; /* the kernel answers within the send: a receive never waits */
	int family, group;
};

enum {
	/* More than any reply: the kernel makes them of NLMSG_DEFAULT_SIZE, less than two pages of 4 KiB. */
	REPLY_SIZE = 8192,
	/* A command has two: its reply and the acknowledgement. */
	RECEIVES_MAX = 64,
};

/* ---- Commands ------------------------------------------------------------------------------ */

/* What a command gave. */
struct answer {
	uint32_t sequence;
	bool complete;
	int error; /* negative errno */
	/* NULL: no reply is expected. */
	void (*read)(struct nlmsghdr *header, struct answer *answer);
	struct upcall_request *request;
	bool has_request;
	int family, group; /* 0: not told */
};

static void request_read(struct nlmsghdr *header, struct answer *answer)
{
	struct upcall_request *request = answer->request;
	struct nlattr *attribute, *part;
	int rest, inner;
	uint32_t type = 0;

	nlmsg_for_each_attr(attribute, header, GENL_HDRLEN, rest)
	{
		switch (nla_type(attribute)) {
		case ACCEPT_SOCKFD:
			request->fd = (int)nla_get_u32(attribute);
			break;
		case ACCEPT_MESSAGE_TYPE:
			type = nla_get_u32(attribute);
			break;
		case ACCEPT_TIMEOUT:
			request->timeout_ms = nla_get_u32(attribute);
			break;
		case ACCEPT_AUTH_MODE:
			request->authentication =
			    (enum upcall_authentication)nla_get_u32(attribute);
			break;
		case ACCEPT_PEER_IDENTITY: /* repeated; 0 means none */
			if (nla_get_u32(attribute) != 0 &&
			    request->identity_count < UPCALL_IDENTITIES_MAX)
				request->identities[request->identity_count++] =
				    (int32_t)nla_get_u32(attribute);
			break;
		case ACCEPT_CERTIFICATE:
			nla_for_each_nested(part, attribute, inner)
			{
				if (nla_type(part) == X509_CERT)
					request->certificate = (int32_t)nla_get_u32(part);
				else if (nla_type(part) == X509_PRIVKEY)
					request->private_key = (int32_t)nla_get_u32(part);
			}
			break;
		case ACCEPT_PEERNAME:
			nla_strlcpy(request->peer_name, attribute, sizeof(request->peer_name));
			break;
		case ACCEPT_KEYRING:
			request->keyring = (int32_t)nla_get_u32(attribute);
			break;
		}
	}
	request->is_server = type == MESSAGE_SERVERHELLO;
	answer->has_request = request->fd >= 0;
	if (answer->has_request && ((type != MESSAGE_CLIENTHELLO && type != MESSAGE_SERVERHELLO) ||
				    request->authentication < UPCALL_UNAUTHENTICATED ||
				    request->authentication > UPCALL_X509))
		answer->error = -EPROTO;
}

static void message_read(struct nlmsghdr *header, struct answer *answer)
{
	const struct nlmsgerr *result = nlmsg_data(header);

	if (header->nlmsg_seq != answer->sequence)
		return;
	if (header->nlmsg_type != NLMSG_ERROR) {
		if (answer->read && genlmsg_valid_hdr(header, 0))
			answer->read(header, answer);
	} else if (nlmsg_datalen(header) >= (int)sizeof(*result)) {
		if (result->error < 0)
			answer->error = result->error;
		answer->complete = true;
	}
}

/* Takes all that the kernel has queued for a command. Needs no memory, so that nothing of it can stay behind and be
 * taken for the next one's: a descriptor would be lost with it. A receive itself fails where the kernel had no
 * memory for a message (ENOBUFS, once), and what it has queued comes after that. 0: the answer is complete. */
static int answer_receive(struct upcall *upcall, struct answer *answer)
{
	_Alignas(struct nlmsghdr) char bytes[REPLY_SIZE];
	int error = -EIO;

	for (unsigned i = 0; i < RECEIVES_MAX && !answer->complete; i++) {
		struct sockaddr_nl from = {0};
		struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
		struct msghdr message = {.msg_name = &from,
					 .msg_namelen = sizeof(from),
					 .msg_iov = &part,
					 .msg_iovlen = 1};
		ssize_t received =
		    recvmsg(nl_socket_get_fd(upcall->commands), &message, MSG_DONTWAIT);
		struct nlmsghdr *header = (struct nlmsghdr *)bytes;
		int rest = (int)received;

		if (received < 0 && errno == EAGAIN)
			return error;
		if (received < 0 && errno != EINTR)
			error = -errno;
		for (; from.nl_pid == 0 && nlmsg_ok(header, rest);
		     header = nlmsg_next(header, &rest))
			message_read(header, answer);
	}
	return answer->complete ? 0 : error;
}

/* Its own codes are fewer than the kernel's. Where errno was 0 before its call: -errno. */
static int error_of_library(void)
{
	return errno ? -errno : -EIO;
}

/* Sends the command and takes what it gives. Frees the message. */
static int upcall_command(struct upcall *upcall, struct nl_msg *message, struct answer *answer)
{
	int r;

	errno = 0;
	r = nl_send_auto(upcall->commands, message);
	if (r < 0)
		r = error_of_library();
	answer->sequence = nlmsg_hdr(message)->nlmsg_seq;
	nlmsg_free(message);
	if (r >= 0)
		r = answer_receive(upcall, answer);
	return answer->error < 0 ? answer->error : r;
}

static struct nl_msg *command_new(int family, uint8_t command, uint8_t version)
{
	struct nl_msg *message = nlmsg_alloc();

	if (message &&
	    !genlmsg_put(message, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, command, version)) {
		nlmsg_free(message);
		return NULL;
	}
	return message;
}

int upcall_accept(struct upcall *upcall, struct upcall_request *ret_request)
{
	struct nl_msg *message = command_new(upcall->family, COMMAND_ACCEPT, FAMILY_VERSION);
	struct answer answer = {.read = request_read, .request = ret_request};
	int error;

	memset(ret_request, 0, sizeof(*ret_request));
	ret_request->fd = -1;
	if (!message)
		return -ENOMEM;
	if (nla_put_u32(message, ACCEPT_HANDLER_CLASS, HANDLER_CLASS_TLSHD) < 0) {
		nlmsg_free(message);
		return -ENOMEM;
	}
	error = upcall_command(upcall, message, &answer);
	if (!answer.has_request)
		return answer.error == -EAGAIN ? 0 : error < 0 ? error : -EIO;
	/* Even if the acknowledgement was lost: it has been handed over. */
	if (answer.error == 0)
		return 1;
	upcall_done(upcall, ret_request->fd, EINVAL, 0);
	close(ret_request->fd);
	ret_request->fd = -1;
	return answer.error;
}

int upcall_done(struct upcall *upcall, int fd, int status, int32_t identity)
{
	struct nl_msg *message = command_new(upcall->family, COMMAND_DONE, FAMILY_VERSION);
	struct answer answer = {0};

	if (!message)
		return -ENOMEM;
	if (nla_put_u32(message, DONE_STATUS, (uint32_t)status) < 0 ||
	    nla_put_u32(message, DONE_SOCKFD, (uint32_t)fd) < 0 ||
	    (identity != 0 && nla_put_u32(message, DONE_REMOTE_AUTH, (uint32_t)identity) < 0)) {
		nlmsg_free(message);
		return -ENOMEM;
	}
	return upcall_command(upcall, message, &answer);
}

/* ---- The family ---------------------------------------------------------------------------- */

static void groups_read(struct nlattr *groups, struct answer *answer)
{
	struct nlattr *group, *parts[CTRL_ATTR_MCAST_GRP_MAX + 1];
	int rest;

	nla_for_each_nested(group, groups, rest)
	{
		if (nla_parse_nested(parts, CTRL_ATTR_MCAST_GRP_MAX, group, NULL) == 0 &&
		    parts[CTRL_ATTR_MCAST_GRP_NAME] && parts[CTRL_ATTR_MCAST_GRP_ID] &&
		    nla_strcmp(parts[CTRL_ATTR_MCAST_GRP_NAME], GROUP_NAME) == 0)
			answer->group = (int)nla_get_u32(parts[CTRL_ATTR_MCAST_GRP_ID]);
	}
}

static void family_read(struct nlmsghdr *header, struct answer *answer)
{
	struct nlattr *family = nlmsg_find_attr(header, GENL_HDRLEN, CTRL_ATTR_FAMILY_ID);
	struct nlattr *groups = nlmsg_find_attr(header, GENL_HDRLEN, CTRL_ATTR_MCAST_GROUPS);

	if (family)
		answer->family = nla_get_u16(family);
	if (groups)
		groups_read(groups, answer);
}

/* libnl's genl_ctrl_resolve() says of every failure that there is no such family. 0, or -errno. */
static int family_find(struct upcall *upcall)
{
	struct nl_msg *message = command_new(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	struct answer answer = {.read = family_read};
	int r;

	if (!message)
		return -ENOMEM;
	if (nla_put_string(message, CTRL_ATTR_FAMILY_NAME, FAMILY_NAME) < 0) {
		nlmsg_free(message);
		return -ENOMEM;
	}
	r = upcall_command(upcall, message, &answer);
	if (r < 0)
		return r;
	if (answer.family == 0 || answer.group == 0)
		return -ENOENT;
	upcall->family = answer.family;
	upcall->group = answer.group;
	return 0;
}

/* ---- Notifications ------------------------------------------------------------------------- */

int upcall_fd(const struct upcall *upcall)
{
	return nl_socket_get_fd(upcall->events);
}

int upcall_attend(struct upcall *upcall, bool on)
{
	int r;

	errno = 0;
	r = on ? nl_socket_add_membership(upcall->events, upcall->group)
	       : nl_socket_drop_membership(upcall->events, upcall->group);
	return r < 0 ? error_of_library() : 0;
}

bool upcall_listen(struct upcall *upcall)
{
	char notification[4096];
	bool lost = false;

	for (;;) {
		/* What it says is not looked at: READY carries nothing that ACCEPT does not tell. */
		if (recv(upcall_fd(upcall), notification, sizeof(notification), MSG_DONTWAIT) >= 0)
			continue;
		if (errno == ENOBUFS)
			lost = true;
		else if (errno != EINTR)
			return lost;
	}
}

/* ---- Making it ----------------------------------------------------------------------------- */

static int socket_new(struct nl_sock **ret_socket)
{
	struct nl_sock *sock;
	int error;

	errno = 0;
	sock = nl_socket_alloc();
	if (sock && genl_connect(sock) == 0 && nl_socket_set_nonblocking(sock) == 0) {
		*ret_socket = sock;
		return 0;
	}
	error = error_of_library();
	if (sock)
		nl_socket_free(sock);
	return error;
}

static int upcall_open(struct upcall *upcall, struct problem *problem)
{
	int r = socket_new(&upcall->events);

	if (r == 0)
		r = socket_new(&upcall->commands);
	if (r < 0) {
		problem_set(problem, "no generic netlink socket can be made: %s", strerror(-r));
		return r;
	}
	r = family_find(upcall);
	if (r == -ENOENT)
		problem_set(problem, "this kernel has no handshake service (CONFIG_NET_HANDSHAKE; "
				     "since Linux 6.4)");
	else if (r < 0)
		problem_set(problem, "the kernel cannot be asked for its handshake service: %s",
			    strerror(-r));
	if (r < 0)
		return r;
	r = upcall_attend(upcall, true);
	if (r < 0)
		problem_set(problem, "the kernel's handshake requests cannot be listened for: %s%s",
			    strerror(-r),
			    r == -EPERM ? "; the daemon needs CAP_NET_ADMIN for it" : "");
	return r;
}

int upcall_new(struct upcall **ret_upcall, struct problem *problem)
{
	struct upcall *upcall = calloc(1, sizeof(*upcall));
	int r;

	if (!upcall) {
		problem_set(problem, "out of memory");
		return -ENOMEM;
	}
	r = upcall_open(upcall, problem);
	if (r < 0)
		upcall_free(upcall);
	else
		*ret_upcall = upcall;
	return r;
}

void upcall_free(struct upcall *upcall)
{
	if (!upcall)
		return;
	if (upcall->events)
		nl_socket_free(upcall->events);
	if (upcall->commands)
		nl_socket_free(upcall->commands);
	free(upcall);
}
