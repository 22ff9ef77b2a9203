// SPDX-License-Identifier: LGPL-2.1-or-later
/* The upcall's words toward a kernel that is this test: each command hears its own reply, whatever memory fails. */
#include "upcall.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* Of the interface; upcall.c has all of it. */
enum { FAMILY = 0x21, GROUP = 7, ACCEPT = 2, DONE = 3, CLIENTHELLO = 1 };
enum { ACCEPT_SOCKFD = 1, ACCEPT_MESSAGE_TYPE = 3, ACCEPT_AUTH_MODE = 5 };
enum { DONE_STATUS = 1, DONE_SOCKFD = 2 };

/* ---- The kernel ---------------------------------------------------------------------------- */

enum { QUEUE = 8 };

static struct {
	struct nl_msg *queue[QUEUE];
	unsigned queued;
	int receive_error; /* of the next receive, which takes nothing */
	bool loses_acknowledgement;
	int request; /* the next one's descriptor; -1: there is none */
	uint32_t message_type;
	int done_fd, done_status; /* the last one's */
	int done_error;           /* what DONE gives */
	int send_error;
	int connect_error, family_error, group_error;
	bool group_missing;
} kernel;

static void queue_add(struct nl_msg *message)
{
	assert_true(kernel.queued < QUEUE);
	kernel.queue[kernel.queued++] = message;
}

static struct nl_msg *reply_new(const struct nlmsghdr *command, int type)
{
	struct nl_msg *message = nlmsg_alloc();

	assert_non_null(message);
	assert_non_null(nlmsg_put(message, 0, command->nlmsg_seq, type, 0, 0));
	return message;
}

static void acknowledge(const struct nlmsghdr *command, int error)
{
	struct nl_msg *message = reply_new(command, NLMSG_ERROR);
	const struct nlmsgerr result = {.error = error, .msg = *command};

	assert_int_equal(nlmsg_append(message, (void *)&result, sizeof(result), NLMSG_ALIGNTO), 0);
	queue_add(message);
}

static int accept_reply(const struct nlmsghdr *command)
{
	const struct genlmsghdr head = {.cmd = ACCEPT, .version = 1};
	struct nl_msg *message;

	if (kernel.request < 0)
		return -EAGAIN;
	message = reply_new(command, FAMILY);
	assert_int_equal(nlmsg_append(message, (void *)&head, sizeof(head), NLMSG_ALIGNTO), 0);
	nla_put_u32(message, ACCEPT_SOCKFD, (uint32_t)kernel.request);
	nla_put_u32(message, ACCEPT_MESSAGE_TYPE, kernel.message_type);
	nla_put_u32(message, ACCEPT_AUTH_MODE, UPCALL_X509);
	kernel.request = -1;
	queue_add(message);
	return 0;
}

static int done_reply(struct nlmsghdr *command)
{
	struct nlattr *fd = nlmsg_find_attr(command, GENL_HDRLEN, DONE_SOCKFD);
	struct nlattr *status = nlmsg_find_attr(command, GENL_HDRLEN, DONE_STATUS);

	assert_non_null(fd);
	assert_non_null(status);
	kernel.done_fd = (int)nla_get_u32(fd);
	kernel.done_status = (int)nla_get_u32(status);
	return kernel.done_error;
}

static int family_reply(struct nlmsghdr *command)
{
	const struct genlmsghdr head = {.cmd = CTRL_CMD_NEWFAMILY, .version = 2};
	struct nlattr *name = nlmsg_find_attr(command, GENL_HDRLEN, CTRL_ATTR_FAMILY_NAME);
	static const char *const groups[] = {"none", "tlshd"};
	struct nlattr *list, *group;
	struct nl_msg *message;

	assert_non_null(name);
	assert_string_equal(nla_get_string(name), "handshake");
	if (kernel.family_error)
		return -kernel.family_error;
	message = reply_new(command, GENL_ID_CTRL);
	assert_int_equal(nlmsg_append(message, (void *)&head, sizeof(head), NLMSG_ALIGNTO), 0);
	nla_put_u16(message, CTRL_ATTR_FAMILY_ID, FAMILY);
	list = nla_nest_start(message, CTRL_ATTR_MCAST_GROUPS);
	for (int i = 0; i < (kernel.group_missing ? 1 : 2); i++) {
		group = nla_nest_start(message, i + 1);
		nla_put_u32(message, CTRL_ATTR_MCAST_GRP_ID, (uint32_t)(GROUP - 1 + i));
		nla_put_string(message, CTRL_ATTR_MCAST_GRP_NAME, groups[i]);
		nla_nest_end(message, group);
	}
	nla_nest_end(message, list);
	queue_add(message);
	return 0;
}

