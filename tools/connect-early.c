// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake connect --early-data FILE". Touches the file, the request and the connection. Never sends the
 * file twice, nor not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "connect.h"
#include "handshake-protocol.h"
#include "options.h"
#include "tool.h"

#define TOOL "handshake connect"

/* All of the file; one byte more than fits tells that it is too large. -1: with errno. */
static ssize_t file_read(const char *path, char *data, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;

	if (fd < 0)
		return -1;
	while (length < size) {
		ssize_t n = read(fd, data + length, size - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		length += (size_t)n;
	}
	return (ssize_t)length;
}

int connect_early_prepare(struct handshake *handshake, const char *path,
			  struct connect_early *ret_early)
{
	const size_t room = HANDSHAKE_EARLY_DATA_SIZE + 1;
	ssize_t size;

	ret_early->path = path;
	ret_early->data = malloc(room);
	size = ret_early->data ? file_read(path, ret_early->data, room) : -1;
	if (size < 0)
		return options_refuse(TOOL, "--early-data: cannot read \"%s\": %s", path,
				      strerror(errno));
	if (size > HANDSHAKE_EARLY_DATA_SIZE)
		return options_refuse(TOOL,
				      "--early-data: \"%s\" is larger than %d bytes; send it "
				      "on standard input",
				      path, HANDSHAKE_EARLY_DATA_SIZE);
	ret_early->size = (size_t)size;
	if (handshake_set_early_data(handshake, ret_early->data, ret_early->size) < 0)
		return options_refuse(TOOL, "--early-data: \"%s\": %s", path, strerror(errno));
	return 0;
}

int connect_early_send(struct handshake *handshake, int fd, const struct connect_early *early)
{
	size_t sent = 0;

	if (handshake_early_data_accepted(handshake))
		return 0;
	while (sent < early->size) {
		ssize_t n = handshake_send(handshake, fd, early->data + sent, early->size - sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			fprintf(stderr, "%s: cannot send \"%s\": %s\n", TOOL, early->path,
				strerror(errno));
			return -1;
		}
		sent += (size_t)n;
	}
	return 0;
}
