// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One question about one socket, by netlink (sock_diag(7)). Touches a netlink socket of the daemon's own and
 * reads the names of the socket in question. Must never wait: the kernel has answered when the question is sent.
 */
#include "sock-diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_SIZE = 4096, ATTRIBUTES_MAX = 64 };

int sock_diag_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	return fd < 0 ? -errno : fd;
}

/* ---- The question -------------------------------------------------------------------------- */

struct question {
	struct nlmsghdr header;
	struct inet_diag_req_v2 request;
};

static int address_put(const struct sockaddr_storage *address, __be16 *port, __be32 words[4])
{
	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)address;

		*port = in->sin_port;
		words[0] = in->sin_addr.s_addr;
		return 0;
	}
	if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)address;

		*port = in6->sin6_port;
		memcpy(words, &in6->sin6_addr, sizeof(in6->sin6_addr));
		return 0;
	}
	return -EAFNOSUPPORT;
}

/* The cookie makes sure that the answer is about this socket and no other with its addresses. */
static int question_write(int fd, struct question *ret_question)
{
	struct inet_diag_sockid *id = &ret_question->request.id;
	struct sockaddr_storage local = {0}, remote = {0};
	socklen_t local_size = sizeof(local), remote_size = sizeof(remote);
	uint64_t cookie;
	socklen_t cookie_size = sizeof(cookie);
	int error;

	memset(ret_question, 0, sizeof(*ret_question));
	if (getsockname(fd, (struct sockaddr *)&local, &local_size) < 0 ||
	    getpeername(fd, (struct sockaddr *)&remote, &remote_size) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_size) < 0)
		return -errno;
	error = address_put(&local, &id->idiag_sport, id->idiag_src);
	if (error == 0)
		error = address_put(&remote, &id->idiag_dport, id->idiag_dst);
	if (error < 0)
		return error;
	id->idiag_cookie[0] = (uint32_t)cookie;
	id->idiag_cookie[1] = (uint32_t)(cookie >> 32);
	ret_question->header.nlmsg_len = sizeof(*ret_question);
	ret_question->header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	ret_question->header.nlmsg_flags = NLM_F_REQUEST;
	ret_question->request.sdiag_family = (uint8_t)local.ss_family;
	ret_question->request.sdiag_protocol = IPPROTO_TCP;
	ret_question->request.idiag_ext = 1 << (INET_DIAG_INFO - 1);
	return 0;
}

/* ---- The answer ---------------------------------------------------------------------------- */

/* The contents of the attribute of that type among those that fill size bytes; NULL: it is not there. */
static const void *attribute_find(const void *attributes, size_t size, uint16_t type,
				  size_t *ret_size)
{
	const uint8_t *at = attributes;

	for (int i = 0; i < ATTRIBUTES_MAX; i++) {
		struct nlattr attribute;
		size_t step;

		if (size < sizeof(attribute))
			return NULL;
		memcpy(&attribute, at, sizeof(attribute));
		if (attribute.nla_len < sizeof(attribute) || attribute.nla_len > size)
			return NULL;
		if ((attribute.nla_type & NLA_TYPE_MASK) == type) {
			*ret_size = attribute.nla_len - sizeof(attribute);
			return at + sizeof(attribute);
		}
		step = NLA_ALIGN(attribute.nla_len);
		if (step >= size)
			return NULL;
		at += step;
		size -= step;
	}
	return NULL;
}

static bool number_find(const void *attributes, size_t size, uint16_t type, uint16_t *ret_number)
{
	size_t length = 0;
	const void *number = attribute_find(attributes, size, type, &length);

	if (!number || length != sizeof(*ret_number))
		return false;
	memcpy(ret_number, number, sizeof(*ret_number));
	return true;
}

static int answer_read(const uint8_t *answer, size_t length, bool *ret_transmit, bool *ret_receive)
{
	const size_t begin = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct inet_diag_msg));
	uint16_t transmit, receive;
	struct nlmsghdr header;
	const void *info;
	size_t size;

	if (length < sizeof(header))
		return -EPROTO;
	memcpy(&header, answer, sizeof(header));
	if (header.nlmsg_type == NLMSG_ERROR && length >= NLMSG_HDRLEN + sizeof(int)) {
		int error;

		memcpy(&error, answer + NLMSG_HDRLEN, sizeof(error));
		return error < 0 ? error : -EPROTO;
	}
	if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len > length ||
	    header.nlmsg_len < begin)
		return -EPROTO;
	info = attribute_find(answer + begin, header.nlmsg_len - begin, INET_DIAG_ULP_INFO, &size);
	if (info)
		info = attribute_find(info, size, INET_ULP_INFO_TLS, &size);
	if (!info || !number_find(info, size, TLS_INFO_TXCONF, &transmit) ||
	    !number_find(info, size, TLS_INFO_RXCONF, &receive))
		return -ENODATA;
	*ret_transmit = transmit == TLS_CONF_HW;
	*ret_receive = receive == TLS_CONF_HW;
	return 0;
}

int sock_diag_tls(int diag, int fd, bool *ret_transmit, bool *ret_receive)
{
	uint8_t answer[ANSWER_SIZE];
	struct question question;
	ssize_t length;
	int error = question_write(fd, &question);

	if (error < 0)
		return error;
	/* An answer that nobody took, as after a failure, is not the one to this question. */
	while (recv(diag, answer, sizeof(answer), MSG_DONTWAIT) >= 0)
		;
	if (send(diag, &question, sizeof(question), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	length = recv(diag, answer, sizeof(answer), MSG_DONTWAIT);
	return length < 0 ? -errno : answer_read(answer, (size_t)length, ret_transmit, ret_receive);
}