static int command_reply(struct nlmsghdr *command)
{
	if (command->nlmsg_type == GENL_ID_CTRL)
		return family_reply(command);
	assert_int_equal(command->nlmsg_type, FAMILY);
	return genlmsg_hdr(command)->cmd == ACCEPT ? accept_reply(command) : done_reply(command);
}

int nl_send_auto(struct nl_sock *sock, struct nl_msg *message)
{
	struct nlmsghdr *command = nlmsg_hdr(message);
	int error;

	if (kernel.send_error) {
		errno = kernel.send_error;
		return -NLE_FAILURE;
	}
	nl_complete_msg(sock, message);
	assert_true(command->nlmsg_flags & NLM_F_ACK);
	error = command_reply(command);
	if (!kernel.loses_acknowledgement)
		acknowledge(command, error);
	return (int)command->nlmsg_len;
}

/* libnl's own receives come here too. */
__attribute__((visibility("default"))) ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	struct nl_msg *reply;
	size_t size;

	(void)fd, (void)flags;
	errno = kernel.receive_error ? kernel.receive_error : EAGAIN;
	kernel.receive_error = 0;
	if (errno != EAGAIN || !kernel.queued)
		return -1;
	reply = kernel.queue[0];
	size = nlmsg_hdr(reply)->nlmsg_len;
	assert_true(size <= message->msg_iov[0].iov_len);
	memcpy(message->msg_iov[0].iov_base, nlmsg_hdr(reply), size);
	memset(message->msg_name, 0, sizeof(struct sockaddr_nl));
	((struct sockaddr_nl *)message->msg_name)->nl_family = AF_NETLINK;
	message->msg_namelen = sizeof(struct sockaddr_nl);
	message->msg_controllen = 0;
	message->msg_flags = 0;
	if (!(flags & MSG_PEEK)) {
		nlmsg_free(reply);
		memmove(&kernel.queue[0], &kernel.queue[1], --kernel.queued * sizeof(reply));
	}
	return (ssize_t)size;
}

int genl_connect(struct nl_sock *sock)
{
	(void)sock;
	errno = kernel.connect_error;
	return kernel.connect_error ? -NLE_FAILURE : 0;
}

int nl_socket_set_nonblocking(const struct nl_sock *sock)
{
	(void)sock;
	return 0;
}

int nl_socket_add_membership(struct nl_sock *sock, int group)
{
	(void)sock;
	assert_int_equal(group, GROUP);
	errno = kernel.group_error;
	return kernel.group_error ? -NLE_FAILURE : 0;
}

/* ---- Tests --------------------------------------------------------------------------------- */

static struct upcall *upcall;
static struct upcall_request request;

static int setup(void **state)
{
	struct problem problem = {""};

	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	kernel.request = -1;
	kernel.message_type = CLIENTHELLO;
	if (upcall_new(&upcall, &problem) == 0)
		return 0;
	print_error("%s\n", problem.text);
	return -1;
}

static int teardown(void **state)
{
	(void)state;
	while (kernel.queued)
		nlmsg_free(kernel.queue[--kernel.queued]);
	upcall_free(upcall);
	return 0;
}

static void takes_requests_and_answers_them(void **state)
{
	(void)state;
	assert_int_equal(upcall_accept(upcall, &request), 0);
	kernel.request = 1000;
	assert_int_equal(upcall_accept(upcall, &request), 1);
	assert_int_equal(request.fd, 1000);
	assert_int_equal(request.authentication, UPCALL_X509);
	assert_false(request.is_server);
	assert_int_equal(upcall_done(upcall, 1000, EACCES, 0), 0);
	assert_int_equal(kernel.done_fd, 1000);
	assert_int_equal(kernel.done_status, EACCES);
	kernel.done_error = -EBUSY;
	assert_int_equal(upcall_done(upcall, 1000, 0, 0), -EBUSY);
	assert_int_equal(upcall_accept(upcall, &request), 0);
}

