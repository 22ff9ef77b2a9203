/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the library's tests share: a daemon's end in the test's own hands, messages made of text,
 * sockets to hand over. The including test names the objects that it links with. */
#ifndef LIBRARY_FIXTURE_H
#define LIBRARY_FIXTURE_H

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function"

/* ---- The daemon's end ---------------------------------------------------------------------- */

struct fake {
	char directory[32];
	char path[64];
	int listener;
};

static void fake_open(struct fake *fake, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(fake->directory, "/tmp/handshake-XXXXXX");
	assert_non_null(mkdtemp(fake->directory));
	snprintf(fake->path, sizeof(fake->path), "%s/socket", fake->directory);
	memcpy(address.sun_path, fake->path, strlen(fake->path) + 1);
	fake->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake->listener, (const struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(fake->listener, backlog), 0);
}

static void fake_close(struct fake *fake)
{
	close(fake->listener);
	unlink(fake->path);
	rmdir(fake->directory);
}

static int fake_accept(struct fake *fake)
{
	int fd = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Waits for the next message and parses it. False at end-of-file. */
static bool fake_receive(int fd, struct message *message)
{
	struct pollfd polled = {.fd = fd, .events = POLLIN};
	char sentence[256];

	assert_int_equal(poll(&polled, 1, 10000), 1);
	if (message_receive(fd, message) <= 0)
		return false;
	assert_int_equal(message_parse(message, sentence, sizeof(sentence)), 0);
	return true;
}

static void fake_send(int fd, const int *fds, size_t count, const char *text)
{
	struct message_writer writer = {.length = strlen(text)};

	memcpy(writer.text, text, writer.length);
	assert_int_equal(message_send(fd, &writer, fds, count), 0);
}

/* As many packets that mean nothing as the queue takes. */
static void fake_fill(int fd)
{
	static const char text[] = "handshake/1 news-of-a-later-version\n";
	const int size = 1 << 20;
	size_t count = 0;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	while (send(fd, text, sizeof(text) - 1, MSG_DONTWAIT) > 0)
		count++;
	assert_in_range(count, 200, 100000);
}

/* Answers the request with that id. */
static void fake_reply(int fd, const char *id, const char *lines)
{
	char text[1024];

	snprintf(text, sizeof(text), "handshake/1 reply\nid=%s\n%s", id, lines);
	fake_send(fd, NULL, 0, text);
}

/* Receives a request, drops its descriptor and gives its id. */
static void fake_take_id(int fd, char *ret_id, size_t size)
{
	struct message message;

	assert_true(fake_receive(fd, &message));
	assert_string_equal(message.operation, "handshake");
	assert_int_equal(message.fd_count, 1);
	snprintf(ret_id, size, "%s", message_get(&message, "id", 0));
	message_done(&message);
}

#define ESTABLISHED_KERNEL "outcome=established\nversion=TLS1.3\ntransmit=kernel\nreceive=kernel\n"
#define ESTABLISHED_RELAY                                                      \
	"outcome=established\nversion=TLS1.3\ntransmit=relay\nreceive=relay\n" \
	"descriptors=relay,relay-state\n"

/* ---- Objects ------------------------------------------------------------------------------- */

/* A message as if it had been received, with descriptors that it owns. */
static void message_of(struct message *message, const char *text, const int *fds, size_t count)
{
	char sentence[256];

	memset(message, 0, sizeof(*message));
	message->length = strlen(text);
	memcpy(message->text, text, message->length + 1);
	for (size_t i = 0; i < count; i++)
		message->fds[i] = fds[i];
	message->fd_count = count;
	assert_int_equal(message_parse(message, sentence, sizeof(sentence)), 0);
}

struct pair {
	int ours, theirs;
};

static struct pair pair_open(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	return (struct pair){fds[0], fds[1]};
}

static void pair_close(struct pair pair)
{
	close(pair.ours);
	close(pair.theirs);
}

static int memfd_of(const void *bytes, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	return fd;
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

#define assert_says(handshake, text)                                                              \
	do {                                                                                      \
		if (!strstr(handshake_error(handshake), text))                                    \
			fail_msg("\"%s\" does not say \"%s\"", handshake_error(handshake), text); \
	} while (0)

#define assert_failed(handshake, wanted_outcome, wanted_class, wanted_errno)                \
	do {                                                                                \
		assert_int_equal(handshake_outcome(handshake), wanted_outcome);             \
		assert_string_equal(handshake_result(handshake, "class", 0), wanted_class); \
		assert_int_equal(handshake_failure_errno(handshake), wanted_errno);         \
		assert_string_not_equal(handshake_error(handshake), "");                    \
	} while (0)

#endif