/* What waits is taken by the command that it belongs to, and by no later one. */
static void a_failed_receive_leaves_nothing_behind(void **state)
{
	static const int errors[] = {ENOMEM, ENOBUFS, EINTR};

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		kernel.request = 1000;
		kernel.receive_error = errors[i];
		assert_int_equal(upcall_accept(upcall, &request), 1);
		assert_int_equal(request.fd, 1000);
		kernel.receive_error = errors[i];
		kernel.done_error = -EBUSY;
		assert_int_equal(upcall_done(upcall, 1000, 0, 0), -EBUSY);
		kernel.done_error = 0;
		assert_int_equal(upcall_done(upcall, 1000, 0, 0), 0);
		assert_int_equal(upcall_accept(upcall, &request), 0);
		assert_int_equal(kernel.queued, 0);
	}
}

static void a_lost_acknowledgement_is_an_error_but_loses_no_request(void **state)
{
	(void)state;
	kernel.request = 1000;
	kernel.loses_acknowledgement = true;
	kernel.receive_error = ENOBUFS;
	assert_int_equal(upcall_accept(upcall, &request), 1);
	assert_int_equal(request.fd, 1000);
	kernel.receive_error = ENOBUFS;
	assert_int_equal(upcall_done(upcall, 1000, 0, 0), -ENOBUFS);
	assert_int_equal(upcall_done(upcall, 1000, 0, 0), -EIO);
	kernel.loses_acknowledgement = false;
	kernel.done_error = -EBUSY;
	assert_int_equal(upcall_done(upcall, 1000, 0, 0), -EBUSY);
}

static void passes_over_the_reply_to_another_command(void **state)
{
	const struct nlmsghdr other = {.nlmsg_seq = 1, .nlmsg_len = sizeof(other)};

	(void)state;
	acknowledge(&other, -EPERM);
	assert_int_equal(upcall_done(upcall, 1000, 0, 0), 0);
	assert_int_equal(kernel.queued, 0);
}

static void what_cannot_be_sent_is_told(void **state)
{
	(void)state;
	kernel.send_error = ENOBUFS;
	assert_int_equal(upcall_done(upcall, 1000, 0, 0), -ENOBUFS);
	assert_int_equal(upcall_accept(upcall, &request), -ENOBUFS);
	kernel.send_error = 0;
	assert_int_equal(upcall_accept(upcall, &request), 0);
}

static void answers_what_makes_no_sense(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	kernel.request = ends[0];
	kernel.message_type = 9;
	assert_int_equal(upcall_accept(upcall, &request), -EPROTO);
	assert_int_equal(kernel.done_fd, ends[0]);
	assert_int_equal(kernel.done_status, EINVAL);
	assert_int_equal(close(ends[0]), -1);
	close(ends[1]);
}

static void expect_none(int error, const char *words)
{
	struct problem problem = {""};

	upcall_free(upcall);
	upcall = NULL;
	assert_int_equal(upcall_new(&upcall, &problem), -error);
	if (!strstr(problem.text, words))
		fail_msg("\"%s\" does not say \"%s\"", problem.text, words);
	assert_null(upcall);
	assert_true(error == ENOENT || !strstr(problem.text, "has no handshake service"));
}

static void only_a_kernel_without_the_service_is_said_to_be_one(void **state)
{
	(void)state;
	kernel.connect_error = EMFILE;
	expect_none(EMFILE, "Too many open files");
	kernel.connect_error = 0;
	kernel.send_error = ENOBUFS;
	expect_none(ENOBUFS, "No buffer space available");
	kernel.send_error = 0;
	kernel.family_error = ENOENT;
	expect_none(ENOENT, "this kernel has no handshake service");
	kernel.family_error = ENOMEM;
	expect_none(ENOMEM, "Cannot allocate memory");
	kernel.family_error = EPERM;
	expect_none(EPERM, "Operation not permitted");
	kernel.family_error = 0;
	kernel.group_error = EPERM;
	expect_none(EPERM, "needs CAP_NET_ADMIN");
	kernel.group_error = 0;
	kernel.group_missing = true;
	expect_none(ENOENT, "this kernel has no handshake service");
}

#define WITH_UPCALL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_UPCALL(takes_requests_and_answers_them),
	    WITH_UPCALL(a_failed_receive_leaves_nothing_behind),
	    WITH_UPCALL(a_lost_acknowledgement_is_an_error_but_loses_no_request),
	    WITH_UPCALL(passes_over_the_reply_to_another_command),
	    WITH_UPCALL(what_cannot_be_sent_is_told),
	    WITH_UPCALL(answers_what_makes_no_sense),
	    WITH_UPCALL(only_a_kernel_without_the_service_is_said_to_be_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
